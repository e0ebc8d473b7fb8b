"""The auditor's check of credits: what counts once because both consumers of an open move hold it.

Running totals are judged by the credits as they should be, so a credit that is wrong and a total
that followed it are two findings, and each is put right by itself.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from moorage.domain.audited import AuditedMove
from moorage.domain.findings import (
    Confidence,
    CreditDiff,
    CreditsRemedy,
    Diff,
    Finding,
    Kind,
)
from moorage.domain.ledger import Slot
from moorage.domain.survey import SEVERITIES, Survey

_SAYS: Final = "what counts once for it is not what both consumers of an open move hold"


def right_credits(survey: Survey, move: AuditedMove) -> dict[Slot, int]:
    """What should be credited, of the slots that something is written down for.

    A pool may have begun or ceased to share while the move was open: a slot that nothing is written
    down for counts in full, and one that something is written down for counts once.
    """
    if not (move.credited and move.state.is_open and move.credits):
        return {}
    mover, hold = survey.held_by(move.consumer), survey.held_by(move.hold)
    return {
        slot: min(mover[slot], hold[slot])
        for slot in move.credits
        if slot in mover and slot in hold
    }


def credited_by_slot(survey: Survey) -> Counter[Slot]:
    """Units that count once, by slot, over all open moves."""
    credited: Counter[Slot] = Counter()
    for move in survey.open_moves:
        credited.update(right_credits(survey, move))
    return credited


def find_credit_faults(survey: Survey) -> Iterator[Finding]:
    """Credits that are not what the consumers of an open move have in common."""
    for move in survey.open_moves:
        right = right_credits(survey, move)
        if right != move.credits:
            yield _finding(survey, move.uuid, move, move.credits, right)
    for uuid, written in sorted(survey.books.stray_credits.items()):
        yield _finding(survey, uuid, None, written, {})


def _finding(
    survey: Survey,
    uuid: str,
    move: AuditedMove | None,
    written: Mapping[Slot, int],
    right: Mapping[Slot, int],
) -> Finding:
    """``move``: None if none of this uuid is open."""
    changed = [slot for slot in sorted(written) if written[slot] != right.get(slot, 0)]
    return Finding(
        Kind.CREDIT_WRONG,
        uuid,
        Confidence.CERTAIN,
        SEVERITIES[Kind.CREDIT_WRONG],
        _SAYS,
        evidence={
            "move_state": "not open" if move is None else move.state,
            "credited": survey.readable(written),
            "in_common": survey.readable(right),
        },
        remedy=CreditsRemedy(uuid, None if move is None else move.generation, dict(right)),
        diff=Diff(
            credits=tuple(
                CreditDiff(uuid, survey.books.place(slot), written[slot], right.get(slot, 0))
                for slot in changed
            )
        ),
        consumers=() if move is None else (move.consumer, move.hold),
    )
