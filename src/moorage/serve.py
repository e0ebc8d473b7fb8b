"""The composition root: the only place where the parts are put together."""

import ctypes
import datetime
import gc
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from wsgiref.types import WSGIApplication

import numpy as np
from oslo_middleware import CORS, HTTPProxyToWSGI

from moorage.api.app import build_app, log_and_count
from moorage.api.identity import IdentityInvalid, identity_for
from moorage.api.metrics_page import with_metrics
from moorage.api.policy import Policy, PolicyInvalid
from moorage.api.preflights import with_preflights
from moorage.api.request_ids import with_request_ids
from moorage.candidates.request import SearchRules, Strategy
from moorage.coherence.keeper import Keeper
from moorage.coherence.project_sums import ProjectSums
from moorage.domain.claim import Absentee
from moorage.domain.refusals import StoreUnavailable
from moorage.operations.claim_queue import ClaimQueue
from moorage.operations.provider_queue import ProviderQueue
from moorage.operations.services import Rules, Services
from moorage.settings import (
    Configuration,
    DatabaseSettings,
    LogSettings,
    Settings,
    SettingsInvalid,
    load_settings,
)
from moorage.store import migrate
from moorage.store.dialects.urls import sqlite_file
from moorage.store.store import Store
from moorage.telemetry.log import (
    RequestLog,
    configure_log,
    write_error,
    write_event,
    write_request,
    write_warning,
)
from moorage.workers.auditor import Auditor
from moorage.workers.leadership import RUNNER, Leadership, own_identity
from moorage.workers.runner import STEPS, Runner, Step

KEPT_BYTES_MAX: Final = 32 * 2**20
"""Freed memory that a process keeps for its next answers; glibc takes no larger threshold."""

SWITCH_INTERVAL_S: Final = 0.001
"""How long a thread that computes keeps others waiting that have their answer from the database.

With Python's own 5 ms a read that asks two questions waited for 10 ms beside busy writers.
"""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENAS_MAX = -1, -3, -8
"""The parameters of glibc's ``mallopt`` (malloc.h)."""


class NoAuthExposed(Exception):
    """noauth2 would be reachable from other machines, and nobody has said that it may be."""


class AddressTaken(Exception):
    """The service cannot listen where it was told to."""


OPERATOR_ERRORS: Final = (
    AddressTaken,
    IdentityInvalid,
    NoAuthExposed,
    PolicyInvalid,
    SettingsInvalid,
    StoreUnavailable,
    migrate.ForeignSchema,
    migrate.SchemaOutdated,
)
"""What an operator can mend; their texts are ours, and hold no secret."""


def load_app(configuration: Configuration, *, with_runner: bool = False) -> WSGIApplication:
    """The whole service as one WSGI application, its database open and, if asked for, upgraded.

    Args:
        with_runner: also work by the clock, in a thread of this process, if the settings say so.
    """
    settings = configuration.settings
    store = open_ready_store(settings.database, tell_absent=log_absent)
    services = build_services(store, settings)
    identity = identity_for(settings.api.auth_strategy, configuration.options)
    application = build_app(
        services,
        identity=identity,
        policy=load_policy(configuration),
        limits=settings.limits,
        on_request=_on_request(settings),
    )
    application = _behind_middleware(identity.wrap(application), configuration)
    if with_runner and settings.runner_enabled:
        start_runner(services, audit_interval_s=settings.audit_interval_s)
    return application


def load_policy(configuration: Configuration) -> Policy:
    """The site's policy.

    Raises:
        PolicyInvalid: a file of it cannot be read.
    """
    return Policy(configuration.options, enforce_scope=configuration.settings.api.enforce_scope)


def check_identity(configuration: Configuration) -> None:
    """See that callers can be identified as the site has configured it.

    Raises:
        IdentityInvalid: its options are wrong, or some are missing.
    """
    strategy = configuration.settings.api.auth_strategy
    identity_for(strategy, configuration.options).wrap(lambda _environ, _start_response: ())


def open_store(database: DatabaseSettings) -> Store:
    """The site's database, or the embedded default in a directory that only we can read."""
    if database.embedded_file is not None:
        database.embedded_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "connections_max": database.connections_max,
        "connection_wait_s": database.connection_wait_s,
        "recycle_s": database.recycle_s,
    }
    return Store.open(
        database.url, **{name: number for name, number in given.items() if number is not None}
    )


TellAbsent = Callable[[int | None], None]
"""Told that the database does not answer, and how often it is still tried (None: without end)."""


def open_ready_store(database: DatabaseSettings, *, tell_absent: TellAbsent | None = None) -> Store:
    """The site's database, found to have the tables that this version needs.

    Args:
        tell_absent: wait for a database that does not answer yet, as long as the settings say,
            and tell so each time; None: do not wait.
    Raises:
        StoreUnavailable: it does not answer.
        migrate.SchemaOutdated: it lacks tables, and is not to be upgraded at start.
        migrate.ForeignSchema: it lacks tables, and cannot be upgraded.
    """
    store = open_store(database)
    if tell_absent is not None:
        _await_database(store, database, tell_absent)
    if database.upgrade_at_start:
        migrate.upgrade(store, at=_utc_now())
    else:
        migrate.make_ready(store, at=_utc_now())
    return store


def _await_database(store: Store, database: DatabaseSettings, tell: TellAbsent) -> None:
    left = database.connect_retries_max
    # A file that cannot be opened now will not open by itself later.
    while not store.answers() and store.dialect.has_server and left != 0:
        tell(left)
        left = None if left is None else left - 1
        time.sleep(database.connect_pause_s)


def log_absent(tries_left: int | None) -> None:
    """Say in the log that the database does not answer yet."""
    write_warning("the database does not answer yet", tries_left=tries_left)


def upgrade_database(
    database: DatabaseSettings, *, count_anew: bool = False, tell_absent: TellAbsent | None = None
) -> None:
    """Bring the tables of the site's database up to what this version needs.

    Args:
        count_anew: also make the running totals the sums of the allocations.
        tell_absent: as for ``open_ready_store``.
    """
    store = open_ready_store(replace(database, upgrade_at_start=True), tell_absent=tell_absent)
    try:
        if count_anew:
            migrate.recount(store, at=_utc_now())
    finally:
        store.close()


def database_status(database: DatabaseSettings) -> migrate.SchemaStatus:
    """How far the tables of the site's database are. Nothing is changed, and nothing made.

    Raises:
        StoreUnavailable: it does not answer.
    """
    file = sqlite_file(database.url)
    can_be_made = file is not None and (database.embedded_file == file or file.parent.is_dir())
    if file is not None and can_be_made and not file.exists():
        # To open it would make it, and the next to look would take it for the site's.
        return migrate.SchemaStatus(None, migrate.wanted_revision())
    store = open_store(database)
    try:
        return migrate.status(store)
    finally:
        store.close()


def build_services(store: Store, settings: Settings) -> Services:
    """What the operations work with."""
    absentee = Absentee(
        project_id=settings.incomplete_project_id, user_id=settings.incomplete_user_id
    )
    candidates = settings.candidates
    search = SearchRules(
        candidates_max=-1 if candidates.candidates_max is None else candidates.candidates_max,
        strategy=Strategy.BREADTH_FIRST if candidates.breadth_first else Strategy.DEPTH_FIRST,
        randomize=candidates.randomize,
    )
    return Services(
        store=store,
        keeper=Keeper(store),
        sums=ProjectSums(store),
        claims=ClaimQueue(store, absentee, settings.moves),
        providers=ProviderQueue(store),
        rules=Rules(absentee=absentee, search=search, moves=settings.moves),
        clock=_utc_now,
        new_random=np.random.default_rng,
    )


def start_runner(services: Services, *, audit_interval_s: float = 0) -> Runner:
    """Work by the clock from now on, in this process and in those that it forks into."""
    auditor = Auditor(audit_interval_s)
    runner = Runner(
        services,
        Leadership(services.store, RUNNER, holder=own_identity),
        steps=(*STEPS, Step("audit", auditor.run)),
    )
    runner.start()
    # A thread does not live on in a child, where a server forks after it has loaded us.
    os.register_at_fork(after_in_child=runner.start)
    return runner


def load_process_app() -> WSGIApplication:
    """The application of a server's process, which also logs as the settings say.

    It ends the process where the service cannot start: what went wrong is in the log, and no
    traceback, which might show a connection URL, reaches anyone.
    """
    configure_log()  # for what goes wrong before the settings say where the log is
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        configuration = load_settings()
        begin_log(configuration.settings.log)
        application = load_app(configuration, with_runner=True)
    except OPERATOR_ERRORS as error:
        write_warning("the service cannot start", reason=str(error))
    except Exception as error:  # noqa: BLE001 - see above
        write_error("the service cannot start", error)
    else:
        leave_to_stay()
        return application
    sys.exit(1)


def leave_to_stay() -> None:
    """Let the garbage collector not visit again what is there before the first request.

    That is code, mostly, which stays: to visit all of it took a tenth of a second, in which nobody
    was answered, every so often.
    """
    gc.collect()
    gc.freeze()


def begin_log(log: LogSettings) -> None:
    """Log from now on as the site wants it.

    Raises:
        SettingsInvalid: the file cannot be written.
    """
    try:
        configure_log(log_format=log.log_format, debug=log.debug, log_file=log.log_file)
    except OSError as error:
        raise SettingsInvalid(
            f"[DEFAULT]log_file, log_dir: cannot write {log.log_file}: {error.strerror}"
        ) from None


def keep_freed_memory() -> None:
    """Let the allocator use again what an answer has left, rather than give it to the system.

    By default glibc maps each buffer of an answer anew, and the system clears every page of it:
    that took more time than to write a large answer. All threads take turns in Python anyway, so
    they share one arena, and what is kept is kept once. A site that has set one of glibc's own
    variables is left alone, and so is a C library that has no such thresholds.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENAS_MAX, 1)
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES_MAX)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES_MAX)


def check_binding(settings: Settings, host: str) -> None:
    """Refuse to let other machines reach a service that believes every caller.

    Raises:
        NoAuthExposed: noauth2 on an address beyond this machine, without the explicit option.
    """
    if settings.api.auth_strategy != "noauth2" or is_loopback(host):
        return
    if settings.api.allow_noauth_beyond_loopback:
        write_warning("anyone who can reach this service is its admin", host=host)
        return
    raise NoAuthExposed(
        f"[api]auth_strategy=noauth2 makes everyone admin who can reach {host}: use keystone,"
        " a loopback address, or [moorage]allow_noauth_beyond_loopback=true"
    )


def find_address(host: str) -> str:
    """The address of a host's name, the first if it has several; an address is its own.

    Raises:
        AddressTaken: nobody knows the name.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressTaken(f"cannot listen on {host}: {error.strerror}") from None
    return str(found[0][4][0])


def check_free(host: str, port: int) -> None:
    """Refuse to listen where something else already does.

    The workers share their address, so without this a second service would start beside the
    first and take every other request from it.

    Raises:
        AddressTaken: the address is not this machine's, or something listens there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise AddressTaken(f"cannot listen on {host}:{port}: {error.strerror}") from None


def is_loopback(host: str) -> bool:
    """Whether an address, or every address of a name, is of this machine alone."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return all(address.is_loopback for address in addresses)


def _behind_middleware(
    application: WSGIApplication, configuration: Configuration
) -> WSGIApplication:
    api, options = configuration.settings.api, configuration.options
    if api.cors_enabled:
        application = CORS(with_preflights(application), options)
    if api.cors_enabled or api.auth_strategy == "keystone":
        application = with_request_ids(application, on_request=_on_request(configuration.settings))
    if api.metrics_enabled:
        application = with_metrics(application)
    if api.proxy_headers_enabled:
        application = HTTPProxyToWSGI(application, options)
    for note in configuration.settings.ignored:
        write_event("option without effect", note=note)
    return application


def _on_request(settings: Settings) -> Callable[[RequestLog], None]:
    """What is done for each answered request; nobody counts for counters that nobody can read."""
    return log_and_count if settings.api.metrics_enabled else write_request


def _utc_now() -> datetime.datetime:
    """Naive UTC, as the database keeps times."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
