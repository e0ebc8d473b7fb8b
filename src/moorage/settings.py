"""Settings: a site's placement.conf, its environment, and our own group, as one typed value.

Everything that openstack-placement reads is understood (``OS_PLACEMENT_CONFIG_DIR``, the default
places of ``placement.conf``, ``OS_<GROUP>__<OPTION>`` variables, which win over the file). What
Moorage adds stands in ``[moorage]``. The rest of the program sees ``Settings`` only.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg
from oslo_middleware import cors, http_proxy_to_wsgi

from moorage.api.limits import Limits
from moorage.api.policy import register_policy_options
from moorage.domain.move import MoveRules
from moorage.store.dialects.urls import driver_url, embedded_url
from moorage.telemetry.log import LogFormat

_PROJECT: Final = "placement"
"""Whose configuration oslo.config looks for."""

CONFIG_FILE: Final = "placement.conf"
CONFIG_DIRECTORY_VARIABLE: Final = "OS_PLACEMENT_CONFIG_DIR"
CONFIG_FILE_VARIABLE: Final = "MOORAGE_CONFIG_FILE"

CONSUMER_UNKNOWN: Final = "00000000-0000-0000-0000-000000000000"
"""Project and user of a consumer whose claim named none (before microversion 1.8)."""


class SettingsInvalid(Exception):
    """The configuration cannot be used; the text names the option, and tells no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where the books are kept."""

    url: str = field(repr=False)
    embedded_file: Path | None
    """The file of the embedded default; None where the site names a database."""
    upgrade_at_start: bool
    connections_max: int | None
    """Of one process; 0: as many as it can use; None leaves it to the store."""
    connection_wait_s: int | None
    """How long a request waits for a free connection; None leaves it to the store."""
    recycle_s: int
    connect_retries_max: int | None
    """How often a start tries again to reach the database; None: until it does."""
    connect_pause_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """What the HTTP edge does beside the API itself."""

    auth_strategy: str
    allow_noauth_beyond_loopback: bool
    cors_enabled: bool
    proxy_headers_enabled: bool
    enforce_scope: bool
    metrics_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatesSettings:
    """How allocation candidates are found."""

    randomize: bool
    candidates_max: int | None
    """None: as many as there are."""
    breadth_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where the log goes and what it looks like."""

    log_format: LogFormat
    debug: bool
    log_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that a site can decide."""

    database: DatabaseSettings
    api: ApiSettings
    limits: Limits
    candidates: CandidatesSettings
    moves: MoveRules
    log: LogSettings
    incomplete_project_id: str
    incomplete_user_id: str
    runner_enabled: bool
    audit_interval_s: int
    """Between two audits of the runner; 0: none."""
    ignored: tuple[str, ...]
    """Notes on options that are set but have no effect here."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and the options that libraries read for themselves (Keystone, policy, CORS)."""

    settings: Settings
    options: cfg.ConfigOpts = field(repr=False)


def load_settings(
    *,
    config_files: Sequence[str | Path] | None = None,
    overrides: Mapping[tuple[str, str], Any] | None = None,
) -> Configuration:
    """Read the configuration.

    Args:
        config_files: read these and no others; an empty sequence reads none. None: the file of
            ``MOORAGE_CONFIG_FILE``, else ``placement.conf`` in ``OS_PLACEMENT_CONFIG_DIR``, else
            ``placement.conf`` where oslo.config looks for it (``/etc/placement`` and others).
        overrides: values by (group, option) that win over files and environment.
    Raises:
        SettingsInvalid: a file or an option cannot be used.
    """
    options = cfg.ConfigOpts()
    _register(options)
    files = _named_files() if config_files is None else [str(file) for file in config_files]
    try:
        options(
            [],
            project=_PROJECT,
            prog=_PROJECT,
            default_config_files=files,
            default_config_dirs=None if files is None else [],
        )
        _override(options, overrides or {})
        return Configuration(settings=_settings(options), options=options)
    except cfg.ConfigFilesNotFoundError as error:
        raise SettingsInvalid(f"no such configuration file: {error.config_files}") from None
    except cfg.ConfigFileParseError as error:
        # The text of the error holds the line that could not be read, and so perhaps a password.
        raise SettingsInvalid(f"{error.config_file} is not a configuration file") from None
    except UnicodeDecodeError:
        named = cfg.find_config_files(project=_PROJECT, prog=_PROJECT) if files is None else files
        raise SettingsInvalid(f"{_not_utf_8(named)} is not in UTF-8") from None
    except (cfg.Error, ValueError) as error:
        # These name the option and its value; no option of which a value can be wrong is secret.
        raise SettingsInvalid(str(error)) from None


def _not_utf_8(files: Iterable[str]) -> str:
    """The first of the files that is not UTF-8, which the error itself does not name."""
    for file in files:
        try:
            Path(file).read_bytes().decode()
        except UnicodeDecodeError:
            return file
    return "a configuration file"


def _override(options: cfg.ConfigOpts, overrides: Mapping[tuple[str, str], Any]) -> None:
    for (group, name), value in overrides.items():
        try:
            options.set_override(name, value, group=None if group == "DEFAULT" else group)
        except ValueError as error:
            raise ValueError(f"[{group}]{name}: {error}") from None


def _named_files() -> list[str] | None:
    if file := os.environ.get(CONFIG_FILE_VARIABLE, "").strip():
        return [file]
    if directory := os.environ.get(CONFIG_DIRECTORY_VARIABLE, "").strip():
        return [str(Path(directory) / CONFIG_FILE)]
    return None


def _settings(options: cfg.ConfigOpts) -> Settings:
    own, placement, log = options.moorage, options.placement, options
    return Settings(
        database=_database(options),
        api=ApiSettings(
            auth_strategy=options.api.auth_strategy,
            allow_noauth_beyond_loopback=own.allow_noauth_beyond_loopback,
            cors_enabled=bool(options.cors.allowed_origin),
            proxy_headers_enabled=options.oslo_middleware.enable_proxy_headers_parsing,
            enforce_scope=options.oslo_policy.enforce_scope,
            metrics_enabled=own.metrics,
        ),
        limits=Limits(
            body_bytes_max=own.body_bytes_max,
            uri_bytes_max=own.uri_bytes_max,
            groups_max=own.request_groups_max,
        ),
        candidates=CandidatesSettings(
            randomize=placement.randomize_allocation_candidates,
            candidates_max=_unless_negative(placement.max_allocation_candidates),
            breadth_first=placement.allocation_candidates_generation_strategy == "breadth-first",
        ),
        moves=MoveRules(observe=own.observe_moves, window_s=own.observe_window_s),
        log=LogSettings(
            log_format=LogFormat(own.log_format),
            debug=log.debug,
            log_file=_log_file(log),
        ),
        incomplete_project_id=placement.incomplete_consumer_project_id,
        incomplete_user_id=placement.incomplete_consumer_user_id,
        runner_enabled=own.runner,
        audit_interval_s=own.audit_interval_s,
        ignored=tuple(_ignored(options)),
    )


def _database(options: cfg.ConfigOpts) -> DatabaseSettings:
    group = options.placement_database
    embedded_file = None
    if group.connection:
        try:
            url = driver_url(group.connection, group.connection_parameters)
        except ValueError as error:
            raise SettingsInvalid(f"[placement_database]connection: {error}") from None
    else:
        embedded_file = Path(options.moorage.state_dir or _state_directory()) / "moorage.db"
        url = embedded_url(embedded_file)
    upgrade = group.sync_on_startup
    return DatabaseSettings(
        url=url,
        embedded_file=embedded_file,
        # Nobody but us knows of the embedded default, so nobody else could have prepared it.
        upgrade_at_start=embedded_file is not None if upgrade is None else upgrade,
        connections_max=_connections_max(group.max_pool_size, group.max_overflow),
        connection_wait_s=group.pool_timeout,
        recycle_s=group.connection_recycle_time,
        connect_retries_max=_unless_negative(group.max_retries),
        connect_pause_s=group.retry_interval,
    )


def _connections_max(pool_size: int | None, overflow: int | None) -> int | None:
    """The two together, as SQLAlchemy understands them and what it takes for one alone."""
    if pool_size is None and overflow is None:
        return None
    if pool_size == 0 or (overflow is not None and overflow < 0):
        return 0
    return (_POOL_SIZE if pool_size is None else pool_size) + (
        _OVERFLOW if overflow is None else overflow
    )


def _state_directory() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/moorage")
    if directory := os.environ.get("XDG_STATE_HOME"):
        return Path(directory) / "moorage"
    return Path("~/.local/state/moorage").expanduser()


def _log_file(options: cfg.ConfigOpts) -> Path | None:
    name, directory = options.log_file, options.log_dir
    if not name and not directory:
        return None
    return Path(directory or "") / (name or "placement.log")


def _unless_negative(number: int) -> int | None:
    return None if number < 0 else number


def _ignored(options: cfg.ConfigOpts) -> Iterator[str]:
    """A note on each option that a site has changed and that changes nothing here."""
    database, placement = options.placement_database, options.placement
    notes = {
        "[placement_database]slave_connection: all reads are of the newest commit": (
            database.slave_connection
        ),
        "[placement_database]mysql_sql_mode: it is always TRADITIONAL": (
            database.mysql_sql_mode != "TRADITIONAL"
        ),
        "[placement_database]sqlite_synchronous: what was acknowledged is always on the disk": (
            not database.sqlite_synchronous
        ),
        "[placement_database]connection_debug, connection_trace: SQL is never logged": (
            database.connection_debug or database.connection_trace
        ),
        "[placement]allocation_conflict_retry_count: conflicts are retried for a time": (
            placement.allocation_conflict_retry_count != _CONFLICT_RETRIES
        ),
        "[workarounds]optimize_for_wide_provider_trees: wide trees need no workaround": (
            options.workarounds.optimize_for_wide_provider_trees
        ),
    }
    return (note for note, changed in notes.items() if changed)


_CONFLICT_RETRIES: Final = 10

# What SQLAlchemy takes where only the other one is given.
_POOL_SIZE: Final = 5
_OVERFLOW: Final = 10

_DEFAULT_OPTIONS: Final = (
    cfg.BoolOpt("debug", default=False, help="Log more."),
    cfg.StrOpt("log_file", deprecated_name="logfile", help="Log to this file, not to stderr."),
    cfg.StrOpt("log_dir", deprecated_name="logdir", help="Directory of log_file."),
)

_API_OPTIONS: Final = (
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=("keystone", "noauth2"),
        deprecated_group="DEFAULT",
        help="Who says who is calling: Keystone, or (for tests) the callers themselves.",
    ),
)

_DATABASE_OPTIONS: Final = (
    cfg.StrOpt(
        "connection",
        secret=True,
        help="URL of the database. If it is not set, an embedded one in [moorage]state_dir.",
    ),
    cfg.StrOpt("connection_parameters", default="", help="a=1&b=2, added to the URL."),
    cfg.BoolOpt(
        "sync_on_startup",
        help="Create or upgrade the tables at start; the default is to do so for the embedded"
        " default only.",
    ),
    cfg.IntOpt("connection_recycle_time", default=3600, min=-1, help="Seconds."),
    cfg.IntOpt("max_pool_size", min=0, help="Connections of one process, together with:"),
    cfg.IntOpt("max_overflow", help="Further connections; -1: no limit."),
    cfg.IntOpt("pool_timeout", min=0, help="Seconds that a request waits for a connection."),
    cfg.IntOpt(
        "max_retries",
        default=10,
        min=-1,
        help="How often the start tries again to reach the database; -1: until it does.",
    ),
    cfg.IntOpt("retry_interval", default=10, min=0, help="Seconds between these tries."),
    # Accepted, so that a placement.conf can stay as it is; see _ignored().
    cfg.StrOpt("slave_connection", secret=True),
    cfg.StrOpt("mysql_sql_mode", default="TRADITIONAL"),
    cfg.BoolOpt("sqlite_synchronous", default=True),
    cfg.IntOpt("connection_debug", default=0),
    cfg.BoolOpt("connection_trace", default=False),
)

_PLACEMENT_OPTIONS: Final = (
    cfg.BoolOpt("randomize_allocation_candidates", default=False),
    cfg.IntOpt("max_allocation_candidates", default=-1, help="-1: no limit."),
    cfg.StrOpt(
        "allocation_candidates_generation_strategy",
        default="depth-first",
        choices=("depth-first", "breadth-first"),
    ),
    cfg.StrOpt("incomplete_consumer_project_id", default=CONSUMER_UNKNOWN),
    cfg.StrOpt("incomplete_consumer_user_id", default=CONSUMER_UNKNOWN),
    cfg.IntOpt("allocation_conflict_retry_count", default=_CONFLICT_RETRIES),
)

_WORKAROUND_OPTIONS: Final = (cfg.BoolOpt("optimize_for_wide_provider_trees", default=False),)

_MOORAGE_OPTIONS: Final = (
    cfg.StrOpt("state_dir", help="Where the embedded default database lives."),
    cfg.StrOpt("log_format", default="json", choices=("json", "console")),
    cfg.BoolOpt(
        "allow_noauth_beyond_loopback",
        default=False,
        help="Let auth_strategy=noauth2 be reached from other machines: anyone is admin then.",
    ),
    cfg.BoolOpt("metrics", default=False, help="Answer GET /metrics, without asking who asks."),
    cfg.BoolOpt(
        "runner",
        default=True,
        help="Take part in the work that is done by the clock: leases that end, and the like.",
    ),
    cfg.IntOpt(
        "audit_interval_s",
        default=86_400,
        min=0,
        help="The runner audits the books so often; 0: never. It counts and alerts, and heals"
        " nothing.",
    ),
    cfg.IntOpt(
        "body_bytes_max",
        default=Limits().body_bytes_max,
        min=1024,
        help="Larger bodies are refused. A reshape of 10,000 consumers takes about 5 MiB.",
    ),
    cfg.IntOpt(
        "uri_bytes_max", default=Limits().uri_bytes_max, min=1024, help="Path and query together."
    ),
    cfg.IntOpt("request_groups_max", default=Limits().groups_max, min=1),
    cfg.BoolOpt(
        "observe_moves",
        default=MoveRules().observe,
        help="Make out the moves of clients that know Placement's API only, and count what source"
        " and destination have in common on a sharing provider once.",
    ),
    cfg.IntOpt(
        "observe_window_s",
        default=MoveRules().window_s,
        min=0,
        help="How long after a swap a claim by a client that sends no request id belongs to it.",
    ),
)

_POLICY_OPTIONS: Final = (
    cfg.BoolOpt(
        "enforce_scope",
        default=True,
        help="Ask for project-scoped tokens. Libraries of today no longer know this option.",
    ),
)


def _register(options: cfg.ConfigOpts) -> None:
    cors.set_defaults(
        allow_headers=[
            "X-Auth-Token",
            "X-Openstack-Request-Id",
            "X-Identity-Status",
            "X-Roles",
            "X-Service-Catalog",
            "X-User-Id",
            "X-Tenant-Id",
            "OpenStack-API-Version",
        ],
        expose_headers=[
            "X-Auth-Token",
            "X-Openstack-Request-Id",
            "X-Subject-Token",
            "X-Service-Token",
            "OpenStack-API-Version",
        ],
        allow_methods=["GET", "PUT", "POST", "DELETE", "PATCH"],
    )
    options.register_opts(_DEFAULT_OPTIONS)
    options.register_opts(_API_OPTIONS, group="api")
    options.register_opts(_DATABASE_OPTIONS, group="placement_database")
    options.register_opts(_PLACEMENT_OPTIONS, group="placement")
    options.register_opts(_WORKAROUND_OPTIONS, group="workarounds")
    options.register_opts(_MOORAGE_OPTIONS, group="moorage")
    options.register_opts(cors.CORS_OPTS, group="cors")
    options.register_opts(http_proxy_to_wsgi.OPTS, group="oslo_middleware")
    register_policy_options(options)
    if "enforce_scope" not in options.oslo_policy:
        options.register_opts(_POLICY_OPTIONS, group="oslo_policy")
