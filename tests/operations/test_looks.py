"""Looks are shared by those who wait, begin after they were asked for, and end for everyone."""

import math
import threading
import time
from collections.abc import Callable

import pytest

from moorage.coherence import looks
from moorage.coherence.looks import Looks

LONG_S = 0.2
"""A wait that no look of these tests takes by chance."""

ENDLESS_S = 60.0
"""A wait that no test sits out: whoever is expected to come is waited for half as long."""


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


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch, slow: Slow) -> Callable[[float], None]:
    """Says how many seconds a look waits for others; the first look is over then."""

    def wait(seconds: float) -> None:
        monkeypatch.setattr(looks, "GATHER_PART", math.inf)
        monkeypatch.setattr(looks, "GATHER_S_MAX", seconds)
        slow.end_look()
        assert slow.looks.share() == 1

    return wait


def begin_next(slow: Slow) -> float:
    """End the look that is under way; seconds until the next one has begun."""
    begun, ended_s = slow.begun, time.monotonic()
    slow.end_look()
    wait_for(lambda: slow.begun == begun + 1)
    return time.monotonic() - ended_s


def tell_two_at_once(slow: Slow) -> None:
    """Have the third look shared by two, with nobody waiting for the next one."""
    slow.ask()
    slow.ask()
    slow.end_look()
    wait_for(lambda: slow.found == [2])
    slow.ask()
    slow.end_look()
    assert slow.join() == [2, 3, 3]


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


def test_those_who_were_told_are_waited_for(slow: Slow, patience: Callable[[float], None]) -> None:
    patience(ENDLESS_S)
    slow.ask()
    slow.ask(2)
    slow.end_look()
    wait_for(lambda: slow.found == [2])
    time.sleep(LONG_S)
    assert slow.begun == 2
    slow.ask()
    wait_for(lambda: slow.begun == 3)
    slow.end_look()
    assert slow.join() == [2, 3, 3, 3]


def test_the_first_to_come_back_waits_for_the_others(
    slow: Slow, patience: Callable[[float], None]
) -> None:
    patience(ENDLESS_S)
    tell_two_at_once(slow)
    slow.ask()
    time.sleep(LONG_S)
    assert slow.begun == 3
    slow.ask()
    slow.end_look()
    assert slow.join() == [2, 3, 3, 4, 4]


def test_who_is_told_alone_waits_for_nobody(slow: Slow, patience: Callable[[float], None]) -> None:
    patience(ENDLESS_S)
    asked_s = time.monotonic()
    for number in (2, 3, 4):
        slow.end_look()
        assert slow.looks.share() == number
    assert time.monotonic() - asked_s < ENDLESS_S / 2


def test_who_does_not_come_back_is_waited_for_ever_more_seldom(
    slow: Slow, patience: Callable[[float], None]
) -> None:
    patience(LONG_S)
    slow.ask()
    waited = []
    for _ in range(7):
        slow.ask()
        waited.append(begin_next(slow) > LONG_S / 2)
    slow.end_look()
    assert waited == [True, False, True, False, False, False, True]
    assert slow.join() == list(range(2, 10))


def test_who_comes_long_after_the_last_look_waits_for_nobody(
    slow: Slow, patience: Callable[[float], None]
) -> None:
    patience(LONG_S)
    tell_two_at_once(slow)
    time.sleep(2 * LONG_S)
    asked_s = time.monotonic()
    slow.end_look()
    assert slow.looks.share() == 4
    assert time.monotonic() - asked_s < LONG_S / 2


def test_no_more_are_waited_for_than_make_a_look_cheap(
    slow: Slow, patience: Callable[[float], None]
) -> None:
    patience(ENDLESS_S)
    slow.ask()
    slow.ask(looks.GATHERED_MAX)
    slow.end_look()
    wait_for(lambda: slow.begun == 3)
    slow.end_look()
    assert slow.join() == [2, *[3] * looks.GATHERED_MAX]


def test_nobody_is_kept_from_looking_by_a_look_that_failed(
    slow: Slow, patience: Callable[[float], None]
) -> None:
    patience(LONG_S)
    slow.ask()
    slow.ask()
    slow.fails = True
    slow.end_look()
    wait_for(lambda: slow.begun == 3)
    slow.fails = False
    slow.end_look()
    assert slow.join() == [3, "failed"]


def test_of_many_who_look_without_a_pause_each_finds_what_was_there_before() -> None:
    written = 0

    def take() -> int:
        seen = written
        time.sleep(0.0002)
        return seen

    shared = Looks(take)
    door = threading.Lock()
    late: list[tuple[int, int]] = []

    def read_and_write() -> None:
        nonlocal written
        for _ in range(200):
            with door:
                written += 1
                before = written
            found = shared.share()
            if found < before:
                late.append((before, found))

    threads = [threading.Thread(target=read_and_write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert late == []
