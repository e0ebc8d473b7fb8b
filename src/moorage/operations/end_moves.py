"""End the open moves of consumers whose allocations are about to be mended."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from moorage.domain.ids import Generation
from moorage.domain.ledger import MoveChange, Slot
from moorage.domain.move import Move, MoveState
from moorage.domain.origin import Origin
from moorage.operations.move_entries import Readable, move_entries
from moorage.store.holdings import load_consumers
from moorage.store.journal import write_journal
from moorage.store.mend import load_totals, move_totals
from moorage.store.moves import MoveRow, load_moves_of, write_moves
from moorage.store.transaction import Transaction


def end_moves(
    tx: Transaction, consumers: Collection[str], *, readable: Readable, origin: Origin
) -> None:
    """Let nothing that these consumers hold be credited any more.

    Who mends a consumer knows better than its move what it should hold. What is left of the two
    consumers of the move counts in full from here on.

    Raises:
        StaleView: another transaction changed one of the consumers meanwhile.
    """
    moves = load_moves_of(tx, consumers)
    if not moves:
        return
    holds = load_consumers(tx, {move.hold for move in moves}).by_uuid
    changes = [MoveChange(move, ended(move), holds.get(move.hold)) for move in moves]
    write_moves(tx, [MoveRow(change.before, change.after) for change in changes], at=origin.at)
    credited: Counter[Slot] = Counter()
    for move in moves:
        credited.update(move.credits)
    move_totals(tx, having_totals(tx, credited))
    write_journal(
        tx,
        [
            entry
            for change in changes
            for entry in move_entries(change, holds.get(change.after.hold), readable)
        ],
        origin,
    )


def ended(move: Move) -> Move:
    """An open move that is over, wherever it was."""
    return replace(
        move,
        state=MoveState.ABANDONED,
        generation=Generation(move.generation + 1),
        credited=False,
        credits={},
    )


def having_totals(tx: Transaction, moved: Mapping[Slot, int]) -> dict[Slot, int]:
    """Those that a running total can follow; an inventory may be gone."""
    totals = load_totals(tx, {slot[0] for slot in moved})
    return {slot: by for slot, by in moved.items() if slot in totals}
