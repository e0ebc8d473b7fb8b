"""Order a move: give the source to a hold, find a destination and claim it, in one transaction."""

from dataclasses import dataclass, replace
from datetime import timedelta

from moorage.candidates.explain import explain
from moorage.candidates.snapshot import Snapshot
from moorage.domain.claim import ConsumerClaim
from moorage.domain.consumer import ConsumerAllocations
from moorage.domain.ids import ConsumerUuid, MoveUuid
from moorage.domain.made_claim import Resources
from moorage.domain.move import MoveKind
from moorage.domain.move_record import MovePlan, MoveRecord
from moorage.domain.move_steps import Opening
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    ConsumerGenerationConflict,
    ConsumerHolds,
    ConsumerInMove,
    MoveExists,
    NothingFits,
    NothingToMove,
)
from moorage.operations.claim_queue import ClaimRequest, MoveClaim
from moorage.operations.make_claims import Claimant
from moorage.operations.move_places import (
    PlaceSearch,
    find_further_places,
    find_places,
    placing_of,
    same_resources,
    seen_by_mover,
)
from moorage.operations.race import NO_ROOM, Race
from moorage.operations.services import Services
from moorage.store.holdings import read_consumer
from moorage.store.move_records import read_move, read_open_move


@dataclass(frozen=True, slots=True)
class MoveOrdering:
    """A move as a client orders it.

    ``search``: what destinations are looked for by; ``same_resources``: its request says only where
    to look, and the resources are those that the consumer holds. ``consumer_generation``: as the
    client has seen it; None: it does not matter. ``owner``: whose a consumer is that holds nothing;
    None for those that hold something. ``deadline_s``: seconds after which the move is overdue;
    None: it never is. ``digest`` is equal for equal orders.
    """

    uuid: MoveUuid
    kind: MoveKind
    consumer: ConsumerUuid
    consumer_generation: int | None
    owner: Claimant | None
    search: PlaceSearch
    same_resources: bool
    deadline_s: int | None
    digest: str


@dataclass(frozen=True, slots=True)
class MoveMade:
    """A move after a request; ``repeated``: an earlier request like this one had done it."""

    move: MoveRecord
    repeated: bool


def open_move(services: Services, ordering: MoveOrdering, origin: Origin) -> MoveMade:
    """Open a move: from then on the hold has the source, and the consumer a destination.

    Each round searches the newest snapshot and offers what it finds to one transaction, as claims
    do. An order that is sent again is told the move as it is by now.

    Raises:
        MoveExists: another order has this uuid.
        NothingFits: no destination is found.
        NothingToMove, ConsumerHolds: the consumer holds nothing, or something, as it must not.
        ConsumerInMove: it is in a move that is open.
        ConsumerGenerationConflict: it is not as the client has seen it.
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
        StoreUnavailable: others were faster all the time.
    """
    race = Race(services.keeper)
    known = find_known(services, ordering)
    while known is None:
        snapshot = race.look()
        try:
            offer = _look(services, ordering, origin, snapshot, race.ways_max)
            services.claims.submit(offer)
        except NO_ROOM as refusal:
            race.lose(refusal)
        except ConsumerGenerationConflict as conflict:
            known = find_known(services, ordering)
            if known is None and ordering.consumer_generation is not None:
                raise
            if known is None:
                race.find_hidden(conflict)
        except (NothingFits, NothingToMove, ConsumerHolds, ConsumerInMove, MoveExists):
            # Perhaps because the same order has just been served.
            known = find_known(services, ordering)
            if known is None:
                _check_unmoved(services, ordering.consumer)
                raise
        else:
            made = read_move(services.store, ordering.uuid)
            assert made is not None
            return MoveMade(made, repeated=False)
        race.check_time()
    return MoveMade(known, repeated=True)


def _check_unmoved(services: Services, consumer: ConsumerUuid) -> None:
    """Refuse a consumer that is on the move: that says more than that nothing fits it.

    Raises:
        ConsumerInMove
    """
    other = read_open_move(services.store, consumer)
    if other is not None:
        raise ConsumerInMove(consumer, other.uuid)


def find_known(services: Services, ordering: MoveOrdering) -> MoveRecord | None:
    """The move that this order has made, None if it has not been served.

    Raises:
        MoveExists: another order has.
    """
    found = read_move(services.store, ordering.uuid)
    if found is not None and found.digest != ordering.digest:
        raise MoveExists(ordering.uuid)
    return found


def _look(
    services: Services, ordering: MoveOrdering, origin: Origin, snapshot: Snapshot, ways_max: int
) -> ClaimRequest:
    """Look for destinations, and offer those that are found."""
    mover = read_consumer(services.store, ordering.consumer)
    _check_mover(ordering, mover)
    held = {} if mover is None else resources_of(mover)
    search = _search_of(ordering, held)
    random = services.new_random()
    seen = seen_by_mover(snapshot, mover={}, hold=held)
    found = find_places(seen, search, ways_max, random)
    if not found:
        raise NothingFits(ordering.consumer, explain(seen, search.request), gave_up=False)
    plans = tuple(
        MovePlan(placing_of(one), find_further_places(seen, search, one, random)) for one in found
    )
    return _offer(ordering, origin, mover, search, plans)


def _check_mover(ordering: MoveOrdering, mover: ConsumerAllocations | None) -> None:
    generation = None if mover is None else mover.generation
    if ordering.consumer_generation not in (None, generation):
        raise ConsumerGenerationConflict(
            ordering.consumer, generation, ordering.consumer_generation
        )
    if mover is None and ordering.kind.has_source:
        raise NothingToMove(ordering.consumer)
    if mover is not None and not ordering.kind.has_source:
        raise ConsumerHolds(mover.consumer, mover.generation)


def _search_of(ordering: MoveOrdering, held: Resources) -> PlaceSearch:
    search = ordering.search
    if ordering.same_resources:
        groups = same_resources(held).groups
        search = replace(search, request=replace(search.request, groups=groups))
    return search if ordering.kind.may_stay else search.avoiding(held)


def _offer(
    ordering: MoveOrdering,
    origin: Origin,
    mover: ConsumerAllocations | None,
    search: PlaceSearch,
    plans: tuple[MovePlan, ...],
) -> ClaimRequest:
    """These destinations as ways to serve one request of the claim queue."""
    ways = [(claim_of(mover or ordering.owner, plan, ordering.consumer),) for plan in plans]
    due = None
    if ordering.deadline_s is not None:
        due = origin.at + timedelta(seconds=ordering.deadline_s)
    order = Opening(ordering.uuid, ordering.kind, origin.global_request_id, origin.at)
    move = MoveClaim(order, plans, ordering.digest, search.told(), due)
    return ClaimRequest(ways[0], origin, tuple(ways[1:]), move=move)


def claim_of(
    owner: ConsumerAllocations | Claimant | None, plan: MovePlan, consumer: ConsumerUuid
) -> ConsumerClaim:
    """A move's consumer claims the destination of a plan, as it has been seen."""
    assert owner is not None
    return ConsumerClaim(
        consumer,
        plan.destination.allocations,
        owner.project_id,
        owner.user_id,
        checks_generation=True,
        generation=owner.generation if isinstance(owner, ConsumerAllocations) else None,
        consumer_type=owner.consumer_type,
    )


def resources_of(held: ConsumerAllocations) -> Resources:
    """What a consumer holds, without the generations of its providers."""
    return {uuid: amounts for uuid, (_, amounts) in held.resources.items()}
