"""Claims: what consumers ask to hold, and whether they may."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from moorage.domain.ids import ConsumerUuid, Generation, ProviderId, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Consumer, Ledger, MoveChange, ProviderStock, Slot
from moorage.domain.move import Move, MoveState, Observer
from moorage.domain.observe import Wish, decide_moves
from moorage.domain.refusals import (
    CapacityExceeded,
    ConsumerGenerationConflict,
    ConsumerNamedTwice,
    InventoryMissing,
    UnitsViolated,
    UnknownAllocationProvider,
    UnknownResourceClass,
)


@dataclass(frozen=True, slots=True)
class ConsumerClaim:
    """One consumer's request to hold exactly these resources from now on.

    ``resources``: provider uuid -> class name -> units (at least 1); empty: hold nothing.
    ``checks_generation``: the client stated the generation it read (since 1.28), where None
    states that the consumer does not exist. ``project_id`` is None where the client's microversion
    cannot say it (before 1.8), ``consumer_type`` None where it cannot say that (before 1.38).
    """

    consumer: ConsumerUuid
    resources: Mapping[ProviderUuid, Mapping[str, int]]
    project_id: str | None
    user_id: str | None
    checks_generation: bool
    generation: int | None
    consumer_type: str | None


@dataclass(frozen=True, slots=True)
class Absentee:
    """Whom a consumer belongs to when the client cannot say it."""

    project_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class ConsumerChange:
    """The change of one consumer that an accepted claim makes; None: it did or does not exist."""

    consumer: ConsumerUuid
    before: Consumer | None
    after: Consumer | None


def decide_claims(
    ledger: Ledger,
    claims: Sequence[ConsumerClaim],
    absentee: Absentee,
    observer: Observer | None = None,
) -> list[ConsumerChange]:
    """Decide the claims of one request, which all hold or none.

    The ledger takes the effects only where nothing is refused.

    Args:
        observer: whoever looks for moves that begin or are claimed for; None: nobody does. Moves
            that are open are followed in any case.
    Raises:
        ConsumerNamedTwice, ConsumerGenerationConflict, UnknownAllocationProvider,
        UnknownResourceClass, InventoryMissing, UnitsViolated, CapacityExceeded: in this precedence.
    """
    check_spellings(ledger, claims)
    for claim in claims:
        check_generation(ledger.consumers.get(claim.consumer), claim)
    for claim in claims:
        check_providers(ledger, claim)
    check_classes(ledger, claims)
    wishes = [wish_of(ledger, claim) for claim in claims]
    moves = decide_moves(ledger, wishes, observer) if ledger.moves or len(claims) > 1 else []
    left = find_left_holds(ledger, moves, {claim.consumer for claim in claims})
    released = [ledger.held_by(consumer) for consumer in (*(c.consumer for c in claims), *left)]
    after = {wish.consumer: wish.held for wish in wishes} | {hold: {} for hold in left}
    check_inventories(ledger, claims, room_for(ledger, released, moves, after))
    changes = [
        enter_claim(ledger, claim, wish.held, absentee)
        for claim, wish in zip(claims, wishes, strict=True)
    ]
    changes += [drop_hold(ledger, hold) for hold in left]
    for move in moves:
        ledger.enter_move(move)
    # What is left behind may outlive its provider: the auditor's case.
    for provider_id in {one for change in changes for one in providers_of(change)} & ledger.known:
        ledger.bump(provider_id)
    return changes


def find_left_holds(
    ledger: Ledger, moves: Sequence[MoveChange], claimed_for: Collection[ConsumerUuid]
) -> list[ConsumerUuid]:
    """The holds that these changes leave without a move, though nobody but the move knew of them.

    Whoever moves a consumer anew, through the API of allocations, takes it to be where its
    allocations are. The hold of an observed move is a consumer of a client's, which drops it. That
    of an ordered one is the move's own, and ends with it.
    """
    return [
        move.after.hold
        for move in moves
        if move.after.kind.is_ordered
        and move.after.state is MoveState.ABANDONED
        and ledger.held_by(move.after.hold)
        and move.after.hold not in claimed_for
    ]


def drop_hold(ledger: Ledger, hold: ConsumerUuid) -> ConsumerChange:
    """Let a hold, which holds something, hold nothing any more."""
    before = ledger.consumers.pop(hold)
    move_usage(ledger, before.held, {})
    return ConsumerChange(hold, before, None)


def decide_release(ledger: Ledger, consumer: ConsumerUuid) -> ConsumerChange | None:
    """Drop all that a consumer holds, None where that is nothing; generations of providers stay."""
    before = ledger.consumers.get(consumer)
    if before is None or not before.held:
        return None
    moves = decide_moves(ledger, [Wish(consumer, {})], None)
    move_usage(ledger, before.held, {})
    del ledger.consumers[consumer]
    for move in moves:
        ledger.enter_move(move)
    return ConsumerChange(consumer, before, None)


def check_spellings(ledger: Ledger, claims: Sequence[ConsumerClaim]) -> None:
    """Refuse claims of one request of which two are for one consumer, as the database sees it.

    Raises:
        ConsumerNamedTwice
    """
    if not ledger.case_blind:
        return
    spelled: dict[str, ConsumerUuid] = {}
    for claim in claims:
        other = spelled.setdefault(claim.consumer.lower(), claim.consumer)
        if other != claim.consumer:
            raise ConsumerNamedTwice(other, claim.consumer)


def check_generation(consumer: Consumer | None, claim: ConsumerClaim) -> None:
    """Refuse a claim that was made from an outdated view of its consumer.

    A stored consumer that holds nothing (older services left such rows behind) may also be
    claimed for as if it did not exist: no client can know its generation.

    Raises:
        ConsumerGenerationConflict: the generation stated is not the consumer's.
    """
    if not claim.checks_generation:
        return
    expected = None if consumer is None else consumer.generation
    if claim.generation == expected:
        return
    if consumer is not None and not consumer.held and claim.generation is None:
        return
    raise ConsumerGenerationConflict(claim.consumer, expected, claim.generation)


def check_providers(ledger: Ledger, claim: ConsumerClaim) -> None:
    """Refuse a claim that names a provider nobody knows.

    Raises:
        UnknownAllocationProvider
    """
    for provider in claim.resources:
        if provider not in ledger.providers:
            raise UnknownAllocationProvider(provider)


def check_classes(ledger: Ledger, claims: Sequence[ConsumerClaim]) -> None:
    """Refuse claims that name a class that does not exist.

    Raises:
        UnknownResourceClass
    """
    for claim in claims:
        for resources in claim.resources.values():
            for name in resources:
                if name not in ledger.known_classes:
                    raise UnknownResourceClass(name)


def wish_of(ledger: Ledger, claim: ConsumerClaim) -> Wish:
    """A claim by slots; what has no inventory is left out, for it is going to be refused."""
    held: dict[Slot, int] = {}
    for provider, resources in claim.resources.items():
        stock = ledger.providers[provider]
        for name, amount in resources.items():
            if name in stock.class_ids:
                held[(stock.id, stock.class_ids[name])] = amount
    return Wish(claim.consumer, held, (claim.project_id, claim.user_id))


@dataclass(frozen=True, slots=True)
class Room:
    """What is in use of each slot, seen from one request of the many that share a ledger.

    ``released``: what the request gives up; ``ended``: the credits that it ends by taking nothing.
    """

    used: Mapping[Slot, int]
    released: Counter[Slot]
    ended: Counter[Slot]

    def others(self, slot: Slot) -> int:
        """Units in use once the request's old holdings are released."""
        return self.used[slot] - self.released[slot]

    def before(self, slot: Slot) -> int:
        """Units in use before the request."""
        return self.used[slot] + self.ended[slot]


def room_for(
    ledger: Ledger,
    holdings: Iterable[Mapping[Slot, int]],
    moves: Sequence[MoveChange],
    after: Mapping[ConsumerUuid, Mapping[Slot, int]],
) -> Room:
    """The room for a request that releases these holdings and does this to moves.

    Args:
        after: what the consumers that change hold then.
    """
    released: Counter[Slot] = Counter()
    for held in holdings:
        released.update(held)
    if moves:
        # What the claims ask for is added whole, so credits are taken off where the rest is.
        released.update(_credits(move.after.credits for move in moves))
        released.subtract(_credits(move.before.credits for move in moves if move.before))
    # Who gives all to another hold takes nothing, though credits of the former hold end. But that
    # is so only as far as the former hold stays: what it gives up is still in use by the consumer.
    ended = _credits(
        _still_held(move.before, after.get(move.before.hold, ledger.held_by(move.before.hold)))
        for move in moves
        if move.before and move.after.state is MoveState.ABANDONED
    )
    return Room(ledger.used, released, ended)


def _still_held(move: Move, held: Mapping[Slot, int]) -> Mapping[Slot, int]:
    """The part of a move's credits that its hold goes on holding."""
    return {slot: min(amount, held.get(slot, 0)) for slot, amount in move.credits.items()}


def _credits(moves: Iterable[Mapping[Slot, int]]) -> Counter[Slot]:
    total: Counter[Slot] = Counter()
    for credited in moves:
        total.update(credited)
    return total


def check_inventories(ledger: Ledger, claims: Sequence[ConsumerClaim], room: Room) -> None:
    """Refuse claims for which there is no room, all of them together.

    Raises:
        InventoryMissing, UnitsViolated, CapacityExceeded
    """
    _check_some_inventory(ledger, claims)
    asked: Counter[Slot] = Counter()
    for claim in claims:
        for provider, resources in claim.resources.items():
            stock = ledger.providers[provider]
            for name, amount in resources.items():
                inventory = stock.inventories.get(name)
                if inventory is None:
                    raise InventoryMissing(provider, (name,))
                check_units(inventory, provider=provider, resource_class=name, amount=amount)
                slot = (stock.id, stock.class_ids[name])
                check_fits(
                    inventory,
                    provider=provider,
                    resource_class=name,
                    used_by_others=room.others(slot) + asked[slot],
                    used_before=room.before(slot),
                    amount=amount,
                )
                asked[slot] += amount


def _check_some_inventory(ledger: Ledger, claims: Sequence[ConsumerClaim]) -> None:
    """Refuse providers that have none of the classes asked for, all of them at once."""
    names: dict[str, None] = {}
    providers: dict[ProviderUuid, ProviderStock] = {}
    for claim in claims:
        for provider, resources in claim.resources.items():
            providers[provider] = ledger.providers[provider]
            names.update(dict.fromkeys(resources))
    bare = [uuid for uuid, stock in providers.items() if not (stock.inventories.keys() & names)]
    if bare:
        raise InventoryMissing(", ".join(bare), tuple(names))


def check_units(
    inventory: Inventory, *, provider: ProviderUuid, resource_class: str, amount: int
) -> None:
    """Refuse an amount that is not a portion the inventory gives out.

    Raises:
        UnitsViolated: less than min_unit, more than max_unit, or no multiple of step_size.
    """
    if inventory.min_unit <= amount <= inventory.max_unit and amount % inventory.step_size == 0:
        return
    raise UnitsViolated(provider, resource_class, amount)


def check_fits(
    inventory: Inventory,
    *,
    provider: ProviderUuid,
    resource_class: str,
    used_by_others: int,
    used_before: int,
    amount: int,
) -> None:
    """Refuse an amount that the inventory cannot hold beside its other consumers.

    Args:
        used_by_others: units held once this request's old holdings are released.
        used_before: units held by everyone before this request.
        amount: whole units of the class (MEMORY_MB is MiB), at least 1.
    Raises:
        CapacityExceeded: the claim would overfill the inventory, or overfill it further.
    """
    used_after = used_by_others + amount
    if used_after <= inventory.capacity:
        return
    # An over-full provider may shrink or stay level; otherwise nobody could ever drain it.
    if used_after <= used_before:
        return
    raise CapacityExceeded(provider, resource_class, inventory.capacity, used_by_others, amount)


def enter_claim(
    ledger: Ledger, claim: ConsumerClaim, held: Mapping[Slot, int], absentee: Absentee
) -> ConsumerChange:
    """Enter an accepted claim into the ledger."""
    before = ledger.consumers.get(claim.consumer)
    after = _after(before, claim, held, absentee) if held else None
    move_usage(ledger, {} if before is None else before.held, held)
    if after is None:
        ledger.consumers.pop(claim.consumer, None)
    else:
        ledger.consumers[claim.consumer] = after
    return ConsumerChange(claim.consumer, before, after)


def _after(
    before: Consumer | None, claim: ConsumerClaim, held: Mapping[Slot, int], absentee: Absentee
) -> Consumer:
    project_id = absentee.project_id if claim.project_id is None else claim.project_id
    user_id = absentee.user_id if claim.user_id is None else claim.user_id
    if before is None:
        return Consumer(
            None, claim.consumer, Generation(1), project_id, user_id, claim.consumer_type, held
        )
    return replace(
        before,
        generation=Generation(before.generation + 1),
        project_id=project_id,
        user_id=user_id,
        consumer_type=claim.consumer_type or before.consumer_type,
        held=held,
    )


def move_usage(ledger: Ledger, before: Mapping[Slot, int], after: Mapping[Slot, int]) -> None:
    """Take a consumer's holdings from what is used, and add those that it has instead."""
    for slot, amount in before.items():
        if slot in ledger.used:  # an allocation may have outlived its inventory: the auditor's case
            ledger.used[slot] -= amount
    for slot, amount in after.items():
        ledger.used[slot] += amount


def providers_of(change: ConsumerChange) -> set[ProviderId]:
    """The providers whose generation grows: those claimed from or, where none are, those left."""
    state = change.after or change.before
    return set() if state is None else {provider for provider, _ in state.held}
