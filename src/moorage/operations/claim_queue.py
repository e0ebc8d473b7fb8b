"""Claims of concurrent requests, written together."""

import contextlib
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from moorage.domain.claim import Absentee, ConsumerChange, ConsumerClaim, decide_claims
from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid
from moorage.domain.ledger import Ledger
from moorage.domain.move import DEFAULT_MOVE_RULES, MoveEvent, MoveRules, Observer
from moorage.domain.move_record import MovePlan
from moorage.domain.move_steps import MoveOrder, Opening, decide_order
from moorage.domain.origin import Origin
from moorage.domain.refusals import CapacityExceeded, MoveExists, Refusal
from moorage.operations.books import Books, check_still_true, load_books, write_books
from moorage.operations.race import NO_ROOM
from moorage.operations.write_queue import ApartRather, WriteQueue
from moorage.store.journal import Entry
from moorage.store.leases import Lease, write_leases
from moorage.store.move_records import load_known, write_order, write_plan, write_step
from moorage.store.store import Store
from moorage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class MoveClaim:
    """What a claim is to a move that was ordered: its destination, at first or another one.

    ``plans``: for each way of the claim what the move knows of its destination. ``digest``,
    ``search`` and ``deadline`` are what the order says, for a move that opens.
    """

    order: MoveOrder
    plans: tuple[MovePlan, ...]
    digest: str = ""
    search: Mapping[str, Any] = field(default_factory=dict)
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The claims of one request, which all hold or none.

    ``others``: other ways to serve it, for the same consumers; the first that has room is taken.
    ``notes``: for each way what the journal is told besides. ``lease_until``: when the consumers'
    allocations are freed unless somebody renews or changes them (naive UTC); None: never.
    ``move``: the claim, which is of one consumer then, is the destination of a move.
    """

    claims: tuple[ConsumerClaim, ...]
    origin: Origin
    others: tuple[tuple[ConsumerClaim, ...], ...] = ()
    notes: tuple[tuple[Entry, ...], ...] = ()
    lease_until: datetime | None = None
    move: MoveClaim | None = None

    @property
    def ways(self) -> tuple[tuple[ConsumerClaim, ...], ...]:
        """All ways to serve the request, the one preferred first."""
        return (self.claims, *self.others)

    @property
    def consumers(self) -> Iterator[ConsumerUuid]:
        """Whose allocations the request may change."""
        yield from (claim.consumer for claim in self.claims)
        if self.move is not None and isinstance(self.move.order, Opening):
            yield self.move.order.hold


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
        super().__init__(lambda requests: write_claims(store, requests, absentee, self.moves))
        self.moves = moves


def write_claims(
    store: Store,
    requests: list[ClaimRequest],
    absentee: Absentee,
    moves: MoveRules = DEFAULT_MOVE_RULES,
) -> list[Outcome]:
    """Decide and write several requests in one transaction; a refusal concerns only its own.

    Raises:
        ApartRather: two of the requests spell a consumer in ways which only the database takes for
            the same; nothing is written.
    """
    claims = [claim for request in requests for way in request.ways for claim in way]
    openings = [
        request.move.order
        for request in requests
        if request.move is not None and isinstance(request.move.order, Opening)
    ]

    def attempt(tx: Transaction) -> list[Outcome]:
        known = set(load_known(tx, [one.uuid for one in openings])) if openings else set()
        books = load_books(
            tx, claims, consumers=[one.hold for one in openings], opens_moves=bool(openings)
        )
        if books.ledger.case_blind and differ_in_spelling(requests):
            raise ApartRather
        outcomes: list[Outcome] = []
        leases: list[Lease] = []
        moved: list[MoveClaim] = []
        for request in requests:
            try:
                check_new(request.move, known)
                accepted = decide_ways(books.ledger, request, absentee, moves)
            except Refusal as refusal:
                if isinstance(refusal, CapacityExceeded):
                    check_still_true(tx, books, request.claims)
                outcomes.append(refusal)
                continue
            books.enter(accepted.changes, kind="allocation.set", origin=request.origin)
            if request.notes:
                books.entries.extend((note, request.origin) for note in request.notes[accepted.way])
            leases += leases_of(request, accepted)
            if request.move is not None:
                moved.append(replace(request.move, plans=(request.move.plans[accepted.way],)))
                known.add(request.move.order.uuid)
            outcomes.append(accepted)
        if books.entries:
            write_books(tx, books, at=requests[0].origin.at)
            write_leases(tx, leases)
            write_moved(tx, moved, books)
        return outcomes

    return store.run(attempt)


def differ_in_spelling(requests: Iterable[ClaimRequest]) -> bool:
    """Whether a consumer that two of the requests have in common is spelled in two ways."""
    spellings: dict[str, set[ConsumerUuid]] = {}
    named: Counter[str] = Counter()
    for request in requests:
        for consumer in request.consumers:
            spellings.setdefault(consumer.lower(), set()).add(consumer)
        named.update({consumer.lower() for consumer in request.consumers})
    # Who names both is refused, but the others would be decided as if theirs were another one.
    return any(len(spelled) > 1 and named[key] > 1 for key, spelled in spellings.items())


def check_new(move: MoveClaim | None, known: Collection[MoveUuid]) -> None:
    """Refuse to open a move that there is already.

    Raises:
        MoveExists
    """
    if move is not None and isinstance(move.order, Opening) and move.order.uuid in known:
        raise MoveExists(move.order.uuid)


def decide_ways(
    ledger: Ledger, request: ClaimRequest, absentee: Absentee, moves: MoveRules
) -> Accepted:
    """Decide the claims of one request in the first way that has room.

    Raises:
        Refusal: what the last way was refused for, or what no other way could mend.
    """
    observer = observer_of(request.origin, moves)

    def decide(claims: Sequence[ConsumerClaim]) -> Sequence[ConsumerChange]:
        if request.move is None:
            return decide_claims(ledger, claims, absentee, observer)
        (claim,) = claims
        return decide_order(ledger, request.move.order, claim, absentee)

    ways = request.ways
    for number, claims in enumerate(ways[:-1]):
        with contextlib.suppress(*NO_ROOM):
            return Accepted(number, decide(claims))
    return Accepted(len(ways) - 1, decide(ways[-1]))


def write_moved(tx: Transaction, moved: Iterable[MoveClaim], books: Books) -> None:
    """Note what moves know of their orders and destinations, behind the moves themselves."""
    for claim in moved:
        order, (plan,) = claim.order, claim.plans
        if isinstance(order, Opening):
            write_order(
                tx, order.uuid, digest=claim.digest, search=claim.search, deadline=claim.deadline
            )
            step, generation = MoveEvent.OPEN, Generation(1)
        else:
            step, generation = MoveEvent.RESCHEDULE, Generation(order.generation + 1)
        write_plan(tx, order.uuid, plan)
        if books.moves[order.uuid].after.generation == generation:
            # Else a later request of the batch has changed the move already.
            write_step(tx, order.uuid, step=step, generation=generation)


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
