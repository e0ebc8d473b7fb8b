"""``moorage serve``: the service in several processes, on Granian."""

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from moorage.settings import CONFIG_FILE_VARIABLE, Configuration, load_settings
from moorage.telemetry.log import SERVER_LOG, write_event
from moorage.telemetry.metrics import MULTIPROCESS_DIRECTORY

DEFAULT_PORT: Final = 8778
DEFAULT_THREADS: Final = 32
"""Claims that wait for a batch keep a thread each: fewer threads make smaller batches, which cost
more a claim, and readers wait behind writers for a thread."""

STOP_S_MAX: Final = 20
"""How long a worker may take to answer what it has accepted, once it is told to stop."""

_UPGRADE_VARIABLE: Final = "OS_PLACEMENT_DATABASE__SYNC_ON_STARTUP"


def choose_config_file(file: Path) -> None:
    """Make this process and the workers that it starts read this file."""
    os.environ[CONFIG_FILE_VARIABLE] = str(file.resolve())


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on, or a name of one.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    threads: Annotated[
        int, typer.Option(min=1, help="Requests that one process works on at a time.")
    ] = DEFAULT_THREADS,
) -> None:
    """Serve the API until told to stop (SIGTERM or Ctrl-C); requests in work are finished."""
    # Imported here: the rest of the command line need not wait for the whole service.
    from moorage.serve import (  # noqa: PLC0415
        begin_log,
        check_binding,
        check_free,
        check_identity,
        find_address,
        load_policy,
        log_absent,
        open_ready_store,
    )

    configuration = load_settings()
    # The server takes addresses only.
    address = find_address(host)
    check_binding(configuration.settings, address)
    check_free(address, port)
    begin_log(configuration.settings.log)
    # Read anew by each worker; but what is wrong would have them die one after another.
    load_policy(configuration)
    check_identity(configuration)
    # The tables are seen to before any worker starts, so that the workers need not race for it.
    open_ready_store(configuration.settings.database, tell_absent=log_absent).close()
    os.environ[_UPGRADE_VARIABLE] = "false"
    # Workers start from nothing: no connection, lock or counter of this process reaches them.
    multiprocessing.set_start_method("spawn", force=True)
    server = Granian(
        "moorage.serve:load_process_app",
        factory=True,
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=workers,
        blocking_threads=threads,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_S_MAX,
        log_level=LogLevels.error,
        log_dictconfig=SERVER_LOG,
    )
    with _shared_metrics(configuration):
        write_event("serving", host=address, port=port, workers=workers, threads=threads)
        server.serve()
    write_event("stopped")


@contextlib.contextmanager
def _shared_metrics(configuration: Configuration) -> Iterator[None]:
    """Let the workers count in files of one directory, so that any of them can tell all counts."""
    if not configuration.settings.api.metrics_enabled or os.environ.get(MULTIPROCESS_DIRECTORY):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="moorage-metrics-") as directory:
        os.environ[MULTIPROCESS_DIRECTORY] = directory
        yield
