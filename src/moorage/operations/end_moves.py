"""End the open moves of consumers whose allocations are about to be mended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from moorage.domain.findings import MoveEnd
from moorage.domain.ledger import MoveChange, Slot
from moorage.domain.mending import healed_generation
from moorage.domain.move import Move, MoveEvent, MoveState
from moorage.domain.move_record import MoveOutcome, Reason
from moorage.domain.origin import Origin
from moorage.operations.move_entries import Readable, move_entries
from moorage.store.dialects import StaleView
from moorage.store.holdings import load_consumers
from moorage.store.journal import Entry, write_journal
from moorage.store.mend import load_totals, move_totals
from moorage.store.move_records import write_step
from moorage.store.moves import MoveRow, write_moves
from moorage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class EndedMoves:
    """What the journal says of moves that have ended.

    ``freed``: units that were credited and count in full from now on, by slot.
    """

    entries: Sequence[Entry] = ()
    freed: Mapping[Slot, int] = field(default_factory=dict)


def end_moves(
    tx: Transaction,
    moves: Sequence[Move],
    *,
    end: MoveEnd | None,
    number: int,
    readable: Readable,
    origin: Origin,
) -> EndedMoves:
    """End open moves, and let nothing that their consumers hold be credited any more.

    Who mends a consumer knows better than its move what it should hold. What is left of the two
    consumers of the move counts in full from here on.

    Args:
        end: how the move of the finding ends; any other is abandoned.
        number: of the undo record.
    Raises:
        StaleView: another transaction changed one of the consumers meanwhile.
    """
    if end is not None and (end.uuid, end.generation) not in {
        (move.uuid, move.generation) for move in moves
    }:
        raise StaleView  # it has taken a step since it was looked at
    if not moves:
        return EndedMoves()
    holds = load_consumers(tx, {move.hold for move in moves}).by_uuid
    changes = [MoveChange(move, ended(move, end, number), holds.get(move.hold)) for move in moves]
    write_moves(tx, [MoveRow(change.before, change.after) for change in changes], at=origin.at)
    _write_step(tx, changes, end)
    credited: Counter[Slot] = Counter()
    for move in moves:
        credited.update(move.credits)
    freed = having_totals(tx, credited)
    move_totals(tx, freed)
    entries = [
        entry
        for change in changes
        for entry in move_entries(change, holds.get(change.after.hold), readable)
    ]
    write_journal(tx, entries, origin)
    return EndedMoves(entries, freed)


def ended(move: Move, end: MoveEnd | None, number: int) -> Move:
    """An open move that is over, wherever it was."""
    is_meant = end is not None and end.uuid == move.uuid
    return replace(
        move,
        state=end.after if end is not None and is_meant else MoveState.ABANDONED,
        generation=healed_generation(move.generation, number),
        credited=False,
        credits={},
    )


def _write_step(tx: Transaction, changes: Sequence[MoveChange], end: MoveEnd | None) -> None:
    """Note how a move that was ordered ended."""
    for move in (change.after for change in changes):
        if end is not None and end.uuid == move.uuid:
            is_late = end.event is MoveEvent.DEADLINE
            outcome = MoveOutcome(Reason.OVERDUE if is_late else Reason.CONSUMER_DELETED)
            write_step(tx, move.uuid, step=end.event, generation=move.generation, outcome=outcome)


def having_totals(tx: Transaction, moved: Mapping[Slot, int]) -> dict[Slot, int]:
    """Those that a running total can follow; an inventory may be gone."""
    totals = load_totals(tx, {slot[0] for slot in moved})
    return {slot: by for slot, by in moved.items() if slot in totals}
