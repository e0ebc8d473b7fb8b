"""The `openstack` command line, pointed at a served deployment."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import STOP_S_MAX


class CommandFailed(AssertionError):
    """A command ended with a status other than 0."""


def make_environment(url: str) -> dict[str, str]:
    """What an operator exports to use the command line with a service without Keystone."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    return clean | {"OS_AUTH_TYPE": "admin_token", "OS_TOKEN": "admin", "OS_ENDPOINT": url}


class CommandLine:
    """Runs `openstack` commands at one microversion."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("command_loop.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=make_environment(url),
        )

    def run(self, *words: str, microversion: str) -> Mapping[str, Any]:
        """Run a command whatever comes of it: status, out, err."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = ["--os-placement-api-version", microversion, *words]
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: Mapping[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def do(self, command: str, *words: str, microversion: str) -> None:
        """Run a command that has to succeed; its own words are split at spaces."""
        answer = self.run(*command.split(), *words, microversion=microversion)
        if answer["status"]:
            raise CommandFailed(f"openstack {command} {words}: {answer}")

    def ask(self, command: str, *words: str, microversion: str) -> Any:
        """Run a command that has to succeed and read what it prints as JSON."""
        answer = self.run(*command.split(), *words, "-f", "json", microversion=microversion)
        if answer["status"]:
            raise CommandFailed(f"openstack {command} {words}: {answer}")
        return json.loads(answer["out"])

    def refuse(self, command: str, *words: str, microversion: str) -> str:
        """Run a command that has to fail; return what it says."""
        answer = self.run(*command.split(), *words, microversion=microversion)
        assert answer["status"], f"openstack {command} {words} succeeded: {answer}"
        return str(answer["err"])

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(STOP_S_MAX)
