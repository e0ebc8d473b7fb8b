"""A Nova of our own: its API, a database for it and one for each cell, behind a Keystone."""

import http.client
import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from tests.support.keystone import DOMAIN, REGION, Account, Keystone
from tests.support.processes import (
    StartFailed,
    find_free_port,
    run_to_end,
    start,
    wait_until,
)
from tests.support.servers import REPOSITORY

HOST = "127.0.0.1"
PAGE = 3
"""The most entries that this Nova puts on one page."""

CELLS = ("cell1", "cell2")
SMALL = {
    "vcpus": 2,
    "memory_mb": 512,
    "root_gb": 20,
    "ephemeral_gb": 0,
    "swap": 0,
    "extra_specs": {},
}

# Nova takes the words of whatever program loads it for its own options: there must be none.
SERVE = """
import sys
from granian import Granian
host, port = sys.argv[1:]
del sys.argv[1:]
Granian(
    "nova.wsgi.osapi_compute:application", address=host, port=int(port), interface="wsgi",
    websockets=False, blocking_threads=2,
).serve()
"""


class NovaBooks:
    """What Nova is to know; written to its databases all at once."""

    def __init__(self) -> None:
        self.hosts: list[dict[str, Any]] = []
        self.servers: list[dict[str, Any]] = []
        self.migrations: list[dict[str, Any]] = []

    def add_host(
        self, host: str, cell: str, uuid: str, name: str, *, service_deleted: bool = False
    ) -> None:
        self.hosts.append(
            {
                "host": host,
                "cell": cell,
                "uuid": uuid,
                "name": name,
                "service_deleted": service_deleted,
            }
        )

    def add_server(
        self,
        uuid: str,
        host: str | None,
        *,
        cell: str | None = None,
        vm_state: str = "active",
        task_state: str | None = None,
        image: str = "70a599e0-31e7-49b7-b260-868f441e862b",
        flavor: Mapping[str, Any] | None = None,
        deleted: bool = False,
    ) -> None:
        self.servers.append(
            {
                "uuid": uuid,
                "host": host,
                "cell": cell or self._cell_of(host),
                "vm_state": vm_state,
                "task_state": task_state,
                "image": image,
                "flavor": SMALL | dict(flavor or {}),
                "deleted": deleted,
            }
        )

    def add_migration(
        self,
        uuid: str,
        server: str,
        status: str,
        *,
        source: str,
        destination: str,
        kind: str = "migration",
        hidden: bool = False,
    ) -> None:
        self.migrations.append(
            {
                "uuid": uuid,
                "server": server,
                "status": status,
                "kind": kind,
                "hidden": hidden,
                "source": source,
                "destination": destination,
                "cell": self._cell_of(source),
            }
        )

    def _cell_of(self, host: str | None) -> str:
        return next((one["cell"] for one in self.hosts if one["host"] == host), CELLS[0])


class Nova:
    """A nova-api that knows what the books say; it is served as often as one likes."""

    def __init__(self, directory: Path, keystone: Keystone, books: NovaBooks) -> None:
        if importlib.util.find_spec("nova") is None:
            raise StartFailed("Nova is not installed (make .venv/.nova)")
        self._directory = directory
        self._keystone = keystone
        self._port = find_free_port()
        self._neutron_port = find_free_port()
        itself = keystone.add_account("nova", project="service", roles=["admin", "service"])
        self._conf_path = self._write_conf(itself)
        self._fill(books)
        keystone.add_to_catalog("compute", f"{self.url}/v2.1")

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve for as long as the block runs; anew, so that no connection is left of before."""
        with _networks(self._neutron_port):
            running = start(
                [sys.executable, "-W", "ignore", "-c", SERVE, HOST, str(self._port)],
                log_path=self._directory / "nova-api.log",
                cwd=self._directory,
                env=_environment() | {"OS_NOVA_CONFIG_DIR": str(self._directory)},
                end_signal=signal.SIGTERM,
            )
            try:
                wait_until(self._answers, running, f"Nova on port {self._port}")
                yield
            finally:
                running.end()

    def take_away(self, cell: str) -> None:
        """Let a cell's database be where Nova cannot reach it."""
        (self._directory / cell).rename(self._directory / f"{cell}-away")

    def write_clouds_yaml(self) -> Path:
        """The admin's cloud, named ``here``, as JSON, which is YAML too."""
        admin = self._keystone.admin
        cloud = {
            "auth": {
                "auth_url": self._keystone.url,
                "username": admin.name,
                "password": admin.password,
                "user_domain_id": DOMAIN,
                "project_name": admin.project,
                "project_domain_id": DOMAIN,
            },
            "region_name": REGION,
        }
        path = self._directory / "clouds.yaml"
        path.write_text(json.dumps({"clouds": {"here": cloud}}))
        return path

    def _database(self, name: str) -> str:
        (self._directory / name).mkdir(exist_ok=True)
        return f"sqlite:///{self._directory / name / 'nova.db'}"

    def _write_conf(self, itself: Account) -> Path:
        options: dict[str, dict[str, object]] = {
            "DEFAULT": {"transport_url": "fake://", "host": "api", "my_ip": HOST},
            "api": {"max_limit": PAGE},
            "api_database": {"connection": self._database("api")},
            # A database that is away is away at once, not only after many tries.
            "database": {"connection": self._database("unused"), "max_retries": 1},
            "oslo_concurrency": {"lock_path": self._directory / "locks"},
            "neutron": {
                "auth_type": "none",
                "endpoint_override": f"http://{HOST}:{self._neutron_port}",
            },
            "keystone_authtoken": {
                "www_authenticate_uri": self._keystone.url,
                "auth_type": "password",
                "auth_url": self._keystone.url,
                "username": itself.name,
                "password": itself.password,
                "user_domain_id": DOMAIN,
                "project_name": itself.project,
                "project_domain_id": DOMAIN,
            },
        }
        lines = []
        for group, chosen in options.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in chosen.items())]
        path = self._directory / "nova.conf"
        path.write_text("\n".join(lines) + "\n")
        shutil.copy(Path(sys.prefix) / "etc" / "nova" / "api-paste.ini", self._directory)
        return path

    def _fill(self, books: NovaBooks) -> None:
        wanted = {
            "project_id": self._keystone.admin.project_id,
            "user_id": self._keystone.admin.name,
            "cell0": self._database("cell0"),
            "cells": {name: self._database(name) for name in CELLS},
            **vars(books),
        }
        path = self._directory / "wanted.json"
        path.write_text(json.dumps(wanted))
        run_to_end(
            [sys.executable, "-W", "ignore", "-m", "tests.audit.nova_books", self._conf_path, path],
            user=None,
            cwd=self._directory,
            env=_environment() | {"PYTHONPATH": str(REPOSITORY)},
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status in (200, 300)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _environment() -> dict[str, str]:
    # What the person's own shell says about clouds and Nova is not part of the test.
    own = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return own | {"OS_NOVA_DISABLE_EVENTLET_PATCHING": "true"}


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _networks(port: int) -> Iterator[None]:
    """As much of Neutron as Nova asks for when it lists servers: none has a port."""

    def answer(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("content-type", "application/json")])
        return [b'{"ports": [], "security_groups": []}']

    server = make_server(HOST, port, answer, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
