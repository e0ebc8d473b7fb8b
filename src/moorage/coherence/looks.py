"""Looks that are shared: who waits while one is taken has the next one in common."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Look:
    """One look; each who waits for it, or to take it, sleeps at a lock of his own."""

    __slots__ = ("error", "found", "taker", "waiting")

    def __init__(self) -> None:
        self.taker: threading.Lock | None = None
        self.waiting: list[threading.Lock] = []
        self.found: Any = None
        self.error: BaseException | None = None


class Looks(Generic[T]):
    """Takes one look at a time, and as few as can be.

    A look serves all who asked before it began. So of those who ask while one is under way the
    first takes the next, for himself and the others.
    """

    def __init__(self, take: Callable[[], T]) -> None:
        """``take``: takes a look; never called by two threads at once."""
        self._take = take
        self._door = threading.Lock()
        self._under_way: _Look | None = None
        self._next: _Look | None = None

    def share(self) -> T:
        """What a look finds that begins after this call.

        Raises:
            BaseException: what the look raised, to all who share it.
        """
        own = None
        with self._door:
            if self._under_way is None:
                look, takes = _Look(), True
                self._under_way = look
            else:
                own = threading.Lock()
                own.acquire()
                takes = self._next is None
                look = self._next or _Look()
                if takes:
                    self._next, look.taker = look, own
                else:
                    look.waiting.append(own)
        if own is not None:
            own.acquire()
        if takes:
            self._look(look)
        if look.error is not None:
            raise look.error
        found: T = look.found
        return found

    def _look(self, look: _Look) -> None:
        """Take a look, tell those who wait for it, and have the next one taken."""
        try:
            look.found = self._take()
        except BaseException as error:  # noqa: BLE001 - told to everyone whom the look is for
            look.error = error
        with self._door:
            self._under_way, self._next = self._next, None
            following = self._under_way.taker if self._under_way is not None else None
        # Nobody joins this look any more. The next one begins before its news are made use of.
        for sleeper in ([] if following is None else [following]) + look.waiting:
            sleeper.release()
