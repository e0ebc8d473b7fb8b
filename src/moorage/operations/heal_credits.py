"""Put the credits of a move right; running totals are judged, and healed, by themselves."""

from typing import Any, Final

from moorage.domain.findings import CreditsRemedy
from moorage.domain.ids import MoveUuid
from moorage.domain.mending import healed_generation
from moorage.domain.origin import Origin
from moorage.domain.survey import Survey
from moorage.operations.kept_moves import KeptMoves, changed_moves, keep_move, partners
from moorage.store.dialects import StaleView
from moorage.store.journal import CREDIT_KIND, Entry, write_journal
from moorage.store.mend import load_places, slot_of_row
from moorage.store.mend_moves import raise_move, write_credits
from moorage.store.transaction import Transaction
from moorage.store.undo import UndoRecord

CREDITS_KIND: Final = "audit.credit"
"""The journal's name for credits put right that no open move had."""


def heal_credits(
    tx: Transaction, survey: Survey, remedy: CreditsRemedy, *, number: int, origin: Origin
) -> UndoRecord:
    """Write the credits that a move should have; the providers concerned are locked.

    Raises:
        StaleView: the move has changed since it was looked at.
    """
    kept = keep_move(tx, remedy.move)
    generation = kept.open[0].generation if kept.open else None
    if generation != remedy.generation:
        raise StaleView
    if generation is not None:
        becomes = healed_generation(generation, number)
        raise_move(tx, remedy.move, was=generation, becomes=becomes, at=origin.at)
    write_credits(tx, remedy.move, was=kept.credits[remedy.move], becomes=remedy.becomes)
    entries = [_entry(survey, kept, remedy)]
    write_journal(tx, entries, origin)
    slots = [slot_of_row(row) for row in kept.credits[remedy.move]]
    return UndoRecord(
        partners(tx, kept), [], load_places(tx, slots), changed_moves(tx, kept, entries)
    )


def _entry(survey: Survey, kept: KeptMoves, remedy: CreditsRemedy) -> Entry:
    """What the sums of the hold's owner have to follow; credits of no open move are in no sum."""
    before = {slot_of_row(row): row["used"] for row in kept.credits[remedy.move]}
    told_before, told_after = (
        _told(survey, kept, survey.readable(some)) if some else None
        for some in (before, remedy.becomes)
    )
    providers = tuple(sorted({slot[0] for slot in before} & survey.books.providers.keys()))
    kind = CREDIT_KIND if kept.open else CREDITS_KIND
    return Entry(kind, remedy.move, providers, told_before, told_after, MoveUuid(remedy.move))


def _told(survey: Survey, kept: KeptMoves, resources: Any) -> dict[str, Any]:
    owner: dict[str, Any] = {"project_id": "", "user_id": "", "consumer_type": None}
    position = survey.position(kept.open[0].hold) if kept.open else None
    if position is not None:
        hold = survey.books.consumers[position]
        owner = {
            "project_id": hold.project_id or "",
            "user_id": hold.user_id or "",
            "consumer_type": hold.consumer_type,
        }
    return {"resources": resources} | owner | {"is_credit": True}
