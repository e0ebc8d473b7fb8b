"""What a change of allocations means for moves: those that are open, and those that it begins."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from moorage.domain.credit import credits_of
from moorage.domain.ids import ConsumerUuid, Generation
from moorage.domain.ledger import Ledger, MoveChange, Slot
from moorage.domain.move import Move, MoveEvent, Observer, state_after


@dataclass(frozen=True, slots=True)
class Wish:
    """What a consumer shall hold from now on, and whose it is; the owner None as it was."""

    consumer: ConsumerUuid
    held: Mapping[Slot, int]
    owner: tuple[str | None, str | None] = (None, None)


def decide_moves(
    ledger: Ledger, wishes: Sequence[Wish], observer: Observer | None
) -> list[MoveChange]:
    """What the wishes of one request do to moves.

    Args:
        observer: None where no move may begin or be claimed for.
    """
    swaps = dict(find_swaps(ledger, wishes)) if observer and observer.rules.observe else {}
    after = {wish.consumer: wish.held for wish in wishes}
    touched = {
        move.uuid: move
        for move in (ledger.moves.get(consumer) for consumer in after)
        if move is not None
    }
    changes = [
        MoveChange(
            move,
            follow_move(ledger, move, after, observer, is_swapped=move.consumer in swaps),
            ledger.consumers.get(move.hold),
        )
        for move in touched.values()
    ]
    if observer is not None:
        for consumer, hold in swaps.items():
            opened = open_move(ledger, consumer, hold, observer)
            changes.append(MoveChange(None, opened, ledger.consumers.get(hold)))
    return changes


def follow_move(
    ledger: Ledger,
    move: Move,
    after: Mapping[ConsumerUuid, Mapping[Slot, int]],
    observer: Observer | None,
    *,
    is_swapped: bool,
) -> Move:
    """An open move once some consumers hold something else.

    Args:
        after: what the consumers that change hold then.
        is_swapped: the move's consumer gives all that it holds to another hold.
    """
    had = ledger.held_by(move.consumer)
    holding = after.get(move.consumer, had)
    kept = after.get(move.hold, ledger.held_by(move.hold))
    state = move.state
    for event in events_of(ledger, move, after, is_swapped=is_swapped):
        state = state_after(state, event)
    belongs = (move.consumer in after and observer is not None and observer.claims_for(move)) or (
        move.credited and bool(had)
    )
    credited = state.has_destination and belongs
    # What was credited once stays so, though the provider may have ceased to share.
    sharing = ledger.sharing | {slot[0] for slot in move.credits}
    return replace(
        move,
        state=state,
        generation=Generation(move.generation + 1),
        credited=credited,
        credits=credits_of(holding, kept, sharing) if credited else {},
    )


def events_of(
    ledger: Ledger,
    move: Move,
    after: Mapping[ConsumerUuid, Mapping[Slot, int]],
    *,
    is_swapped: bool,
) -> Iterator[MoveEvent]:
    """What the changes mean to an open move, in the words of its table."""
    kept_before = ledger.held_by(move.hold)
    if is_swapped:
        yield MoveEvent.SWAP_AGAIN
        return
    is_dropped = not after.get(move.hold, kept_before)
    if move.consumer in after:
        if is_dropped and after[move.consumer] == kept_before:
            yield MoveEvent.GIVE_BACK
            return
        if after[move.consumer]:
            yield MoveEvent.CLAIM
        elif move.state.has_destination:
            yield MoveEvent.EMPTY
    # The hold of a move that comes from nowhere never had anything to drop.
    if is_dropped and kept_before:
        yield MoveEvent.DROP_HOLD


def find_swaps(
    ledger: Ledger, wishes: Sequence[Wish]
) -> Iterator[tuple[ConsumerUuid, ConsumerUuid]]:
    """Pairs of a consumer that gives up all it holds, and a new one that is given exactly that.

    A hold that gives back is no consumer that begins to move, nor is a consumer in a move new.
    """
    takers: dict[object, list[ConsumerUuid]] = {}
    for wish in wishes:
        if wish.held and not is_known(ledger, wish.consumer):
            takers.setdefault((wish.owner, frozenset(wish.held.items())), []).append(wish.consumer)
    for wish in wishes if takers else ():
        before = ledger.consumers.get(wish.consumer)
        if wish.held or before is None or not before.held or is_hold(ledger, wish.consumer):
            continue
        owner = (before.project_id, before.user_id)
        found = takers.get((owner, frozenset(before.held.items())))
        if found:
            yield wish.consumer, found.pop(0)


def is_known(ledger: Ledger, consumer: ConsumerUuid) -> bool:
    """Whether a consumer holds something, or is in a move."""
    return bool(ledger.held_by(consumer)) or consumer in ledger.moves


def is_hold(ledger: Ledger, consumer: ConsumerUuid) -> bool:
    """Whether a consumer is the hold of an open move."""
    move = ledger.moves.get(consumer)
    return move is not None and move.hold == consumer


def open_move(
    ledger: Ledger, consumer: ConsumerUuid, hold: ConsumerUuid, observer: Observer
) -> Move:
    """The move that a swap begins."""
    return Move(
        id=None,
        uuid=observer.new_uuid(),
        state=state_after(None, MoveEvent.SWAP),
        consumer=consumer,
        hold=hold,
        global_request_id=observer.global_request_id,
        opened_at=observer.at,
        generation=Generation(1),
        source=dict(ledger.held_by(consumer)),
    )
