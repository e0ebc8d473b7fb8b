"""The contestants: Moorage as its command line serves it, and upstream's service under uWSGI.

Each gets a database of its own in one private database server, two processes, noauth2 and the
loopback address.
"""

import contextlib
import http.client
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy

from bench.copying import copy_books
from bench.load import Address
from tests.support.cpu import list_children
from tests.support.databases import DatabaseKind, MariadbServer, PostgresqlServer
from tests.support.deployments import Deployment, Option, Subject
from tests.support.processes import StartFailed, find_free_port, run_to_end, start, wait_until

WORKERS: Final = 2
REPOSITORY: Final = Path(__file__).parents[1]
Options = Mapping[str, Mapping[str, Option]]
"""Group -> option -> value of a placement.conf."""


@dataclass(frozen=True)
class DatabaseServer:
    """A private server of one kind, and its process."""

    server: PostgresqlServer | MariadbServer
    pid: int

    def describe(self, url: str) -> str:
        """The server's own name for its version."""
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            return str(connection.execute(sqlalchemy.text("SELECT version()")).scalar())


@dataclass(frozen=True)
class Contestant:
    """A served deployment: its name in the tables, its address and its first process."""

    name: str
    address: Address
    pid: int
    database_url: str


@contextlib.contextmanager
def serve_database(kind: DatabaseKind) -> Iterator[DatabaseServer]:
    """Run a database server with the settings of the test suite: durable, small buffers."""
    before = list_children(os.getpid())
    server = PostgresqlServer() if kind is DatabaseKind.POSTGRESQL else MariadbServer()
    try:
        (pid,) = list_children(os.getpid()) - before
        yield DatabaseServer(server, pid)
    finally:
        server.end()


@contextlib.contextmanager
def serve(
    subject: Subject,
    directory: Path,
    database_url: str,
    *,
    copied_from: str | None = None,
    upstream_options: Options | None = None,
) -> Iterator[Contestant]:
    """Serve Moorage or upstream's service for as long as the block runs.

    ``copied_from``: the database whose books upstream begins with, instead of empty ones;
    ``upstream_options``: what upstream is configured with beside the defaults.
    """
    options = upstream_options if subject is Subject.PEER else None
    deployment = Deployment(directory, database_url, options or {})
    conf_path = deployment.write(subject)
    environment = _make_environment(conf_path.parent)
    port = find_free_port()
    if subject is Subject.PEER:
        # Upstream's workers would race for the schema.
        run_to_end(
            [sys.executable, "-c", "import placement.wsgi.api"],
            user=None, cwd=directory, env=environment,
        )  # fmt: skip
        if copied_from is not None:
            copy_books(copied_from, database_url)
        command = _peer_command(port)
    else:
        command = [
            sys.executable, "-m", "moorage", "serve", "--port", str(port),
            "--workers", str(WORKERS),
        ]  # fmt: skip
    running = start(
        command, log_path=directory / "server.log", cwd=directory, env=environment,
        end_signal=signal.SIGTERM,
    )  # fmt: skip
    name = "Moorage" if subject is Subject.MOORAGE else "upstream"
    # uWSGI answers one request a connection, as sites run it behind their proxy.
    address = Address(port, keeps_connections=subject is Subject.MOORAGE)
    try:
        wait_until(lambda: _answers(port), running, f"{name} on port {port}")
        yield Contestant(name, address, running.process.pid, database_url)
    finally:
        running.end()


def _peer_command(port: int) -> list[str]:
    """As DevStack writes it: a master, its workers, the application loaded in each."""
    beside_python = Path(sys.executable).parent / "uwsgi"
    program = str(beside_python) if beside_python.exists() else shutil.which("uwsgi")
    if program is None:
        raise StartFailed("uWSGI is not installed (pip install -r requirements/bench.txt)")
    return [
        program, "--http-socket", f"127.0.0.1:{port}", "--virtualenv", sys.prefix,
        "--module", "placement.wsgi.api:application", "--need-app", "--master",
        "--processes", str(WORKERS), "--lazy-apps", "--enable-threads", "--thunder-lock",
        "--die-on-term", "--buffer-size", "65535", "--add-header", "Connection: close",
        "--disable-logging",
    ]  # fmt: skip


def _make_environment(conf_directory: Path) -> dict[str, str]:
    # What the person's own shell says about clouds and Placement is not part of the contest.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    paths = [str(REPOSITORY / "src"), environment.get("PYTHONPATH", "")]
    return environment | {
        "OS_PLACEMENT_CONFIG_DIR": str(conf_directory),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONWARNINGS": "ignore",
    }


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
