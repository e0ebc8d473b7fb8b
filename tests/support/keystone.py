"""A Keystone of our own: its books in SQLite, its keys in a directory of the test session."""

import getpass
import grp
import http.client
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from tests.support.ids import new_uuid
from tests.support.processes import (
    Running,
    StartFailed,
    find_free_port,
    run_to_end,
    start,
    wait_until,
)

HOST = "127.0.0.1"
DOMAIN = "default"
REGION = "here"
ADMIN = "admin"

# Keystone takes the words of whatever program loads it for its own options: there must be none.
SERVE = """
import sys
from granian import Granian
host, port = sys.argv[1:]
del sys.argv[1:]
Granian(
    "keystone.wsgi.api:application", address=host, port=int(port), interface="wsgi",
    websockets=False,
).serve()
"""
MANAGE = "import sys; from keystone.cmd.manage import main; sys.exit(main())"


@dataclass(frozen=True)
class Account:
    """A user of Keystone and the project that it works in."""

    name: str
    password: str
    project: str
    project_id: str


class Keystone:
    """A served Keystone with its first admin, as `keystone-manage bootstrap` leaves it."""

    def __init__(self, directory: Path) -> None:
        if importlib.util.find_spec("keystone") is None:
            raise StartFailed("Keystone is not installed (make .venv/.keystone)")
        self._directory = directory
        self._port = find_free_port()
        self._admin_password = new_uuid()
        self._conf_path = self._write_conf()
        self._prepare()
        self._running = self._serve()
        admin = Account(ADMIN, self._admin_password, ADMIN, project_id="")
        self._admin_session = self.session(admin)
        self.admin = replace(admin, project_id=str(self._admin_session.get_project_id()))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}/v3"

    def session(self, account: Account) -> Session:
        """A session that works as this account in its project, with a token of its own."""
        return Session(
            Password(
                auth_url=self.url,
                username=account.name,
                password=account.password,
                user_domain_id=DOMAIN,
                project_name=account.project,
                project_domain_id=DOMAIN,
            )
        )

    def give_token(self, account: Account) -> str:
        """A new token for this account and its project."""
        return str(self.session(account).get_token())

    def give_system_token(self, account: Account) -> str:
        """A new token for the whole deployment instead of a project."""
        system = Password(
            auth_url=self.url,
            username=account.name,
            password=account.password,
            user_domain_id=DOMAIN,
            system_scope="all",
        )
        return str(Session(system).get_token())

    def revoke(self, token: str) -> None:
        self._ask("DELETE", "/auth/tokens", headers={"X-Subject-Token": token})

    def add_account(self, name: str, *, project: str, roles: Sequence[str]) -> Account:
        """Make a user with these roles in a project, which is made where it is missing."""
        project_id = self._find_id("projects", project) or self._add(
            "project", {"name": project, "domain_id": DOMAIN}
        )
        account = Account(name, new_uuid(), project, project_id)
        user = {"name": name, "password": account.password, "domain_id": DOMAIN}
        user_id = self._add("user", user)
        for role in roles:
            role_id = self._find_id("roles", role)
            self._ask("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")
        return account

    def add_to_catalog(self, service_type: str, url: str) -> None:
        """Tell every client where a service is."""
        service_id = self._add("service", {"type": service_type, "name": service_type})
        for interface in ("public", "internal", "admin"):
            self._add(
                "endpoint",
                {
                    "service_id": service_id,
                    "interface": interface,
                    "url": url,
                    "region_id": REGION,
                },
            )

    def end(self) -> None:
        self._running.end()

    def _write_conf(self) -> Path:
        options = {
            "database": {"connection": f"sqlite:///{self._directory / 'keystone.db'}"},
            "token": {"provider": "fernet"},
            "fernet_tokens": {"key_repository": self._make_key_directory("fernet")},
            "fernet_receipts": {"key_repository": self._make_key_directory("receipts")},
            "credential": {"key_repository": self._make_key_directory("credential")},
            # The fewest that bcrypt allows: these passwords need not resist anyone.
            "identity": {"password_hash_rounds": 4},
        }
        lines = []
        for group, chosen in options.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in chosen.items())]
        path = self._directory / "keystone.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _make_key_directory(self, name: str) -> Path:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        return directory

    def _prepare(self) -> None:
        owner = ["--keystone-user", getpass.getuser(), "--keystone-group", _own_group()]
        endpoints = [
            word
            for interface in ("public", "internal", "admin")
            for word in (f"--bootstrap-{interface}-url", self.url)
        ]
        self._manage("db_sync")
        self._manage("fernet_setup", *owner)
        self._manage("credential_setup", *owner)
        self._manage(
            "bootstrap", "--bootstrap-username", ADMIN, "--bootstrap-password",
            self._admin_password, "--bootstrap-region-id", REGION, *endpoints,
        )  # fmt: skip

    def _manage(self, *words: str) -> None:
        run_to_end(
            [sys.executable, "-c", MANAGE, "--config-file", self._conf_path, *words],
            user=None,
            cwd=self._directory,
        )

    def _serve(self) -> Running:
        running = start(
            [sys.executable, "-c", SERVE, HOST, str(self._port)],
            log_path=self._directory / "keystone.log",
            cwd=self._directory,
            env={**os.environ, "OS_KEYSTONE_CONFIG_FILES": str(self._conf_path)},
            end_signal=signal.SIGTERM,
        )
        wait_until(self._answers, running, f"Keystone on port {self._port}")
        return running

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", "/v3")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _find_id(self, collection: str, name: str) -> str | None:
        found = self._ask("GET", f"/{collection}?name={name}")[collection]
        return str(found[0]["id"]) if found else None

    def _add(self, kind: str, body: dict[str, str]) -> str:
        return str(self._ask("POST", f"/{kind}s", json={kind: body})[kind]["id"])

    def _ask(self, method: str, path: str, **more):  # type: ignore[no-untyped-def]
        answer = self._admin_session.request(f"{self.url}{path}", method, **more)
        return answer.json() if answer.content else None


def _own_group() -> str:
    return grp.getgrgid(os.getegid()).gr_name
