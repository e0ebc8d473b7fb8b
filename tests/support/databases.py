"""Private database servers, each started once per test process and ended with it.

A missing server program is a failure, never a skip: a suite that claims three databases has to
have seen three.
"""

import itertools
import os
import re
import shutil
import signal
import tempfile
import uuid
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import psycopg
import pymysql

from tests.support.processes import (
    Running,
    StartFailed,
    find_free_port,
    find_unprivileged_user,
    run_to_end,
    start,
    wait_until,
)

START_ATTEMPTS_MAX = 3
ROLE = "moorage"


class DatabaseKind(Enum):
    """The databases that Moorage keeps its books in."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"


class PostgresqlServer:
    """A PostgreSQL cluster of our own on a free loopback port, durable as by default."""

    def __init__(self) -> None:
        self._user = find_unprivileged_user("postgres")
        self._home = _make_home("moorage-postgresql-", self._user)
        binaries = _find_postgresql_binaries()
        run_to_end(
            [binaries / "initdb", "-D", self._home / "cluster", "-U", ROLE, "-A", "trust",
             "-E", "UTF8", "--locale=C", "--no-sync"],
            user=self._user, cwd=self._home,
        )  # fmt: skip
        self._port, self._running = _start_on_free_port(
            lambda port: [
                binaries / "postgres", "-D", self._home / "cluster", "-p", str(port),
                "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                "-c", "max_connections=400", "-c", "shared_buffers=64MB",
                "-c", "deadlock_timeout=200ms",
            ],
            answers=self._answers, home=self._home, user=self._user, what="PostgreSQL",
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM waits for every client to leave.
            end_signal=signal.SIGINT,
        )  # fmt: skip

    def create_database(self, name: str) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        with self._connect(self._port) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://{ROLE}@127.0.0.1:{self._port}/{name}"

    def check_running(self) -> None:
        self._running.check_running()

    def end(self) -> None:
        self._running.end()
        shutil.rmtree(self._home, ignore_errors=True)

    def _connect(self, port: int) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=port, user=ROLE, dbname="postgres", autocommit=True,
            connect_timeout=5,
        )  # fmt: skip

    def _answers(self, port: int) -> bool:
        try:
            self._connect(port).close()
        except psycopg.Error:
            return False
        return True


class MariadbServer:
    """A MariaDB server of our own on a free loopback port, utf8mb4, durable as by default."""

    def __init__(self) -> None:
        self._user = find_unprivileged_user("mysql")
        self._home = _make_home("moorage-mariadb-", self._user)
        # A server that starts deletes what it takes for leftovers in its directory for temporary
        # files; were that one directory for all, it would be what another one just works with.
        install, server = _find_program("mariadb-install-db"), _find_program("mariadbd")
        run_to_end(
            [install, "--no-defaults", f"--datadir={self._home / 'books'}", "--skip-test-db",
             "--auth-root-authentication-method=normal", f"--tmpdir={self._home}",
             *self._user_option()],
            user=None, cwd=self._home,
        )  # fmt: skip
        grants = self._home / "grants.sql"
        grants.write_text(
            f"CREATE USER '{ROLE}'@'%';\nGRANT ALL ON *.* TO '{ROLE}'@'%' WITH GRANT OPTION;\n"
        )
        grants.chmod(0o644)
        self._port, self._running = _start_on_free_port(
            lambda port: [
                server, "--no-defaults", f"--datadir={self._home / 'books'}", f"--port={port}",
                "--bind-address=127.0.0.1", f"--socket={self._home / 'socket'}",
                f"--pid-file={self._home / 'pid'}", f"--init-file={grants}",
                f"--tmpdir={self._home}", "--skip-name-resolve", "--character-set-server=utf8mb4",
                "--max-connections=400", "--innodb-buffer-pool-size=128M",
                "--innodb-lock-wait-timeout=10", *self._user_option(),
            ],
            answers=self._answers, home=self._home, user=None, what="MariaDB",
            end_signal=signal.SIGTERM,
        )  # fmt: skip

    def create_database(self, name: str) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        connection = self._connect(self._port)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return f"mysql+pymysql://{ROLE}@127.0.0.1:{self._port}/{name}?charset=utf8mb4"

    def check_running(self) -> None:
        self._running.check_running()

    def end(self) -> None:
        self._running.end()
        shutil.rmtree(self._home, ignore_errors=True)

    def _user_option(self) -> list[str]:
        return [f"--user={self._user.pw_name}"] if self._user else []

    def _connect(self, port: int) -> pymysql.Connection:
        return pymysql.connect(host="127.0.0.1", port=port, user=ROLE, connect_timeout=5)

    def _answers(self, port: int) -> bool:
        try:
            self._connect(port).close()
        except pymysql.Error:
            return False
        return True


@dataclass
class Databases:
    """Hands out new empty databases; starts a server when one is first asked for."""

    directory: Path
    _servers: dict[DatabaseKind, PostgresqlServer | MariadbServer] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def fresh(self, kind: DatabaseKind | str) -> str:
        """Make a new empty database and return its SQLAlchemy URL."""
        kind = DatabaseKind(kind)
        name = f"books_{next(self._numbers)}_{uuid.uuid4().hex[:8]}"
        if kind is DatabaseKind.SQLITE:
            return f"sqlite:///{self.directory / name}.db"
        if kind in self._servers:
            self._servers[kind].check_running()
        else:
            makers = {
                DatabaseKind.POSTGRESQL: PostgresqlServer,
                DatabaseKind.MARIADB: MariadbServer,
            }
            self._servers[kind] = makers[kind]()
        return self._servers[kind].create_database(name)

    def end(self) -> None:
        """End every server that was started."""
        for server in self._servers.values():
            server.end()
        self._servers.clear()


def _start_on_free_port(command_at, *, answers, home, user, what, end_signal):  # type: ignore[no-untyped-def]
    """Start a server; another process may take the port between our look and its bind."""
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        port = find_free_port()
        running: Running = start(
            command_at(port), log_path=home / "server.log", cwd=home, user=user,
            end_signal=end_signal,
        )  # fmt: skip
        try:
            wait_until(lambda at=port: answers(at), running, what)  # type: ignore[misc]
        except StartFailed:
            if attempt == START_ATTEMPTS_MAX:
                raise
        else:
            return port, running
    raise AssertionError("unreachable")


def _make_home(prefix: str, user) -> Path:  # type: ignore[no-untyped-def]
    home = Path(tempfile.mkdtemp(prefix=prefix))
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)
    return home


def _find_postgresql_binaries() -> Path:
    def version(path: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", path)]

    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    installed = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), key=version)
    if not installed:
        raise StartFailed("PostgreSQL's server is not installed (Debian: apt install postgresql)")
    return Path(installed[-1]).parent


def _find_program(name: str) -> Path:
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        raise StartFailed(f"{name} is not installed (Debian: apt install mariadb-server)")
    return Path(found)
