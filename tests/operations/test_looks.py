"""Looks are shared by those who wait, begin after they were asked for, and end for everyone."""

import threading
import time
from collections.abc import Callable

import pytest

from moorage.coherence.looks import Looks


class Slow:
    """Takes looks that end when the test says so, each with the number of looks begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.fails = False
        self.found: list[int | str] = []
        self.looks = Looks(self._take)
        self._may_end = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def _take(self) -> int:
        self.begun += 1
        number = self.begun
        assert self._may_end.acquire(timeout=30)
        if self.fails:
            raise OSError
        return number

    def ask(self, count: int = 1) -> None:
        """Ask for looks, each in a thread of its own that is known to wait, or to look."""
        for _ in range(count):
            asked = threading.Event()
            thread = threading.Thread(target=self._ask, args=(asked,))
            thread.start()
            self._threads.append(thread)
            assert asked.wait(30)

    def _ask(self, asked: threading.Event) -> None:
        # Whoever asks is counted before the door is opened for the next.
        door = self.looks._door
        self.looks._door = _Telling(door, asked)  # type: ignore[assignment]
        try:
            self.found.append(self.looks.share())
        except OSError:
            self.found.append("failed")

    def end_look(self) -> None:
        self._may_end.release()

    def join(self) -> list[int | str]:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        return sorted(self.found, key=str)


class _Telling:
    """A lock that tells once it is released for the first time."""

    def __init__(self, lock: threading.Lock, told: threading.Event) -> None:
        self._lock = lock
        self._told = told

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)  # type: ignore[arg-type]
        self._told.set()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_who_asks_alone_looks_at_once(slow: Slow) -> None:
    slow.end_look()
    assert slow.looks.share() == 1
    slow.end_look()
    assert slow.looks.share() == 2


def test_a_look_that_has_begun_is_not_for_who_asks_now(slow: Slow) -> None:
    slow.ask()
    slow.ask()
    slow.end_look()
    slow.end_look()
    assert slow.join() == [1, 2]


def test_all_who_wait_share_the_next_look(slow: Slow) -> None:
    slow.ask()
    slow.ask(5)
    slow.end_look()
    slow.end_look()
    assert slow.join() == [1, 2, 2, 2, 2, 2]


def test_who_comes_during_the_next_look_has_one_after_it(slow: Slow) -> None:
    slow.ask()
    slow.ask(2)
    slow.end_look()
    wait_for(lambda: slow.begun == 2)
    slow.ask(2)
    slow.end_look()
    slow.end_look()
    assert slow.join() == [1, 2, 2, 3, 3]


def test_a_look_that_fails_fails_for_all_who_share_it_and_for_nobody_else(slow: Slow) -> None:
    slow.ask()
    slow.ask(2)
    slow.end_look()
    wait_for(lambda: slow.begun == 2)
    slow.fails = True
    slow.end_look()
    wait_for(lambda: slow.found.count("failed") == 2)
    slow.fails = False
    slow.end_look()
    assert slow.looks.share() == 3
    assert slow.join() == [1, "failed", "failed"]
