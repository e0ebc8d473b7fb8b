"""Writes of concurrent requests that share transactions.

The first request to arrive leads: it has itself written, with all that has gathered, in one
transaction, and answers for everyone. Those that have come meanwhile wait, and the first of them
leads next; if there are none, the next to come. Either way those of the batch before who come back
at once are waited for. A batch of one costs what a single write costs.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Generic, TypeVar

from moorage.domain.refusals import StoreUnavailable

R = TypeVar("R")
T = TypeVar("T")

BATCH_REQUESTS_MAX: Final = 64
"""Requests that share one transaction at most."""

GATHER_PART: Final = 1.0
"""How long a batch waits for those whose last requests have just been answered, at most: this part
of the time that it took to write these."""

GATHER_S_MAX: Final = 0.01
"""How long it waits however long that was."""

SHARE_STEP: Final = 0.1
"""By how much more of those who were answered are waited for after all who were have come."""

PASSED_MAX: Final = 64
"""Batches that are begun at once, at most, before it is tried again whether others come."""


class ApartRather(Exception):
    """What stands against requests may be among themselves: each is to be written alone.

    Two new names, say, that only the database takes for the same.
    """


class _Ticket(Generic[R, T]):
    """A request in the queue; whoever brought it sleeps until it is answered, or to lead."""

    __slots__ = ("_call", "answered", "outcome", "request")

    def __init__(self, request: R) -> None:
        self.request = request
        self.answered = False
        self.outcome: T | BaseException | None = None
        self._call = threading.Lock()
        self._call.acquire()

    def wait(self) -> None:
        self._call.acquire()

    def call(self) -> None:
        self._call.release()

    def answer(self, outcome: T | BaseException) -> None:
        self.outcome = outcome
        self.answered = True


def _no_subjects(_request: object) -> Collection[str]:
    return ()


class WriteQueue(Generic[R, T]):
    """The requests of one kind of one process on their way to the store."""

    def __init__(
        self,
        write: Callable[[list[R]], Sequence[T | BaseException]],
        *,
        subjects: Callable[[R], Collection[str]] = _no_subjects,
    ) -> None:
        """``write``: decides and writes a batch in one transaction, with an outcome for each.

        ``subjects``: what a request is about; requests of one batch have none in common.
        """
        self._write = write
        self._subjects = subjects
        self._waiting: deque[_Ticket[R, T]] = deque()
        self._door = threading.Lock()
        self._led = False
        self._gathering = _Gathering(self._door)

    def __len__(self) -> int:
        """How many requests wait; those that are being written do not."""
        return len(self._waiting)

    def submit(self, request: R) -> T:
        """Have a request decided and written; returns when it is committed.

        Raises:
            Refusal: the request was refused.
            StoreUnavailable: it was not written.
        """
        ticket: _Ticket[R, T] = _Ticket(request)
        with self._door:
            self._waiting.append(ticket)
            leads, self._led = not self._led, True
            self._gathering.note(len(self._waiting))
        if not leads:
            ticket.wait()
        if not ticket.answered:
            self._gathering.wait(self._waiting.__len__)
            self._lead(ticket)
        outcome = ticket.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        return outcome

    def _lead(self, own: _Ticket[R, T]) -> None:
        """Serve the batch that begins with the leader's own request, and hand the lead over."""
        with self._door:
            batch = self._take()
        began_s = time.monotonic()
        try:
            self._serve(batch)
        finally:
            with self._door:
                # Each is called by its own lock. With one for all, those who have their answer
                # would stand in line for it behind those who want to lead.
                self._led = bool(self._waiting)
                self._gathering.begin(
                    here=len(self._waiting),
                    answered=len(batch),
                    took_s=time.monotonic() - began_s,
                )
                called = [ticket for ticket in batch if ticket is not own]
                called += [self._waiting[0]] if self._waiting else []
            for ticket in called:
                ticket.call()

    def _take(self) -> list[_Ticket[R, T]]:
        batch: list[_Ticket[R, T]] = []
        taken: set[str] = set()
        while self._waiting and len(batch) < BATCH_REQUESTS_MAX:
            subjects = self._subjects(self._waiting[0].request)
            if not taken.isdisjoint(subjects):
                break
            taken.update(subjects)
            batch.append(self._waiting.popleft())
        return batch

    def _serve(self, batch: list[_Ticket[R, T]]) -> None:
        outcomes: Sequence[T | BaseException]
        try:
            outcomes = self._write([ticket.request for ticket in batch])
        except BaseException as error:  # noqa: BLE001 - every waiting request must be answered
            if len(batch) > 1 and _may_be_of_one(error):
                # One request's fault must not become its neighbours': each has its own try.
                for ticket in batch:
                    self._serve([ticket])
                return
            outcomes = [error] * len(batch)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.answer(outcome)


class _Gathering:
    """How long a batch waits for those whom the last one has answered.

    Clients that work without a pause come back at once: begun a moment later, a batch has them
    too, where otherwise two parts of them would take turns, or the first to come back and all
    others. As many are waited for as came the last time, and a few more whenever all of these have
    come. Where nobody comes back it is tried ever more seldom. ``door`` is the queue's; all but
    ``wait`` is called behind it.
    """

    def __init__(self, door: threading.Lock) -> None:
        self._door = door
        self._enough = threading.Lock()
        self._enough.acquire()
        self._here = 0
        self._answered = 0
        self._wanted = 0
        self._share = 1.0
        self._until_s = 0.0
        self._pass = 0
        self._passed = 0

    def begin(self, *, here: int, answered: int, took_s: float) -> None:
        """A batch has been answered; one of those who are here leads next, or the next to come.

        ``took_s``: how long it took to write.
        """
        self._wanted = 0
        self._enough.acquire(blocking=False)
        if here + answered < 2:
            return  # whoever is alone waits for nobody
        self._passed += 1
        if self._passed > self._pass:
            self._here, self._answered = here, answered
            coming = max(1, round(answered * self._share))
            # Whoever comes where nobody is leads himself: he alone is not worth waiting for.
            self._wanted = min(max(here + coming, 2), BATCH_REQUESTS_MAX)
            self._until_s = time.monotonic() + min(took_s * GATHER_PART, GATHER_S_MAX)

    def note(self, here: int) -> None:
        """Another one has come."""
        if self._wanted and here >= self._wanted:
            self._wanted = 0
            self._enough.release()

    def wait(self, count: Callable[[], int]) -> None:
        """Wait until all are back who may be; at most until some time after the last batch."""
        with self._door:
            left_s = self._until_s - time.monotonic() if self._wanted else 0.0
            if left_s <= 0:
                self._wanted = 0
                self._enough.acquire(blocking=False)
                return
        all_came = self._enough.acquire(timeout=left_s)
        with self._door:
            self._wanted = 0
            self._enough.acquire(blocking=False)
            came = count() - self._here
            self._share = min(1.0, self._share + SHARE_STEP if all_came else came / self._answered)
            in_vain = came < 1 or count() < 2
            self._pass = min(2 * self._pass + 1, PASSED_MAX) if in_vain else 0
            self._passed = 0


def _may_be_of_one(error: BaseException) -> bool:
    """Whether what a batch failed by may be the fault of one of its requests.

    A database that cannot be used is nobody's: all were tried for long enough, or have been written
    although their commit was not acknowledged, and must not be written again.
    """
    return isinstance(error, Exception) and not isinstance(error, StoreUnavailable)
