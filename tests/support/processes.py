"""Processes that a test session starts: each runs in the foreground and is ended by its own id."""

import contextlib
import ctypes
import itertools
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
# How long to wait before a program counts as stuck: no measure of how fast it is, so that a busy
# machine fails nothing.
START_S_MAX = 180.0
STOP_S_MAX = 25.0
COMMAND_S_MAX = 300.0
# Below the ports that Linux gives to outgoing connections, of which a test run has many.
PORTS = range(15_000, 32_000)


class StartFailed(AssertionError):
    """A program that the suite needs did not start; the suite fails, it does not skip."""


# Processes with ids close to each other, as the workers of one test run, begin far apart.
_ports = itertools.islice(itertools.cycle(PORTS), os.getpid() * 97 % len(PORTS), None)


def find_free_port() -> int:
    """A loopback port that was free a moment ago, and that this process has not been given yet."""
    for port in itertools.islice(_ports, len(PORTS)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise StartFailed("no port is free")


def find_unprivileged_user(*preferred: str) -> pwd.struct_passwd | None:
    """The user to run a database server as, or None where we are unprivileged already."""
    if os.geteuid() != 0:
        return None
    for name in (*preferred, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartFailed("a database server cannot run as root, and there is no user 'nobody'")


def run_to_end(
    command: Sequence[str | Path],
    *,
    user: pwd.struct_passwd | None,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = COMMAND_S_MAX,
) -> None:
    """Run a preparing command and fail with its output if it fails."""
    finished = subprocess.run(
        [str(word) for word in command],
        check=False,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**(os.environ if env is None else env), "HOME": str(cwd), "LC_ALL": "C"},
        **_as_user(user),
    )
    if finished.returncode:
        raise StartFailed(f"{command[0]} failed:\n{finished.stdout}\n{finished.stderr}")


@dataclass
class Running:
    """A process in the foreground, its log, and the signal that asks it to end."""

    process: subprocess.Popen[bytes]
    log_path: Path
    end_signal: signal.Signals

    @property
    def exited(self) -> bool:
        return self.process.poll() is not None

    def check_running(self) -> None:
        """Fail with the end of its log where the process has ended by itself."""
        if self.exited:
            raise StartFailed(f"ended with {self.process.returncode}:\n{self.log_tail()}")

    def log_tail(self, line_count: int = 40) -> str:
        """The last lines the process wrote."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-line_count:])

    def end(self) -> None:
        """Ask the process to end, and kill it if it does not."""
        if self.exited:
            return
        self.process.send_signal(self.end_signal)
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S_MAX)


def start(
    command: Sequence[str | Path],
    *,
    log_path: Path,
    cwd: Path,
    user: pwd.struct_passwd | None = None,
    env: Mapping[str, str] | None = None,
    end_signal: signal.Signals = signal.SIGTERM,
) -> Running:
    """Start a program in the foreground; it dies with us even if we are killed."""
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(os.environ if env is None else env),
            preexec_fn=lambda: _die_with_parent(end_signal),  # noqa: PLW1509
            **_as_user(user),
        )
    return Running(process, log_path, end_signal)


def wait_until(answers: Callable[[], bool], running: Running, what: str) -> None:
    """Wait for a started program to answer.

    Raises:
        StartFailed: it ended, or did not answer within START_S_MAX; with the end of its log.
    """
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        if running.exited:
            raise StartFailed(f"{what} ended at its start:\n{running.log_tail()}")
        if answers():
            return
        time.sleep(0.05)
    running.end()
    raise StartFailed(f"{what} did not answer within {START_S_MAX:.0f} s:\n{running.log_tail()}")


def _as_user(user: pwd.struct_passwd | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _die_with_parent(end_signal: signal.Signals) -> None:
    # Linux only; elsewhere an interrupted session may leave a process behind, no more.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(end_signal))
