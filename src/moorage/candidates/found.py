"""From the choices around anchors to candidates: runs of positions, many rows at a time."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.anchors import Anchor, Batch, Local, Solution
from moorage.candidates.answer import Amounts, Form, Run
from moorage.candidates.columns import IndexArray, Mask
from moorage.candidates.groups import Plan
from moorage.candidates.lenders import Lenders
from moorage.candidates.trees import tell_rows_apart

ROWS_MAX: Final = 8_192
"""Candidates that are made at a time."""

Part = tuple[Anchor, int, Sequence[Local]]
"""Some choices for an anchor: which number the first has in the solution, and what they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Candidates that are being made: for each its providers by slot, and the number of its form.

    ``ends``: for each anchor where its candidates end.
    """

    ends: NDArray[np.intp]
    rows: IndexArray
    forms: IndexArray


class Assembly:
    """Makes the candidates of one plan, each one once."""

    def __init__(self, plan: Plan, lenders: Lenders) -> None:
        self._plan = plan
        self._lenders = lenders
        self._forms: list[tuple[Form, list[int]]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._apart = tuple(range(len(plan.slots)))
        self._held: dict[tuple[int, ...], Amounts] = {}
        self._suffixes = list(dict.fromkeys(slot.suffix for slot in plan.slots))
        self._serving = [
            [at for at, slot in enumerate(plan.slots) if slot.suffix == suffix]
            for suffix in self._suffixes
        ]
        self._is_granular = all(len(slots) == 1 for slots in self._serving)
        self._never_meet = plan.isolate and all(slot.suffix for slot in plan.slots)
        self._alone = [(place,) for place, _ in enumerate(plan.slots)]
        self._seen: set[tuple[int, ...]] = set()
        self._is_sharing: Mask | None = None
        if plan.snapshot.sharing.size:
            self._is_sharing = np.zeros(len(plan.snapshot), dtype=np.bool_)
            self._is_sharing[plan.snapshot.sharing] = True

    def runs(self, parts: Sequence[Part]) -> Iterator[Run]:
        """The candidates of these choices in their order, without those that were made before."""
        table = self._table([len(choices) for _, _, choices in parts])
        alike: dict[tuple[Solution, int, int], list[int]] = {}
        for at, (anchor, first, choices) in enumerate(parts):
            alike.setdefault((anchor.solution, first, len(choices)), []).append(at)
        for (solution, _, _), at_places in alike.items():
            which = np.array(at_places)
            members = solution.shape.members[[parts[at][0].row for at in at_places]]
            lenders = self._lenders.rows([parts[at][0].lender_set for at in at_places])
            self._fill(table, which, np.hstack([members, lenders]), parts[at_places[0]][2])
        yield from self._split(table)

    def runs_of(self, batch: Batch, found: Sequence[Sequence[Local]]) -> Iterator[Run]:
        """The same for many anchors; ``found`` are all choices of each of their solutions."""
        table = self._table(np.array([len(choices) for choices in found])[batch.which])
        alike: dict[Hashable, list[int]] = {}
        for number, (solution, choices) in enumerate(zip(batch.solutions, found, strict=True)):
            key = id(solution.shape), solution.lender_count, *choices
            alike.setdefault(key, []).append(number)
        groups = np.empty(len(found), dtype=np.intp)
        for group, numbers in enumerate(alike.values()):
            groups[numbers] = group
        group_of = groups[batch.which]
        for group, numbers in enumerate(alike.values()):
            first = batch.solutions[numbers[0]]
            which = np.flatnonzero(group_of == group)
            members = first.shape.members[batch.rows[which]]
            local = np.hstack([members, self._lenders.rows(batch.lender_sets[which])])
            self._fill(table, which, local, found[numbers[0]])
        yield from self._split(table)

    def _table(self, counts: Sequence[int] | NDArray[np.intp]) -> Table:
        ends = np.cumsum(counts)
        size = int(ends[-1])
        rows = np.empty((size, len(self._plan.slots)), dtype=np.int32)
        return Table(ends, rows, np.empty(size, dtype=np.int32))

    def _fill(
        self,
        table: Table,
        which: NDArray[np.intp],
        local: IndexArray,
        choices: Sequence[Local],
    ) -> None:
        """Enter the candidates of some anchors with equal choices.

        ``which``: the places of the anchors; ``local``: for each the providers that its layout
        numbers.
        """
        if not choices:
            return
        shape = len(choices), len(self._apart)
        numbers = chain.from_iterable(choices)
        chosen = np.fromiter(numbers, dtype=np.int32, count=shape[0] * shape[1]).reshape(shape)
        places = (table.ends[which] - len(choices))[:, None] + np.arange(len(choices))
        table.rows[places] = local[:, chosen]
        if self._never_meet or not any_repeated(chosen):
            table.forms[places] = self._number_of(self._apart)
            return
        patterns, which_pattern = tell_rows_apart(patterns_of(chosen))
        forms = [self._number_of(tuple(np.frombuffer(key, np.int32).tolist())) for key in patterns]
        table.forms[places] = np.array(forms, dtype=np.int32)[which_pattern]

    def _unseen(self, table: Table) -> Table:
        """The candidates that are no repetition.

        Around two anchors the same choice is found only if all its providers are shared.
        """
        assert self._is_sharing is not None
        # By slot: rows are short, and there are many.
        shared_by_all = np.flatnonzero(np.all(self._is_sharing[table.rows.T], axis=0)).tolist()
        repeated = []
        for at in shared_by_all:
            key = tuple(table.rows[at].tolist())
            if key in self._seen:
                repeated.append(at)
            self._seen.add(key)
        if not repeated:
            return table
        return Table(
            table.ends,
            np.delete(table.rows, repeated, axis=0),
            np.delete(table.forms, repeated),
        )

    def _split(self, table: Table) -> Iterator[Run]:
        if self._is_sharing is not None:
            table = self._unseen(table)
        rows, forms = table.rows, table.forms
        if not forms.size:
            return
        changes = ((forms[1:] != forms[:-1]).nonzero()[0] + 1).tolist()
        starts = [0, *changes]
        for start, end, number in zip(
            starts, [*changes, forms.size], forms[starts].tolist(), strict=True
        ):
            form, columns = self._forms[number]
            yield Run(form, rows[start:end].take(columns, axis=1))

    def _number_of(self, pattern: tuple[int, ...]) -> int:
        """The number of the form of a pattern, see ``_make_form``."""
        number = self._numbers.get(pattern)
        if number is None:
            number = self._numbers[pattern] = len(self._forms)
            self._forms.append(self._make_form(pattern))
        return number

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


def any_repeated(chosen: IndexArray) -> bool:
    """Whether a provider serves two slots of a choice."""
    ascending = np.sort(chosen, axis=1)
    return bool((ascending[:, 1:] == ascending[:, :-1]).any())


def patterns_of(chosen: IndexArray) -> IndexArray:
    """For each choice and slot the first slot that the same provider serves."""
    # By slot: rows are short, and there are many.
    by_slot = np.ascontiguousarray(chosen.T)
    patterns = np.empty_like(by_slot)
    for slot in reversed(range(len(by_slot))):
        np.putmask(patterns[slot:], by_slot[slot:] == by_slot[slot], slot)
    return patterns.T
