"""From the choices around anchors to candidates: runs of positions, many rows at a time."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from moorage.candidates.anchors import Anchor, Local, Solution
from moorage.candidates.answer import Form, Run
from moorage.candidates.columns import IndexArray, Mask
from moorage.candidates.groups import Plan

ROWS_MAX: Final = 8_192
"""Candidates that are made at a time."""

Part = tuple[Anchor, int, Sequence[Local]]
"""Some choices for an anchor: which number the first has in the solution, and what they are."""


class Assembly:
    """Makes the candidates of one plan, each one once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._forms: list[tuple[Form, list[int]]] = []
        self._numbers: dict[Local, int] = {}
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
            rows[places] = np.hstack([members, lenders])[:, np.array(choices)]
            forms[places] = [self._form_of(choice) for choice in choices]
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

    def _form_of(self, choice: Local) -> int:
        """The number of the form that the choice's candidates have."""
        if len(set(choice)) == len(choice):
            # The usual case: no two slots meet on one provider.
            pattern = tuple(range(len(choice)))
        else:
            firsts: dict[int, int] = {}
            pattern = tuple(firsts.setdefault(p, slot) for slot, p in enumerate(choice))
        number = self._numbers.get(pattern)
        if number is None:
            number = self._numbers[pattern] = len(self._forms)
            self._forms.append(self._make_form(pattern))
        return number

    def _make_form(self, pattern: Local) -> tuple[Form, list[int]]:
        """The form where each slot shares its provider with the first slot that the pattern names.

        Beside it the slots that the form's places are taken from.
        """
        slots = self._plan.slots
        firsts = sorted(set(pattern))
        amounts: list[dict[str, int]] = [{} for _ in firsts]
        mappings: dict[str, list[int]] = {}
        for slot, first in zip(slots, pattern, strict=True):
            place = firsts.index(first)
            for portion in slot.portions:
                held = amounts[place]
                held[portion.resource_class] = held.get(portion.resource_class, 0) + portion.amount
            serving = mappings.setdefault(slot.suffix, [])
            if place not in serving:
                serving.append(place)
        form = Form(
            amounts=tuple(tuple(held.items()) for held in amounts),
            mappings=tuple((suffix, tuple(places)) for suffix, places in mappings.items()),
        )
        return form, firsts
