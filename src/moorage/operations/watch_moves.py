"""What happens to moves by the clock: overdue ones go back or are told, left holds are dropped."""

from typing import Final

from moorage.domain.move import MoveEvent, MoveState
from moorage.domain.move_record import MoveOutcome, MoveRecord, Reason
from moorage.domain.origin import Origin
from moorage.domain.refusals import MoveGenerationConflict, SourceGone, StepImpossible
from moorage.operations.advance_move import Stepping, advance_move
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.move_records import load_move, read_due_moves, read_left_moves, write_told
from moorage.store.transaction import Transaction
from moorage.telemetry.alerts import alert

MOVES_AT_ONCE_MAX: Final = 100
"""Moves that one look takes."""

OVERDUE_KIND: Final = "move.overdue"
"""The journal's name for a deadline that is over."""


def end_overdue_moves(services: Services, origin: Origin) -> int:
    """See to some moves whose deadline is over by now; how many, 0 once there are none left.

    One that nobody has started goes back. For one that was started nobody can know whether its
    consumer is here or there: it stays as it is. Both are told to an operator before the books
    say that they were: at least once, whenever a runner dies.
    """
    due = read_due_moves(services.store, at=origin.at, most=MOVES_AT_ONCE_MAX)
    for record in due:
        _see_to(services, record, origin)
    return len(due)


def _see_to(services: Services, record: MoveRecord, origin: Origin) -> None:
    if record.state is MoveState.CLAIMED:
        stepping = Stepping(
            record.uuid,
            MoveEvent.DEADLINE,
            record.generation,
            outcome=MoveOutcome(Reason.OVERDUE),
        )
        try:
            advance_move(
                services, stepping, origin, announce=lambda state: _alert(record.uuid, state)
            )
        except (MoveGenerationConflict, StepImpossible):
            return  # it is looked at again in the next turn, as it is then
        except SourceGone:
            pass
        else:
            return
    _tell(services, record, origin)


def _tell(services: Services, record: MoveRecord, origin: Origin) -> None:
    """Tell that a move is overdue, and leave it as it is."""

    def attempt(tx: Transaction) -> None:
        found = load_move(tx, record.uuid)
        if found is None or found.due_at is None:
            return
        write_told(tx, found.uuid)
        facts = {"state": found.state.value, "deadline": f"{found.due_at.isoformat()}Z"}
        write_journal(tx, [Entry(OVERDUE_KIND, found.uuid, (), None, facts, found.uuid)], origin)
        tx.send()
        _alert(found.uuid, found.state)

    services.store.run(attempt)


def _alert(move: str, state: MoveState) -> None:
    alert("a move is overdue", move=move, state=state.value)


def clean_up_moves(services: Services, origin: Origin) -> int:
    """Drop the holds of some moves whose consumers were deleted; how many were dropped."""
    done = 0
    for record in read_left_moves(services.store, most=MOVES_AT_ONCE_MAX):
        stepping = Stepping(
            record.uuid,
            MoveEvent.CLEAN_UP,
            record.generation,
            outcome=MoveOutcome(Reason.CONSUMER_DELETED),
        )
        try:
            done += not advance_move(services, stepping, origin).repeated
        except (MoveGenerationConflict, StepImpossible):
            continue  # it has been claimed for again, or is over
    return done
