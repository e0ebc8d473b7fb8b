"""Looks that are shared: who waits while one is taken has the next one in common."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

GATHER_PART: Final = 5.0
"""How long a look waits for others at most: so many times as long as the one before took.

Who has been told comes back later than that: a look is short beside the rest of a request.
"""

GATHER_S_MAX: Final = 0.0015
"""How long it waits however long that was."""

GATHERED_MAX: Final = 8
"""Those who share a look have its cost nearly for nothing by then; more are not waited for."""

PASSED_MAX: Final = 16
"""Looks that are begun at once, at most, before it is tried again whether others come."""


class _Look:
    """One look; each who waits for it, or to take it, sleeps at a lock of his own."""

    __slots__ = ("called", "due", "error", "found", "taker", "waiting")

    def __init__(self, taker: "threading.Lock | None" = None) -> None:
        self.taker = taker
        self.called = taker is None
        self.due = False
        """Whether it has waited for long enough, and begins as soon as it may."""
        self.waiting: list[threading.Lock] = []
        self.found: Any = None
        self.error: BaseException | None = None

    @property
    def count(self) -> int:
        """How many it is for."""
        return 1 + len(self.waiting)

    def call(self) -> None:
        """Have it begun."""
        if not self.called and self.taker is not None:
            self.called = True
            self.taker.release()


class Looks(Generic[T]):
    """Takes one look at a time, and as few as can be.

    A look serves all who asked before it began. So of those who ask while one is under way the
    first takes the next, for himself and the others. He waits a moment for those whom the last one
    has told: who reads without a pause comes back at once, and two parts of such readers would take
    turns otherwise. Whoever is alone waits for nobody, and where others do not come back they are
    waited for ever more seldom.
    """

    def __init__(self, take: Callable[[], T]) -> None:
        """``take``: takes a look; never called by two threads at once."""
        self._take = take
        self._door = threading.Lock()
        self._under_way: _Look | None = None
        self._next: _Look | None = None
        self._wanted = 1
        self._wait_s = 0.0
        self._until_s = 0.0
        self._pass = 0
        self._to_pass = 0

    def share(self) -> T:
        """What a look finds that begins after this call.

        Raises:
            BaseException: what the look raised, to all who share it.
        """
        own = None
        with self._door:
            look = self._next
            takes = look is None
            if takes and self._under_way is None and not self._others_come():
                look = self._under_way = _Look()
            else:
                own = threading.Lock()
                own.acquire()
                if look is None:
                    look = self._next = _Look(own)
                else:
                    look.waiting.append(own)
                    if self._under_way is None and look.count >= self._wanted:
                        look.call()
        if takes:
            if own is not None:
                self._gather(look, own)
            self._look(look)
        elif own is not None:
            own.acquire()
        if look.error is not None:
            raise look.error
        found: T = look.found
        return found

    def _others_come(self) -> bool:
        """Whether those whom the last look has told may still be on their way back."""
        return self._wanted > 1 and time.monotonic() < self._until_s

    def _gather(self, look: _Look, own: threading.Lock) -> None:
        """Sleep until the look may begin: all have come, or time is over, and none is under way.

        Once for both, where a leader of the write queue is woken to lead and then gathers: that
        takes longer than a look is worth.
        """
        if not own.acquire(timeout=self._wait_s):
            with self._door:
                look.due = True
                if self._under_way is None:
                    look.called = True
            if not look.called:
                own.acquire()
        with self._door:
            # Up to here others may have joined it.
            self._under_way, self._next = look, None

    def _look(self, look: _Look) -> None:
        """Take a look, tell those who wait for it, and have the next one taken."""
        began_s = time.monotonic()
        try:
            look.found = self._take()
        except BaseException as error:  # noqa: BLE001 - told to everyone whom the look is for
            look.error = error
        ended_s = time.monotonic()
        with self._door:
            self._wait_s = min((ended_s - began_s) * GATHER_PART, GATHER_S_MAX)
            self._until_s = ended_s + self._wait_s
            self._under_way = None
            following = self._next
            self._expect(came=look.count, waiting=0 if following is None else following.count)
            # The next one begins before the news of this one are made use of.
            if following is not None and (following.due or following.count >= self._wanted):
                following.call()
        for sleeper in look.waiting:
            sleeper.release()

    def _expect(self, *, came: int, waiting: int) -> None:
        """Find out for how many the next look is worth waiting; a look has told those who came."""
        if came < self._wanted:
            self._pass = self._to_pass = min(2 * self._pass + 1, PASSED_MAX)
        elif self._wanted > 1:
            self._pass = 0
        if self._to_pass > 0:
            self._to_pass -= 1
            self._wanted = 1
        else:
            self._wanted = min(came + waiting, GATHERED_MAX)
