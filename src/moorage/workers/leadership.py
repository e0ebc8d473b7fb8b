"""One process among all on all machines does a job; if it dies, another takes over.

The database holds who leads, and a number that the leader counts up. Nobody compares clocks of two
machines: who has seen the same number for long enough by its own clock takes over.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from moorage.store.leaders import Leader, delete_leader, lock_leader, read_leader, write_leader
from moorage.store.store import Store
from moorage.store.transaction import Transaction

RUNNER: Final = "runner"
"""The name of the runner's lead."""

SILENCE_S_MAX: Final = 3.0
"""A leader that has not counted up for so long has died, or cannot reach the database."""


class Leadership:
    """This process's part in the choice of a leader; for one thread."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        holder: Callable[[], str],
        is_dead: Callable[[str], bool] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            holder: who this process is; asked again after a fork.
            is_dead: whether a holder is known to live no longer, so that nobody need wait.
            clock_s: monotonic, in seconds.
        """
        self._store = store
        self._name = name
        self._holder = holder
        self._is_dead = is_dead or died_here
        self._clock_s = clock_s
        self._seen: Leader | None = None
        self._seen_at_s = 0.0

    def take_part(self) -> bool:
        """Say that this process lives, or see whether the leader does; whether it leads now.

        Raises:
            StoreUnavailable: the database does not answer; then it does not lead.
        """
        holder = self._holder()
        seen = read_leader(self._store, self._name)
        if seen is not None and seen.holder != holder and not self._is_silent(seen):
            return False
        return self._store.run(lambda tx: self._lead(tx, seen, holder))

    def _lead(self, tx: Transaction, seen: Leader | None, holder: str) -> bool:
        """Lead, if nobody else has begun to since the leader was looked at."""
        before = lock_leader(tx, self._name)
        is_free = before == seen or (before is not None and before.holder == holder)
        if is_free:
            write_leader(tx, self._name, before=before, holder=holder)
        return is_free

    def resign(self) -> None:
        """Leave the lead to whoever comes first; nothing if this process does not lead."""
        holder = self._holder()
        self._store.run(lambda tx: delete_leader(tx, self._name, holder=holder))

    def _is_silent(self, seen: Leader) -> bool:
        now_s = self._clock_s()
        if seen != self._seen:
            self._seen, self._seen_at_s = seen, now_s
        return self._is_dead(seen.holder) or now_s - self._seen_at_s >= SILENCE_S_MAX


def own_identity() -> str:
    """A name for this process that no other has, on this machine or another, now or later."""
    began = _began(os.getpid())
    if not _PLACE or began is None:
        return f"{_RANDOM}-{os.getpid()}"
    return f"{_PLACE}-{os.getpid()}-{began}"


def died_here(holder: str) -> bool:
    """Whether a holder was a process of this machine and is one no longer.

    It is the same machine if kernel and process numbers are the same: containers that only share
    a host name are not taken for one.
    """
    place, _, rest = holder.partition("-")
    pid, _, began = rest.partition("-")
    if not _PLACE or place != _PLACE or not pid.isdecimal():
        return False
    return _began(int(pid)) != began


def _began(pid: int) -> str | None:
    """When a process began, in ticks of its kernel; None: there is none, or nobody says it."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; what counts stands behind it.
    words = facts.rpartition(")")[2].split()
    is_zombie = words[0] in ("Z", "X")
    return None if is_zombie else words[19]


def _place() -> str:
    """A name for the kernel and its process numbers; empty where nobody says it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        numbers = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {numbers}".encode()).hexdigest()[:16]


_PLACE: Final = _place()
_RANDOM: Final = str(uuid4())
