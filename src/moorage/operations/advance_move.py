"""The steps of a move that was ordered, once it is open."""

from collections.abc import Callable
from dataclasses import dataclass

from moorage.candidates.explain import explain
from moorage.domain.consumer import ConsumerAllocations
from moorage.domain.explanation import Explanation
from moorage.domain.ids import Generation, ProviderUuid
from moorage.domain.made_claim import Resources
from moorage.domain.move import MoveEvent, MoveState
from moorage.domain.move_record import MoveOutcome, MovePlan, MoveRecord, Reason
from moorage.domain.move_steps import Rescheduling, check_step, decide_step
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    MoveGenerationConflict,
    NothingToMove,
    StepImpossible,
    UnknownMove,
)
from moorage.operations.books import load_books, write_books
from moorage.operations.claim_queue import ClaimRequest, MoveClaim
from moorage.operations.move_places import (
    PlaceSearch,
    find_further_places,
    find_places,
    placing_of,
    providers_in,
    seen_by_mover,
)
from moorage.operations.open_move import MoveMade, claim_of, resources_of
from moorage.operations.race import NO_ROOM, Race
from moorage.operations.services import Services
from moorage.operations.show_move import show_move
from moorage.store.dialects import StaleView
from moorage.store.holdings import read_consumer
from moorage.store.move_records import load_move, write_step
from moorage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Stepping:
    """A step that somebody makes from a generation of a move.

    ``called``: what the step is called when it is sent again; None: as it is. ``outcome``: why the
    move ends by it, where that is not a client's wish.
    """

    uuid: str
    event: MoveEvent
    generation: Generation
    called: MoveEvent | None = None
    outcome: MoveOutcome | None = None

    @property
    def name(self) -> MoveEvent:
        """What the step is called when it is sent again."""
        return self.called or self.event


def advance_move(
    services: Services,
    stepping: Stepping,
    origin: Origin,
    *,
    announce: Callable[[MoveState], None] | None = None,
) -> MoveMade:
    """Make a step that claims nothing: start, confirm, or a way back.

    A step that was made already, and nothing since, is told its outcome again.

    Args:
        announce: told the state that the step leads to, before it is committed and nobody else
            can be at it: so what was not announced has not happened.
    Raises:
        UnknownMove, MoveIsObserved, MoveGenerationConflict, StepImpossible
        SourceGone, DestinationGone: a guard of the step does not hold.
    """

    def attempt(tx: Transaction) -> bool:
        record = load_move(tx, stepping.uuid)
        if record is None:
            raise UnknownMove(stepping.uuid)
        if record.has_made(stepping.name, stepping.generation):
            return True
        check_step(record.move, stepping.event, stepping.generation)
        books = load_books(tx, [], consumers=[record.consumer, record.hold])
        move = books.ledger.moves.get(record.consumer)
        if move is None or (move.uuid, move.generation) != (record.uuid, record.generation):
            raise StaleView  # somebody has made a step since it was loaded, perhaps this very one
        changes = decide_step(books.ledger, move, stepping.event, stepping.generation)
        books.enter(changes, kind="allocation.set", origin=origin)
        write_books(tx, books, at=origin.at)
        write_step(
            tx,
            record.uuid,
            step=stepping.name,
            generation=books.moves[record.uuid].after.generation,
            outcome=stepping.outcome,
        )
        if announce is not None:
            tx.send()
            announce(books.moves[record.uuid].after.state)
        return False

    repeated = services.store.run(attempt)
    return MoveMade(show_move(services, stepping.uuid), repeated)


def reschedule_move(
    services: Services, *, uuid: str, generation: Generation, origin: Origin
) -> MoveMade:
    """Claim another destination: the next alternate with room, else whatever a search finds.

    Where nothing is found, the move has failed, and the consumer goes back.

    Raises:
        UnknownMove, MoveIsObserved, MoveGenerationConflict, StepImpossible
        NothingToMove: the consumer was deleted.
        SourceGone: nothing fits, and nobody can go back.
        StoreUnavailable: others were faster all the time.
    """
    race = Race(services.keeper)
    spent = False
    while True:
        record = show_move(services, uuid)
        if record.has_made(MoveEvent.RESCHEDULE, generation):
            return MoveMade(record, repeated=True)
        check_step(record.move, MoveEvent.RESCHEDULE, generation)
        mover = read_consumer(services.store, record.consumer)
        if mover is None:
            raise NothingToMove(record.consumer)
        further = Further.of(record, mover)
        plans = () if spent else further.alternates()
        explanation = None
        if not plans:
            plans, explanation = further.search(services, race)
        if not plans:
            return _give_up(services, record, explanation, origin)
        try:
            services.claims.submit(further.offer(plans, origin))
        except NO_ROOM as refusal:
            race.lose(refusal)
            spent = True
        except (MoveGenerationConflict, StepImpossible):
            # Somebody else was at it, perhaps with the very same step: the next look tells.
            pass
        else:
            return MoveMade(show_move(services, uuid), repeated=False)
        race.check_time()


def _give_up(
    services: Services, record: MoveRecord, explanation: Explanation | None, origin: Origin
) -> MoveMade:
    stepping = Stepping(
        record.uuid,
        MoveEvent.GIVE_UP,
        record.generation,
        called=MoveEvent.RESCHEDULE,
        outcome=MoveOutcome(Reason.NOTHING_FITS, explanation),
    )
    return advance_move(services, stepping, origin)


@dataclass(frozen=True, slots=True)
class Further:
    """Where a move that does not stay where it is may go instead."""

    record: MoveRecord
    mover: ConsumerAllocations
    plan: MovePlan
    tried: tuple[ProviderUuid, ...]

    @classmethod
    def of(cls, record: MoveRecord, mover: ConsumerAllocations) -> "Further":
        """``mover``: what the move's consumer holds now."""
        assert record.plan is not None
        there = dict.fromkeys(record.plan.tried), record.plan.destination.allocations
        return cls(record, mover, record.plan, providers_in(*there, mover.resources))

    def alternates(self) -> tuple[MovePlan, ...]:
        """The alternates, the next one first; those before the one that is taken are spent."""
        left = self.plan.alternates
        return tuple(
            MovePlan(place, left[number + 1 :], self.tried) for number, place in enumerate(left)
        )

    def search(
        self, services: Services, race: Race
    ) -> tuple[tuple[MovePlan, ...], Explanation | None]:
        """Look for places where the move has not been, and explain why if there is none."""
        assert self.record.search is not None
        search = PlaceSearch.of(self.record.search).avoiding(self.tried)
        hold = read_consumer(services.store, self.record.hold)
        kept: Resources = {} if hold is None else resources_of(hold)
        random = services.new_random()
        seen = seen_by_mover(race.look(), mover=resources_of(self.mover), hold=kept)
        found = find_places(seen, search, race.ways_max, random)
        if not found:
            return (), explain(seen, search.request)
        return tuple(
            MovePlan(placing_of(one), find_further_places(seen, search, one, random), self.tried)
            for one in found
        ), None

    def offer(self, plans: tuple[MovePlan, ...], origin: Origin) -> ClaimRequest:
        """These destinations as ways to serve one request of the claim queue."""
        ways = [(claim_of(self.mover, plan, self.record.consumer),) for plan in plans]
        order = Rescheduling(self.record.uuid, self.record.generation)
        return ClaimRequest(ways[0], origin, tuple(ways[1:]), move=MoveClaim(order, tuple(plans)))
