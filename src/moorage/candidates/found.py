"""From the choices around anchors to candidates: runs of positions, many rows at a time."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import numpy as np

from moorage.candidates.anchors import Anchor, Local, Solution
from moorage.candidates.answer import Amounts, Form, Run
from moorage.candidates.columns import IndexArray, Mask
from moorage.candidates.groups import Plan
from moorage.candidates.trees import row_keys

ROWS_MAX: Final = 8_192
"""Candidates that are made at a time."""

Part = tuple[Anchor, int, Sequence[Local]]
"""Some choices for an anchor: which number the first has in the solution, and what they are."""


class Assembly:
    """Makes the candidates of one plan, each one once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._forms: list[tuple[Form, list[int]]] = []
        self._numbers: dict[bytes, int] = {}
        self._held: dict[tuple[int, ...], Amounts] = {}
        self._suffixes = list(dict.fromkeys(slot.suffix for slot in plan.slots))
        self._serving = [
            [at for at, slot in enumerate(plan.slots) if slot.suffix == suffix]
            for suffix in self._suffixes
        ]
        self._is_granular = all(len(slots) == 1 for slots in self._serving)
        self._alone = [(place,) for place, _ in enumerate(plan.slots)]
        self._seen: set[tuple[int, ...]] = set()
        self._is_sharing: Mask | None = None
        if plan.snapshot.sharing.size:
            self._is_sharing = np.zeros(len(plan.snapshot), dtype=np.bool_)
            self._is_sharing[plan.snapshot.sharing] = True

    def runs(self, parts: Sequence[Part]) -> Iterator[Run]:
        """The candidates of these choices in their order, without those that were made before."""
        counts = [len(choices) for _, _, choices in parts]
        ends = np.cumsum(counts)
        rows = np.empty((int(ends[-1]), len(self._plan.slots)), dtype=np.int32)
        forms = np.empty(rows.shape[0], dtype=np.int32)
        alike: dict[tuple[Solution, int, int], list[int]] = {}
        for at, (anchor, first, choices) in enumerate(parts):
            alike.setdefault((anchor.solution, first, len(choices)), []).append(at)
        for (solution, _, count), which in alike.items():
            choices = parts[which[0]][2]
            places = (ends[which] - count)[:, None] + np.arange(count)
            members = solution.shape.members[[parts[at][0].row for at in which]]
            lenders = np.broadcast_to(solution.lenders, (len(which), solution.lenders.size))
            chosen = np.fromiter(chain.from_iterable(choices), dtype=np.int32)
            chosen = chosen.reshape(count, -1)
            rows[places] = np.hstack([members, lenders])[:, chosen]
            forms[places] = self._forms_of(chosen)
        if self._is_sharing is not None:
            kept = self._unseen(rows)
            rows, forms = rows[kept], forms[kept]
        yield from self._split(rows, forms)

    def _unseen(self, rows: IndexArray) -> list[int]:
        """The rows that are no repetition.

        Around two anchors the same choice is found only if all its providers are shared.
        """
        assert self._is_sharing is not None
        kept = []
        shared_by_all: list[bool] = np.all(self._is_sharing[rows], axis=1).tolist()
        for at, shared in enumerate(shared_by_all):
            if shared:
                key = tuple(rows[at].tolist())
                if key in self._seen:
                    continue
                self._seen.add(key)
            kept.append(at)
        return kept

    def _split(self, rows: IndexArray, forms: IndexArray) -> Iterator[Run]:
        if not forms.size:
            return
        starts = np.flatnonzero(np.diff(forms, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], forms.size], strict=True):
            form, columns = self._forms[forms[start]]
            yield Run(form, rows[start:end][:, columns])

    def _forms_of(self, choices: IndexArray) -> list[int]:
        """For each row of choices the number of the form that its candidates have."""
        patterns = first_slots(choices)
        numbers = []
        for at, key in enumerate(row_keys(patterns)):
            number = self._numbers.get(key)
            if number is None:
                number = self._numbers[key] = len(self._forms)
                self._forms.append(self._make_form(patterns[at].tolist()))
            numbers.append(number)
        return numbers

    def _make_form(self, pattern: Sequence[int]) -> tuple[Form, list[int]]:
        """The form where each slot shares its provider with the first slot that the pattern names.

        Beside it the slots that the form's places are taken from.
        """
        together: dict[int, list[int]] = {}
        for slot, first in enumerate(pattern):
            together.setdefault(first, []).append(slot)
        places = dict(zip(together, range(len(together)), strict=True))
        serving: list[tuple[int, ...]]
        if self._is_granular:
            # The usual case where forms are many: each slot is a group of its own.
            serving = [self._alone[place] for place in map(places.__getitem__, pattern)]
        else:
            serving = [
                tuple(dict.fromkeys([places[pattern[slot]] for slot in slots]))
                for slots in self._serving
            ]
        form = Form(
            amounts=tuple(map(self._amounts_of, map(tuple, together.values()))),
            mappings=tuple(zip(self._suffixes, serving, strict=True)),
        )
        return form, list(together)

    def _amounts_of(self, slots: tuple[int, ...]) -> Amounts:
        """What these slots take together."""
        amounts = self._held.get(slots)
        if amounts is None:
            held: dict[str, int] = {}
            for slot in slots:
                for portion in self._plan.slots[slot].portions:
                    held[portion.resource_class] = (
                        held.get(portion.resource_class, 0) + portion.amount
                    )
            amounts = self._held[slots] = tuple(held.items())
        return amounts


def first_slots(choices: IndexArray) -> IndexArray:
    """For each row of choices, for each slot the first one with the same provider."""
    slots = np.arange(choices.shape[1], dtype=np.int32)
    firsts = np.tile(slots, (choices.shape[0], 1))
    met = (np.diff(np.sort(choices, axis=1), axis=1) == 0).any(axis=1)
    if met.any():
        firsts[met] = first_meeting(choices[met], slots)
    return firsts


def first_meeting(choices: IndexArray, slots: IndexArray) -> IndexArray:
    """The same for rows in which slots do meet on a provider."""
    order = np.argsort(choices, axis=1, kind="stable")
    chosen = np.take_along_axis(choices, order, axis=1)
    # Where a provider begins in the sorted row; behind that its other slots stand.
    begins = np.diff(chosen, axis=1, prepend=-1) != 0
    starts = np.maximum.accumulate(np.where(begins, slots, 0), axis=1)
    firsts = np.empty_like(choices)
    np.put_along_axis(firsts, order, np.take_along_axis(order, starts, axis=1), axis=1)
    return firsts
