"""What goes wrong at a database: at each statement, before and after it, and around each commit."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from moorage.store.dialects import Order, Rows, Session


class Wrong(BaseException):
    """The books are not what they must be. No handler of the service catches this."""


class Crash(BaseException):
    """The process has come to its end."""


class Broken(Exception):
    """A fault of ours, in the middle of the work."""


class Fault(Enum):
    """What happens at a point."""

    CRASH = "the process dies"
    POWER = "all processes die, and the files stay as they are"
    LOST = "the connection is gone"
    BUSY = "another transaction won"
    FULL = "the disk is full"
    BROKEN = "the work breaks"


SQLITE_ERRORS = {
    Fault.LOST: "SQLITE_IOERR",
    Fault.BUSY: "SQLITE_BUSY",
    Fault.FULL: "SQLITE_FULL",
}


def error_of(fault: Fault) -> BaseException:
    if fault in (Fault.CRASH, Fault.POWER):
        return Crash(fault)
    if fault is Fault.BROKEN:
        return Broken()
    error = sqlite3.OperationalError(fault.value)
    error.sqlite_errorname = SQLITE_ERRORS[fault]
    return error


@dataclass
class Points:
    """Counts the points that the work of one process passes, and has its fault at one of them."""

    before_begin: Callable[[], None]
    committed: Callable[[], None]
    in_between: Callable[[], None]
    at: int | None = None
    fault: Fault | None = None
    passed: int = 0
    happened: list[Fault] = field(default_factory=list)

    def plan(self, at: int | None, fault: Fault | None) -> None:
        self.at, self.fault, self.passed = at, fault, 0
        self.happened.clear()

    def point(self, *, after_commit: bool = False) -> None:
        self.passed += 1
        if self.passed - 1 != self.at:
            return
        fault = self.fault
        assert fault is not None
        if after_commit and fault in (Fault.BUSY, Fault.FULL, Fault.BROKEN):
            # No database says this of what it has committed.
            fault = Fault.LOST
        self.happened.append(fault)
        raise error_of(fault)


class FaultySession:
    """A session that sends its orders one by one, with a point before and after each."""

    def __init__(self, inner: Session, points: Points) -> None:
        self._inner = inner
        self._points = points

    def run(
        self, orders: Sequence[Order], *, begin: bool = False, commit: bool = False
    ) -> list[Rows]:
        points = self._points
        if begin:
            points.before_begin()
            self._inner.run((), begin=True)
        found: list[Any] = []
        for order in orders:
            points.point()
            found += self._inner.run((order,))
            points.in_between()
            points.point()
        if commit:
            points.point()
            self._inner.run((), commit=True)
            points.committed()
            points.point(after_commit=True)
        return found

    def rollback(self) -> None:
        self._inner.rollback()

    def is_open(self) -> bool:
        return self._inner.is_open()
