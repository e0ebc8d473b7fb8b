"""The auditor's checks of moves that clients order: overdue ones, and what is left of those over.

An ordered move belongs to whoever ordered it until its deadline; before that nothing about it is
judged. Who has started one alone knows where its consumer is, so no remedy touches it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from moorage.domain.audited import AuditedMove, AuditRules
from moorage.domain.findings import (
    Confidence,
    Finding,
    HoldingsRemedy,
    Holds,
    Kind,
    MoveEnd,
    Owner,
)
from moorage.domain.ids import ConsumerUuid
from moorage.domain.ledger import Slot
from moorage.domain.move import Guard, MoveEvent, MoveState, find_transition
from moorage.domain.survey import SEVERITIES, Survey

_SAYS: Final = "its deadline is over, and it is still open"
_STARTED: Final = "somebody has started it, and only they know where its consumer is"
_SOURCE_GONE: Final = "a provider or an inventory of its source is gone, so it cannot go back"
_EVENTS: Final = {
    MoveState.CLAIMED: MoveEvent.DEADLINE,
    MoveState.SWAPPED: MoveEvent.CLEAN_UP,
}


def find_overdue_moves(survey: Survey, rules: AuditRules) -> Iterator[Finding]:
    """Moves past their deadlines; the remedy is what the runner does, where it does something."""
    for move in survey.open_moves:
        if move.deadline is not None and move.deadline <= rules.now:
            yield _overdue(survey, move)


def _overdue(survey: Survey, move: AuditedMove) -> Finding:
    kept = survey.held_by(move.hold)
    event = _EVENTS.get(move.state)
    why_not = _STARTED
    remedy: HoldingsRemedy | None = None
    if event is not None:
        row = find_transition(move.state, event)
        assert row is not None
        if row.guard is Guard.SOURCE_THERE and not all(survey.stocked(slot) for slot in kept):
            why_not = _SOURCE_GONE
        else:
            end = MoveEnd(move.uuid, move.generation, event, move.state, row.after)
            remedy = HoldingsRemedy(tuple(_back(survey, move, event, kept)), end)
    assert move.deadline is not None
    return Finding(
        Kind.MOVE_OVERDUE,
        move.uuid,
        Confidence.CERTAIN,
        SEVERITIES[Kind.MOVE_OVERDUE],
        _SAYS,
        evidence={
            "kind": move.kind,
            "state": move.state,
            "deadline": f"{move.deadline.isoformat()}Z",
            "consumer": move.consumer,
            "held": survey.readable(survey.held_by(move.consumer)),
            "held_by_hold": survey.readable(kept),
            **({} if remedy else {"no_remedy_because": why_not}),
        },
        remedy=remedy,
        diff=survey.diff(remedy.holds if remedy else (), remedy.end if remedy else None),
        consumers=(move.consumer, move.hold),
    )


def _back(
    survey: Survey, move: AuditedMove, event: MoveEvent, kept: Mapping[Slot, int]
) -> Iterator[Holds]:
    """What both consumers hold once a move has gone back, or was cleaned up."""
    hold, mover = survey.position(move.hold), survey.position(move.consumer)
    if hold is not None:
        yield survey.holds(hold, {})
    if event is not MoveEvent.DEADLINE:
        return
    if mover is not None:
        yield survey.holds(mover, kept)
    elif hold is not None:
        keeper = survey.books.consumers[hold]
        owner = Owner(keeper.project_id, keeper.user_id)
        yield Holds(ConsumerUuid(move.consumer), kept, None, owner)
