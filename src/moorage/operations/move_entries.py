"""What the journal says of moves."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from moorage.domain.ledger import Consumer, MoveChange, Slot
from moorage.domain.move import Move, MoveState
from moorage.store.journal import CREDIT_KIND, MOVE_BEGIN_KIND, Entry

Readable = Callable[[Mapping[Slot, int]], dict[str, dict[str, int]]]
"""Amounts by slot as provider uuid -> class name -> units."""

_KINDS: Final = {
    MoveState.SWAPPED: "move.empty",
    MoveState.CLAIMED: "move.claim",
    MoveState.STARTED: "move.start",
    MoveState.CONFIRMED: "move.confirm",
    MoveState.REVERTED: "move.revert",
    MoveState.FAILED: "move.fail",
    MoveState.ABANDONED: "move.abandon",
}


def move_entries(change: MoveChange, hold: Consumer | None, readable: Readable) -> Iterator[Entry]:
    """The entries of a change of a move: how far it is now, and what is credited.

    Args:
        hold: the hold after the change.
    """
    before, after = change.before, change.after
    if before is None or (before.state, before.credited) != (after.state, after.credited):
        kind = MOVE_BEGIN_KIND if before is None else _KINDS[after.state]
        yield Entry(kind, after.uuid, (), _state(before), _state(after), after.uuid)
    credited_before = None if before is None else _credit(before, change.hold_before, readable)
    credited = _credit(after, hold, readable)
    if credited_before != credited:
        slots = {*after.credits, *(before.credits if before else ())}
        providers = tuple(sorted({slot[0] for slot in slots}))
        yield Entry(CREDIT_KIND, after.uuid, providers, credited_before, credited, after.uuid)


def _state(move: Move | None) -> dict[str, Any] | None:
    if move is None:
        return None
    return {
        "kind": move.kind.value,
        "state": move.state.value,
        "consumer": move.consumer,
        "hold": move.hold,
        "credited": move.credited,
    }


def _credit(move: Move, hold: Consumer | None, readable: Readable) -> dict[str, Any] | None:
    """What is taken off the usage of the hold's owner."""
    if not move.credits or hold is None:
        return None
    return {
        "resources": readable(move.credits),
        "project_id": hold.project_id,
        "user_id": hold.user_id,
        "consumer_type": hold.consumer_type,
        "is_credit": True,
    }
