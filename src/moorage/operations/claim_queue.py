"""Claims of concurrent requests, written together."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    UnitsViolated,
    UnknownAllocationProvider,
)
from moorage.operations.books import check_still_true, load_books, write_books
from moorage.operations.write_queue import WriteQueue
from moorage.store.journal import Entry
from moorage.store.leases import Lease, write_leases
from moorage.store.store import Store
from moorage.store.transaction import Transaction

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


class ClaimQueue(WriteQueue[ClaimRequest, Accepted]):
    """The claims of one process on their way to the store."""

    def __init__(
        self, store: Store, absentee: Absentee, moves: MoveRules = DEFAULT_MOVE_RULES
    ) -> None:
        super().__init__(lambda requests: write_claims(store, requests, absentee, moves))


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
