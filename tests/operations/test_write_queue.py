"""How long batches of writes wait for each other."""

import math
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from moorage.operations import write_queue
from moorage.operations.write_queue import WriteQueue

FOR_EVER_S = 600.0
"""Nobody waits so long and passes a test."""


class Crowd:
    """A queue whose batches are written when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self._may_write = threading.Semaphore(0)
        self._begun = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self.queue: WriteQueue[str, str] = WriteQueue(self._write)

    def _write(self, requests: list[str]) -> Sequence[str]:
        self.batches.append(requests)
        self._begun.release()
        self._may_write.acquire()
        return requests

    def begin(self, request: str) -> None:
        """Submit the first request, and wait until it is being written."""
        self.submit(request)
        self.await_batch()

    def submit(self, request: str) -> None:
        """Submit a request in a thread of its own."""
        self._threads.append(threading.Thread(target=self.queue.submit, args=(request,)))
        self._threads[-1].start()

    def submit_behind(self, *requests: str) -> None:
        """Submit requests while a batch is being written, in this order."""
        for request in requests:
            due = len(self.queue) + 1
            self.submit(request)
            wait_for(lambda due=due: len(self.queue) == due)  # type: ignore[misc]

    def await_batch(self) -> None:
        assert self._begun.acquire(timeout=30)

    def write(self) -> None:
        """Let the batch that is being written be committed."""
        self._may_write.release()

    def await_first(self) -> None:
        """Wait until the first request is answered."""
        self._threads[0].join(30)
        assert not self._threads[0].is_alive()

    def alive(self) -> int:
        """How many requests are not answered yet."""
        return sum(thread.is_alive() for thread in self._threads)

    def end(self) -> None:
        self._may_write.release(100)
        for thread in self._threads:
            thread.join()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how long a batch waits for others."""

    def wait_at_most(seconds: float) -> None:
        monkeypatch.setattr(write_queue, "GATHER_PART", math.inf)
        monkeypatch.setattr(write_queue, "GATHER_S_MAX", seconds)

    return wait_at_most


def make_batch_of_three() -> Crowd:
    """A crowd in whose second batch three requests are being written; needs patience."""
    crowd = Crowd()
    crowd.begin("a")
    crowd.submit_behind("b", "c")
    crowd.write()
    # "b" and "c" could be written now; who sent "a" is back in a moment.
    crowd.await_first()
    crowd.submit("a again")
    crowd.await_batch()
    return crowd


def test_a_batch_waits_for_those_whom_the_last_one_has_answered(
    patience: Callable[[float], None],
) -> None:
    patience(FOR_EVER_S)
    crowd = make_batch_of_three()
    crowd.end()
    assert crowd.batches == [["a"], ["b", "c", "a again"]]


def test_a_batch_does_not_wait_for_long(patience: Callable[[float], None]) -> None:
    patience(0.001)
    crowd = Crowd()
    crowd.begin("a")
    crowd.submit_behind("b")
    crowd.write()
    crowd.await_batch()
    crowd.end()
    assert crowd.batches == [["a"], ["b"]]


def test_after_waiting_in_vain_a_batch_does_not_wait(patience: Callable[[float], None]) -> None:
    patience(0.001)
    crowd = Crowd()
    crowd.begin("a")
    crowd.submit_behind("b")
    crowd.write()
    crowd.await_batch()
    patience(FOR_EVER_S)
    crowd.submit_behind("c")
    crowd.write()
    crowd.await_batch()
    crowd.end()
    assert crowd.batches == [["a"], ["b"], ["c"]]


def test_who_comes_alone_waits_for_nobody(patience: Callable[[float], None]) -> None:
    patience(FOR_EVER_S)
    queue: WriteQueue[str, str] = WriteQueue(lambda requests: requests)
    assert [queue.submit(request) for request in "abc"] == ["a", "b", "c"]


def test_the_first_to_come_back_waits_for_the_others_whom_the_last_batch_answered(
    patience: Callable[[float], None],
) -> None:
    patience(FOR_EVER_S)
    crowd = make_batch_of_three()
    crowd.write()
    wait_for(lambda: not crowd.alive())
    # Nobody waits now; all three are back in a moment, one after the other.
    crowd.submit("b again")
    crowd.submit("c again")
    crowd.submit("a once more")
    crowd.await_batch()
    crowd.end()
    assert set(crowd.batches[2]) == {"b again", "c again", "a once more"}


def test_who_comes_back_late_waits_for_nobody(patience: Callable[[float], None]) -> None:
    patience(0.001)
    crowd = Crowd()
    crowd.begin("a")
    crowd.submit_behind("b", "c")
    crowd.write()
    crowd.await_batch()
    crowd.write()
    wait_for(lambda: not crowd.alive())
    time.sleep(0.01)
    patience(FOR_EVER_S)
    crowd.submit("b again")
    crowd.await_batch()
    crowd.end()
    assert crowd.batches == [["a"], ["b", "c"], ["b again"]]


def test_no_more_are_waited_for_than_came_back_the_last_time(
    patience: Callable[[float], None],
) -> None:
    patience(FOR_EVER_S)
    crowd = make_batch_of_three()
    patience(2)
    crowd.submit_behind("d")
    crowd.write()
    wait_for(lambda: crowd.alive() == 1)
    crowd.submit("one of three")
    crowd.await_batch()
    assert crowd.batches[2] == ["d", "one of three"]
    patience(FOR_EVER_S)
    crowd.submit_behind("e")
    crowd.write()
    wait_for(lambda: crowd.alive() == 1)
    crowd.submit("one of two")
    crowd.await_batch()
    crowd.end()
    assert crowd.batches[3] == ["e", "one of two"]


def test_the_wait_depends_on_how_long_the_batch_before_has_taken() -> None:
    crowd = Crowd()
    crowd.begin("a")
    crowd.submit_behind("b")
    time.sleep(0.2)
    began_s = time.monotonic()
    crowd.write()
    crowd.await_batch()
    waited_s = time.monotonic() - began_s
    crowd.end()
    assert waited_s > write_queue.GATHER_S_MAX / 2
