"""Moves that a client orders: how they begin, and their steps, decided on a ledger.

What a consumer leaves is never asked for anew: its hold takes over the rows as they are, and so
does the consumer that goes back. So no step that gives up or goes back can be refused for want of
room, whatever has become of the source's inventories in the meantime.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from moorage.domain.claim import (
    Absentee,
    ConsumerChange,
    ConsumerClaim,
    check_classes,
    check_generation,
    check_inventories,
    check_providers,
    drop_hold,
    enter_claim,
    move_usage,
    providers_of,
    room_for,
    wish_of,
)
from moorage.domain.credit import credits_of
from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderId
from moorage.domain.ledger import Consumer, Ledger, MoveChange, Slot
from moorage.domain.move import (
    Guard,
    Move,
    MoveEvent,
    MoveKind,
    find_transition,
    state_after,
    steps_from,
)
from moorage.domain.refusals import (
    ConsumerHolds,
    ConsumerInMove,
    DestinationGone,
    MoveGenerationConflict,
    MoveIsObserved,
    NothingToMove,
    SourceGone,
    StepImpossible,
)

HOLD_TYPE: Final = "MIGRATION"
"""The consumer type of holds, as Nova names them."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A move that a client orders; its uuid is that of its hold too."""

    uuid: MoveUuid
    kind: MoveKind
    global_request_id: str | None
    at: datetime

    @property
    def hold(self) -> ConsumerUuid:
        """The consumer that keeps the source."""
        return ConsumerUuid(self.uuid)


@dataclass(frozen=True, slots=True)
class Rescheduling:
    """Another destination for a move, as of a generation of it."""

    uuid: MoveUuid
    generation: Generation


MoveOrder = Opening | Rescheduling
"""What a claim does to a move, besides claiming a destination."""


def decide_order(
    ledger: Ledger, order: MoveOrder, claim: ConsumerClaim, absentee: Absentee
) -> list[ConsumerChange]:
    """Decide the claim of a destination, and what it means to its move.

    Raises:
        Refusal: as ``decide_opening`` and ``decide_rescheduling`` do.
    """
    if isinstance(order, Opening):
        return decide_opening(ledger, order, claim, absentee)
    return decide_rescheduling(ledger, order, claim, absentee)


def decide_opening(
    ledger: Ledger, opening: Opening, claim: ConsumerClaim, absentee: Absentee
) -> list[ConsumerChange]:
    """Give the hold all that the consumer has, and the consumer what it claims.

    Raises:
        ConsumerInMove: the consumer is in an open move.
        ConsumerHolds: the hold is a consumer already, or one that was shelved holds something.
        NothingToMove: the consumer holds nothing.
        ConsumerGenerationConflict, UnknownAllocationProvider, UnknownResourceClass,
        InventoryMissing, UnitsViolated, CapacityExceeded: as with any claim.
    """
    consumer = ledger.consumers.get(claim.consumer)
    check_generation(consumer, claim)
    check_may_move(ledger, opening, claim.consumer)
    source = dict(ledger.held_by(claim.consumer))
    wanted = _destination(ledger, claim)
    move = Move(
        id=None,
        uuid=opening.uuid,
        state=state_after(None, MoveEvent.OPEN),
        consumer=claim.consumer,
        hold=opening.hold,
        global_request_id=opening.global_request_id,
        opened_at=opening.at,
        generation=Generation(1),
        credited=True,
        credits=credits_of(wanted, source, ledger.sharing),
        source=source,
        kind=opening.kind,
    )
    hold_before = ledger.consumers.get(opening.hold)
    opened = MoveChange(None, move, hold_before)
    # The source stays in use, by the hold: nothing is released.
    check_inventories(ledger, [claim], room_for(ledger, (), [opened], {}))
    changes = [enter_claim(ledger, claim, wanted, absentee)]
    if consumer is not None and source:
        move_usage(ledger, {}, {slot: n for slot, n in source.items() if slot in ledger.used})
        changes.append(_enter_hold(ledger, opening.hold, consumer))
    ledger.enter_move(opened)
    _bump(ledger, changes)
    return changes


def check_may_move(ledger: Ledger, opening: Opening, consumer: ConsumerUuid) -> None:
    """Refuse to move a consumer that is on the move, or has nothing to leave.

    Raises:
        ConsumerInMove, ConsumerHolds, NothingToMove
    """
    for one in (consumer, opening.hold):
        move = ledger.moves.get(one)
        if move is not None:
            raise ConsumerInMove(one, move.uuid)
    hold = ledger.consumers.get(opening.hold)
    if hold is not None and (hold.held or consumer == opening.hold):
        raise ConsumerHolds(hold.uuid, hold.generation)
    mover = ledger.consumers.get(consumer)
    if opening.kind.has_source:
        if mover is None or not mover.held:
            raise NothingToMove(consumer)
    elif mover is not None and mover.held:
        raise ConsumerHolds(mover.uuid, mover.generation)
    assert consumer != opening.hold  # a confirmation would drop what it arrived with


def _destination(ledger: Ledger, claim: ConsumerClaim) -> Mapping[Slot, int]:
    check_providers(ledger, claim)
    check_classes(ledger, [claim])
    return wish_of(ledger, claim).held


def _enter_hold(ledger: Ledger, hold: ConsumerUuid, mover: Consumer) -> ConsumerChange:
    """Let a hold have what its mover had before it claimed the destination."""
    before = ledger.consumers.get(hold)
    generation = Generation(1 if before is None else before.generation + 1)
    after = Consumer(
        id=None if before is None else before.id,
        uuid=hold,
        generation=generation,
        project_id=mover.project_id,
        user_id=mover.user_id,
        consumer_type=HOLD_TYPE,
        held=mover.held,
    )
    ledger.consumers[hold] = after
    return ConsumerChange(hold, before, after)


def decide_rescheduling(
    ledger: Ledger, order: Rescheduling, claim: ConsumerClaim, absentee: Absentee
) -> list[ConsumerChange]:
    """Claim another destination instead of the one that a move has.

    Raises:
        MoveGenerationConflict, StepImpossible: the move is not open, or not at this generation.
        UnknownAllocationProvider, UnknownResourceClass, InventoryMissing, UnitsViolated,
        CapacityExceeded: as with any claim.
    """
    move = ledger.moves.get(claim.consumer)
    if move is None or move.uuid != order.uuid:
        raise StepImpossible(order.uuid, MoveEvent.RESCHEDULE, "over")
    check_step(move, MoveEvent.RESCHEDULE, order.generation)
    wanted = _destination(ledger, claim)
    kept = ledger.held_by(move.hold)
    after = replace(
        advanced(move, MoveEvent.RESCHEDULE),
        credited=True,
        credits=credits_of(wanted, kept, _sharing(ledger, move)),
    )
    change = MoveChange(move, after, ledger.consumers.get(move.hold))
    room = room_for(ledger, [ledger.held_by(claim.consumer)], [change], {})
    check_inventories(ledger, [claim], room)
    changes = [enter_claim(ledger, claim, wanted, absentee)]
    ledger.enter_move(change)
    _bump(ledger, changes)
    return changes


def check_step(move: Move, step: MoveEvent, generation: Generation) -> None:
    """Refuse a step of a client that has not seen the move as it is, or that is not to be made now.

    Raises:
        MoveIsObserved, MoveGenerationConflict, StepImpossible
    """
    if not move.kind.is_ordered:
        raise MoveIsObserved(move.uuid)
    if generation != move.generation:
        raise MoveGenerationConflict(
            move.uuid, move.state.value, generation=move.generation, given=generation
        )
    if find_transition(move.state, step) is None:
        possible = tuple(event.value for event in steps_from(move.state))
        raise StepImpossible(move.uuid, step.value, move.state.value, possible)


def decide_step(
    ledger: Ledger, move: Move, step: MoveEvent, generation: Generation
) -> list[ConsumerChange]:
    """Decide a step that claims nothing new.

    Args:
        move: open, with both its consumers in the ledger.
    Raises:
        MoveIsObserved, MoveGenerationConflict, StepImpossible
        SourceGone, DestinationGone: a guard of the step does not hold.
    """
    check_step(move, step, generation)
    _check_guard(ledger, move, step)
    hold_before = ledger.consumers.get(move.hold)
    after = advanced(move, step)
    changes: list[ConsumerChange] = []
    if not after.state.is_open:
        after = replace(after, credited=False, credits={})
        if step not in (MoveEvent.CONFIRM, MoveEvent.CLEAN_UP):
            changes += _give_back(ledger, move)
        elif hold_before is not None:
            changes.append(drop_hold(ledger, move.hold))
    ledger.enter_move(MoveChange(move, after, hold_before))
    _bump(ledger, changes)
    return changes


def _check_guard(ledger: Ledger, move: Move, step: MoveEvent) -> None:
    row = find_transition(move.state, step)
    assert row is not None
    if row.guard is Guard.SOURCE_THERE and not _is_there(ledger, move.hold):
        raise SourceGone(move.uuid)
    if row.guard is Guard.DESTINATION_THERE and not (
        ledger.held_by(move.consumer) and _is_there(ledger, move.consumer)
    ):
        raise DestinationGone(move.uuid)


def _is_there(ledger: Ledger, consumer: ConsumerUuid) -> bool:
    return all(slot in ledger.used for slot in ledger.held_by(consumer))


def _give_back(ledger: Ledger, move: Move) -> list[ConsumerChange]:
    """Let the consumer have what its hold has, and the hold nothing."""
    mover, hold = ledger.consumers.get(move.consumer), ledger.consumers.get(move.hold)
    move_usage(ledger, {} if mover is None else mover.held, {})
    if hold is None:
        ledger.consumers.pop(move.consumer, None)
        return [ConsumerChange(move.consumer, mover, None)]
    if mover is None:
        # Another service has served for a time, and dropped what it held: no move knew.
        back = replace(hold, id=None, uuid=move.consumer, generation=Generation(1))
        back = replace(back, consumer_type=None)
    else:
        back = replace(mover, generation=Generation(mover.generation + 1), held=hold.held)
    ledger.consumers[move.consumer] = back
    del ledger.consumers[move.hold]
    return [
        ConsumerChange(move.hold, hold, None),
        ConsumerChange(move.consumer, mover, back),
    ]


def advanced(move: Move, step: MoveEvent) -> Move:
    """A move after a step, which its state allows."""
    return replace(
        move,
        state=state_after(move.state, step),
        generation=Generation(move.generation + 1),
    )


def _sharing(ledger: Ledger, move: Move) -> frozenset[ProviderId]:
    # What was credited once stays so, though the provider may have ceased to share.
    return ledger.sharing | {slot[0] for slot in move.credits}


def _bump(ledger: Ledger, changes: list[ConsumerChange]) -> None:
    """Raise the generations of the providers that a step touches, as claims do."""
    for provider in {one for change in changes for one in providers_of(change)} & ledger.known:
        ledger.bump(provider)
