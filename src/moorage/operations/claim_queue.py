"""Claims of concurrent requests, written together.

The first request to arrive leads: it takes what has gathered behind it, decides all of it in one
transaction and answers for everyone. A batch of one costs what a single claim costs.
"""

import contextlib
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from moorage.domain.claim import Absentee, ConsumerChange, ConsumerClaim, decide_claims
from moorage.domain.ids import MoveUuid
from moorage.domain.ledger import Ledger
from moorage.domain.move import DEFAULT_MOVE_RULES, MoveRules, Observer
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    CapacityExceeded,
    InventoryMissing,
    Refusal,
    StoreUnavailable,
    UnitsViolated,
    UnknownAllocationProvider,
)
from moorage.operations.books import check_still_true, load_books, write_books
from moorage.store.journal import Entry
from moorage.store.leases import Lease, write_leases
from moorage.store.store import Store
from moorage.store.transaction import Transaction

BATCH_REQUESTS_MAX: Final = 64
"""Requests that share one transaction at most."""

NO_ROOM: Final = (CapacityExceeded, InventoryMissing, UnitsViolated, UnknownAllocationProvider)
"""Refusals of one way to serve a request that say nothing about the others."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The claims of one request, which all hold or none.

    ``others``: other ways to serve it, for the same consumers; the first that has room is taken.
    ``notes``: for each way what the journal is told besides. ``lease_until``: when the consumers'
    allocations are freed unless somebody renews or changes them (naive UTC); None: never.
    """

    claims: tuple[ConsumerClaim, ...]
    origin: Origin
    others: tuple[tuple[ConsumerClaim, ...], ...] = ()
    notes: tuple[tuple[Entry, ...], ...] = ()
    lease_until: datetime | None = None

    @property
    def ways(self) -> tuple[tuple[ConsumerClaim, ...], ...]:
        """All ways to serve the request, the one preferred first."""
        return (self.claims, *self.others)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Which way of a request was taken, and what that changes."""

    way: int
    changes: Sequence[ConsumerChange]


Outcome = Accepted | BaseException


@dataclass(slots=True)
class _Ticket:
    request: ClaimRequest
    answered: bool = False
    outcome: Outcome | None = None


@dataclass(slots=True)
class ClaimQueue:
    """The claims of one process on their way to the store."""

    store: Store
    absentee: Absentee
    moves: MoveRules = DEFAULT_MOVE_RULES
    _waiting: deque[_Ticket] = field(default_factory=deque)
    _lead: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, request: ClaimRequest) -> Accepted:
        """Have a request decided and written; returns when it is committed.

        Raises:
            Refusal: the request was refused.
            StoreUnavailable: it was not written.
        """
        ticket = _Ticket(request)
        self._waiting.append(ticket)
        with self._lead:
            # Whoever led before may have taken this ticket along.
            while not ticket.answered:
                self._serve(self._take())
        outcome = ticket.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        return outcome

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        while self._waiting and len(batch) < BATCH_REQUESTS_MAX:
            batch.append(self._waiting.popleft())
        return batch

    def _serve(self, batch: list[_Ticket]) -> None:
        try:
            requests = [ticket.request for ticket in batch]
            outcomes = write_claims(self.store, requests, self.absentee, self.moves)
        except BaseException as error:  # noqa: BLE001 - every waiting request must be answered
            if len(batch) > 1 and _may_be_of_one(error):
                # One request's fault must not become its neighbours': each has its own try.
                for ticket in batch:
                    self._serve([ticket])
                return
            outcomes = [error] * len(batch)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.outcome = outcome
            ticket.answered = True


def _may_be_of_one(error: BaseException) -> bool:
    """Whether what a batch failed by may be the fault of one of its requests.

    A database that cannot be used is nobody's: all were tried for long enough, or have been written
    although their commit was not acknowledged, and must not be written again.
    """
    return isinstance(error, Exception) and not isinstance(error, StoreUnavailable)


def write_claims(
    store: Store,
    requests: list[ClaimRequest],
    absentee: Absentee,
    moves: MoveRules = DEFAULT_MOVE_RULES,
) -> list[Outcome]:
    """Decide and write several requests in one transaction; a refusal concerns only its own."""
    claims = [claim for request in requests for way in request.ways for claim in way]

    def attempt(tx: Transaction) -> list[Outcome]:
        books = load_books(tx, claims)
        outcomes: list[Outcome] = []
        leases: list[Lease] = []
        for request in requests:
            observer = observer_of(request.origin, moves)
            try:
                accepted = decide_ways(books.ledger, request.ways, absentee, observer)
            except Refusal as refusal:
                if isinstance(refusal, CapacityExceeded):
                    check_still_true(tx, books, request.claims)
                outcomes.append(refusal)
                continue
            books.enter(accepted.changes, kind="allocation.set", origin=request.origin)
            if request.notes:
                books.entries.extend((note, request.origin) for note in request.notes[accepted.way])
            leases += leases_of(request, accepted)
            outcomes.append(accepted)
        if books.entries:
            write_books(tx, books, at=requests[0].origin.at)
            write_leases(tx, leases)
        return outcomes

    return store.run(attempt)


def decide_ways(
    ledger: Ledger,
    ways: Sequence[Sequence[ConsumerClaim]],
    absentee: Absentee,
    observer: Observer,
) -> Accepted:
    """Decide the claims of one request in the first way that has room.

    Raises:
        Refusal: what the last way was refused for, or what no other way could mend.
    """
    for number, claims in enumerate(ways[:-1]):
        with contextlib.suppress(*NO_ROOM):
            return Accepted(number, decide_claims(ledger, claims, absentee, observer))
    return Accepted(len(ways) - 1, decide_claims(ledger, ways[-1], absentee, observer))


def leases_of(request: ClaimRequest, accepted: Accepted) -> Iterator[Lease]:
    """The leases that an accepted request begins."""
    until, origin = request.lease_until, request.origin
    if until is None:
        return
    for change in accepted.changes:
        if change.after is not None:
            generation = change.after.generation
            yield Lease(change.consumer, generation, until, origin.request_id, origin.at)


def observer_of(origin: Origin, rules: MoveRules) -> Observer:
    """Who looks at a request for signs of moves."""
    return Observer(rules, origin.global_request_id, origin.at, new_move_uuid)


def new_move_uuid() -> MoveUuid:
    """A name for a move that begins."""
    return MoveUuid(str(uuid.uuid4()))
