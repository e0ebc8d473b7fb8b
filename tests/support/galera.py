"""A Galera cluster of two MariaDB servers on the loopback address, each with its own files.

The first server has two votes, so that it goes on alone when the second one dies: in a cluster of
three, any two would.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

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

HOST = "127.0.0.1"
ROLE = "moorage"
PROVIDERS = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
)
"""Where Debian, and others, put the library that replicates."""


class GaleraNode:
    """One server of the cluster; ended, killed and started again by its own process."""

    def __init__(self, home: Path, *, founder: "GaleraNode | None" = None) -> None:
        """Prepare a server with an empty directory.

        Args:
            founder: the running server to join; None founds the cluster.
        """
        self._founder = founder
        self._user = find_unprivileged_user("mysql")
        self._home = home
        for directory in (home, home / "books"):
            directory.mkdir()
            if self._user:
                os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        self.port = find_free_port()
        self._group_port = find_free_port()
        self._increment_port = find_free_port()
        self._whole_port = find_free_port()
        self._running: Running | None = None
        if founder is None:
            self._install()

    @property
    def group_address(self) -> str:
        """Where the servers of the cluster talk to each other."""
        return f"{HOST}:{self._group_port}"

    def start(self) -> None:
        """Start the server and wait until it has all that the cluster has."""
        self._running = start(
            self._command(),
            log_path=self._home / "server.log",
            cwd=self._home,
            user=self._user,
            env={**os.environ, "HOME": str(self._home), "LC_ALL": "C"},
            end_signal=signal.SIGTERM,
        )
        wait_until(self.is_synced, self._running, f"Galera node on port {self.port}")

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._running is not None
        self._running.process.kill()
        self._running.process.wait()

    def end(self) -> None:
        if self._running is not None:
            self._running.end()

    def is_synced(self) -> bool:
        """Whether it answers, and has applied what the cluster has committed."""
        try:
            return self.ask("SHOW STATUS LIKE 'wsrep_local_state_comment'") == "Synced"
        except pymysql.Error:
            return False

    def count_status(self, name: str) -> int:
        """One of Galera's own counters."""
        return int(self.ask(f"SHOW STATUS LIKE '{name}'"))

    def ask(self, statement: str) -> str:
        """Run a statement; the last field of the first row, if there is one."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
            return "" if row is None else str(row[-1])

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database as this server has it."""
        return f"mysql+pymysql://{ROLE}@{HOST}:{self.port}/{database}?charset=utf8mb4"

    def _connect(self) -> pymysql.Connection:
        return pymysql.connect(
            host=HOST, port=self.port, user=ROLE, connect_timeout=5, read_timeout=60
        )

    def _install(self) -> None:
        """Make the system's own tables, which a joining server is given with all others."""
        run_to_end(
            [_find_program("mariadb-install-db"), "--no-defaults",
             f"--datadir={self._home / 'books'}", "--skip-test-db",
             "--auth-root-authentication-method=normal", f"--tmpdir={self._home}"],
            user=self._user, cwd=self._home,
        )  # fmt: skip
        (self._home / "grants.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{ROLE}'@'%';\n"
            f"GRANT ALL ON *.* TO '{ROLE}'@'%' WITH GRANT OPTION;\n"
        )

    def _command(self) -> list[str | Path]:
        provider_options = [
            f"gmcast.listen_addr=tcp://{self.group_address}",
            f"ist.recv_addr={HOST}:{self._increment_port}",
            "gcache.size=32M",
        ]
        if self._founder is None:
            provider_options.append("pc.weight=2")
            place = ["--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://"]
            place.append(f"--init-file={self._home / 'grants.sql'}")
        else:
            place = [f"--wsrep-cluster-address=gcomm://{self._founder.group_address}"]
        return [
            _find_program("mariadbd"), "--no-defaults", f"--datadir={self._home / 'books'}",
            f"--port={self.port}", f"--bind-address={HOST}", f"--socket={self._home / 'socket'}",
            f"--pid-file={self._home / 'pid'}", "--skip-name-resolve",
            "--character-set-server=utf8mb4", "--max-connections=200",
            "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=10",
            "--innodb-log-file-size=16M",
            "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON", f"--wsrep-provider={_find_provider()}",
            "--wsrep-cluster-name=books", f"--wsrep-node-address={self.group_address}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={HOST}:{self._whole_port}",
            f"--wsrep-provider-options={';'.join(provider_options)}",
            *place,
        ]  # fmt: skip


class GaleraCluster:
    """Two servers that hold the same books; each may be written to."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="moorage-galera-"))
        self._home.chmod(0o755)
        self.first = GaleraNode(self._home / "first")
        self.second = GaleraNode(self._home / "second", founder=self.first)
        try:
            self.first.start()
            self.second.start()
        except StartFailed:
            self.end()
            raise

    def create_database(self, name: str) -> None:
        self.first.ask(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def end(self) -> None:
        """End the servers, the one that can do without the other last."""
        self.second.end()
        self.first.end()
        shutil.rmtree(self._home, ignore_errors=True)


def _find_program(name: str) -> Path:
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        raise StartFailed(f"{name} is not installed (Debian: apt install mariadb-server)")
    return Path(found)


def _find_provider() -> str:
    for place in PROVIDERS:
        if Path(place).exists():
            return place
    raise StartFailed("Galera is not installed (Debian: apt install galera-4 rsync)")
