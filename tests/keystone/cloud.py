"""The cloud of these tests: its accounts, its command line, and every operation of the API."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from tests.support.client import Answer, Client
from tests.support.ids import new_uuid
from tests.support.keystone import DOMAIN, Account, Keystone
from tests.support.servers import Server

KEYSTONE_TOKEN: Final = re.compile(r"gAAAA[A-Za-z0-9_-]{20,}")
"""What a fernet token looks like, from its version and the high bytes of its time on."""

NEWEST: Final = "1.39"
COMMAND_S_MAX: Final = 60
NOT_ALLOWED: Final = frozenset((401, 403))

_PROVIDER: Final = f"/resource_providers/{new_uuid()}"
_CONSUMER: Final = f"/allocations/{new_uuid()}"

RESHAPE: Final = ("POST", "/reshaper")
OPERATIONS: Final = (
    ("GET", "/resource_providers"),
    ("POST", "/resource_providers"),
    ("GET", _PROVIDER),
    ("PUT", _PROVIDER),
    ("DELETE", _PROVIDER),
    ("GET", f"{_PROVIDER}/inventories"),
    ("POST", f"{_PROVIDER}/inventories"),
    ("PUT", f"{_PROVIDER}/inventories"),
    ("DELETE", f"{_PROVIDER}/inventories"),
    ("GET", f"{_PROVIDER}/inventories/VCPU"),
    ("PUT", f"{_PROVIDER}/inventories/VCPU"),
    ("DELETE", f"{_PROVIDER}/inventories/VCPU"),
    ("GET", f"{_PROVIDER}/aggregates"),
    ("PUT", f"{_PROVIDER}/aggregates"),
    ("GET", f"{_PROVIDER}/traits"),
    ("PUT", f"{_PROVIDER}/traits"),
    ("DELETE", f"{_PROVIDER}/traits"),
    ("GET", f"{_PROVIDER}/usages"),
    ("GET", f"{_PROVIDER}/allocations"),
    ("GET", "/resource_classes"),
    ("POST", "/resource_classes"),
    ("GET", "/resource_classes/VCPU"),
    ("PUT", "/resource_classes/CUSTOM_THING"),
    ("DELETE", "/resource_classes/CUSTOM_NOTHING"),
    ("GET", "/traits"),
    ("GET", "/traits/HW_CPU_X86_AVX2"),
    ("PUT", "/traits/CUSTOM_TRAIT"),
    ("DELETE", "/traits/CUSTOM_NOTHING"),
    ("POST", "/allocations"),
    ("GET", _CONSUMER),
    ("PUT", _CONSUMER),
    ("DELETE", _CONSUMER),
    ("GET", "/allocation_candidates?resources=VCPU:1"),
    RESHAPE,
)
"""All that policies decide on, but usages of a project: method and target."""


@dataclass(frozen=True)
class Cloud:
    """Who is there, and the service that they ask."""

    keystone: Keystone
    server: Server
    admin: Account
    service: Account
    reader: Account
    stranger: Account

    def client(self, account: Account) -> Client:
        """A client that asks with a new token of this account."""
        return self.server.client(NEWEST, token=self.keystone.give_token(account))

    def find_refused(self, account: Account) -> set[tuple[str, str]]:
        """The operations that this account is not allowed."""
        client = self.client(account)
        return {
            operation
            for operation in OPERATIONS
            if try_out(client, *operation).status in NOT_ALLOWED
        }

    def command(self, account: Account, *words: str) -> subprocess.CompletedProcess[str]:
        """Run an `openstack` command as a person does who has sourced their account's file."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
        sourced = {
            "OS_IDENTITY_API_VERSION": "3",
            "OS_AUTH_URL": self.keystone.url,
            "OS_USERNAME": account.name,
            "OS_PASSWORD": account.password,
            "OS_USER_DOMAIN_ID": DOMAIN,
            "OS_PROJECT_NAME": account.project,
            "OS_PROJECT_DOMAIN_ID": DOMAIN,
        }
        return subprocess.run(
            [sys.executable, "-m", "openstackclient.shell", *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            env=clean | sourced,
        )

    def ask(self, account: Account, *words: str) -> Any:
        """Run a command that has to succeed and read what it prints as JSON."""
        finished = self.command(account, *words, "-f", "json")
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)


def try_out(client: Client, method: str, target: str) -> Answer:
    """Ask for an operation, with a body that says nothing where it takes one."""
    return client.send(method, target, body={} if method in ("POST", "PUT") else None)
