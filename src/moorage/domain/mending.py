"""What heals and undos may do, and why they refuse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from moorage.domain.ids import Generation
from moorage.domain.ledger import Slot
from moorage.domain.refusals import Refusal

GENERATION_LEAP: Final = 1_000
"""How far a heal raises a consumer's generation, and further by the number of its undo record.

An undo gives the consumer its old generation back, to the byte. Were the healed state at the very
next one, the first change after the undo would reach it again, and a client that had read the
healed state would pass for up to date.
"""


@dataclass(slots=True, eq=False)
class HealRefused(Refusal):
    """A finding cannot be healed (any more)."""

    finding: str
    reason: str


@dataclass(slots=True, eq=False)
class UndoRefused(Refusal):
    """A heal cannot be undone (any more)."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What happens to the allocation rows of one consumer.

    ``changed`` are units by row id, ``added`` units by slot. All other rows stay as they are.
    """

    dropped: tuple[int, ...]
    changed: Mapping[int, int]
    added: Mapping[Slot, int]


@dataclass(frozen=True, slots=True)
class HeldRow:
    """One row of allocations."""

    id: int
    slot: Slot
    used: int


def decide_rows(rows: tuple[HeldRow, ...], keeps: Mapping[Slot, int]) -> RowPlan:
    """The least change of rows after which a consumer holds exactly this."""
    held: dict[Slot, list[HeldRow]] = {}
    for row in rows:
        held.setdefault(row.slot, []).append(row)
    dropped: list[int] = []
    changed: dict[int, int] = {}
    for slot, same in held.items():
        amount = keeps.get(slot, 0)
        # Several rows of one slot are one holding.
        if sum(row.used for row in same) == amount:
            continue
        first, *others = same
        dropped += [row.id for row in others]
        if not amount:
            dropped.append(first.id)
        elif first.used != amount:
            changed[first.id] = amount
    added = {slot: amount for slot, amount in keeps.items() if slot not in held}
    return RowPlan(tuple(sorted(dropped)), changed, added)


def healed_generation(before: int, undo_id: int) -> Generation:
    """The generation of a consumer once it is healed."""
    return Generation(before + GENERATION_LEAP + undo_id)


def moved_units(rows: tuple[HeldRow, ...], keeps: Mapping[Slot, int]) -> dict[Slot, int]:
    """How many units more (or less) of each slot are held after than before."""
    moved = dict(keeps)
    for row in rows:
        moved[row.slot] = moved.get(row.slot, 0) - row.used
    return {slot: by for slot, by in moved.items() if by}
