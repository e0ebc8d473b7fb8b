"""Anchors that look alike are solved once.

All that decides the choices around an anchor is gathered for many anchors at once, as rows of
bytes; anchors of one shape with equal rows share one search through one layout.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.choices import ChoiceSearch, Effort
from moorage.candidates.columns import IndexArray, Mask, tell_apart
from moorage.candidates.eligible import Eligible, rooms_at
from moorage.candidates.groups import Plan
from moorage.candidates.layout import Layout
from moorage.candidates.lenders import Lenders
from moorage.candidates.request import STEPS_MAX
from moorage.candidates.trees import Shape, paths_of, tell_rows_apart

BATCH_MIN: Final = 1_024
BATCH_MAX: Final = 65_536
"""Positions whose anchors are looked at together: few at first, then more and more."""

ORDERED_MIN: Final = 64
"""The same where the anchors have an order of preference: who asks for one wants a few of them."""

KEPT_MAX: Final = 100_000
"""Choices of one layout that are kept for other anchors; those behind are found anew."""

Local = tuple[int, ...]
"""For each slot the number of a provider in the layout."""

_ENDED: Final[Local] = (-1,)


class Solution:
    """The choices of one layout, found as far as they are asked for, for all anchors alike.

    ``lender_count``: so many sharing providers the layout numbers behind the members of the tree.
    """

    def __init__(self, shape: Shape, lender_count: int, layout: Layout, effort: Effort) -> None:
        self.shape = shape
        self.lender_count = lender_count
        self._layout = layout
        self._effort = effort
        self._begin()

    def _begin(self) -> None:
        self._search: Iterator[Local | None] = ChoiceSearch(self._layout, self._effort).choices()
        self.is_open = True
        """There may be more choices than were found so far."""
        self._kept: list[Local] = []
        self._first = 0

    def has_any(self) -> bool:
        """Whether there is a choice at all, however long it takes to find out.

        Raises:
            SearchTooHard: longer than the request may.
        """
        while not (found := self.choices(0, 1)) and self.is_open:
            pass
        return bool(found)

    def choices(self, first: int, count: int) -> Sequence[Local]:
        """At most ``count`` choices from a number on, in the search's order.

        Fewer also where the search takes long: then it is still open, and may be asked again.

        Raises:
            SearchTooHard: the request has cost all that it may.
        """
        if first < self._first:
            self._begin()
        start = first - self._first
        while self.is_open and len(self._kept) < start + count:
            choice = next(self._search, _ENDED)
            if choice is _ENDED:
                self.is_open = False
                break
            if choice is None:
                break
            self._kept.append(choice)
            if len(self._kept) > KEPT_MAX and start > 0:
                dropped = min(start, len(self._kept) - 1)
                del self._kept[:dropped]
                self._first += dropped
                start -= dropped
        return self._kept[start : start + count]


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A tree to build candidates around.

    ``row``: of its shape's members; ``lender_set``: the number of the lenders that serve it.
    """

    root: int
    row: int
    lender_set: int
    solution: Solution


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Anchors in the order of their roots: columns beside each other.

    ``rows``, ``lender_sets`` as of one; ``which``: the numbers of their ``solutions``.
    """

    roots: IndexArray
    rows: NDArray[np.intp]
    lender_sets: IndexArray
    which: NDArray[np.intp]
    solutions: Sequence[Solution]

    @classmethod
    def joined(cls, parts: Sequence["Batch"]) -> "Batch":
        """The anchors of several batches."""
        if len(parts) == 1:
            return parts[0]
        firsts = np.cumsum([0, *(len(part.solutions) for part in parts)]).tolist()
        roots = np.concatenate([part.roots for part in parts])
        order = np.argsort(roots)
        which = [part.which + first for part, first in zip(parts, firsts, strict=False)]
        return cls(
            roots[order],
            np.concatenate([part.rows for part in parts])[order],
            np.concatenate([part.lender_sets for part in parts])[order],
            np.concatenate(which)[order],
            [solution for part in parts for solution in part.solutions],
        )

    def __len__(self) -> int:
        return self.roots.size

    def taken(self, span: slice) -> "Batch":
        """Some of the anchors, with the solutions that they have."""
        numbers, which = tell_apart(self.which[span])
        solutions = [self.solutions[number] for number in numbers]
        return Batch(self.roots[span], self.rows[span], self.lender_sets[span], which, solutions)

    def anchors(self) -> Iterator[Anchor]:
        """The anchors one by one."""
        columns = self.roots, self.rows, self.lender_sets, self.which
        for root, row, lender_set, number in zip(*(c.tolist() for c in columns), strict=True):
            yield Anchor(root, row, lender_set, self.solutions[number])


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was found out about some trees of one shape; all columns stand beside ``rows``.

    ``able``: for each eligible column of the plan the members that satisfy it. ``rooms``: for each
    contended class the members' rooms, cut to what is asked. ``together``: for each trait asked
    of spread slots the members that have it. ``lender_sets``, ``lender_kinds``: the numbers of the
    roots' sets of lenders, and of their kinds. ``barred``: for each slot whether the root's
    aggregates bar its lenders.
    """

    rows: NDArray[np.intp]
    able: Mapping[Eligible, Mask]
    rooms: Sequence[NDArray[np.int64]]
    together: Sequence[Mask]
    lender_sets: IndexArray
    lender_kinds: IndexArray
    barred: Sequence[Mask | None]

    def taken(self, keep: Mask) -> "Look":
        """The same for some of the trees."""
        if keep.all():
            return self
        return Look(
            self.rows[keep],
            {eligible: able[keep] for eligible, able in self.able.items()},
            [rooms[keep] for rooms in self.rooms],
            [having[keep] for having in self.together],
            self.lender_sets[keep],
            self.lender_kinds[keep],
            [None if barred is None else barred[keep] for barred in self.barred],
        )

    def matrix(self) -> NDArray[np.uint8]:
        """A row for each tree; those that look alike have equal ones."""
        parts: list[NDArray[Any]] = [
            self.lender_kinds.reshape(-1, 1).view(np.uint8),
            *map(packed, self.able.values()),
            *map(packed, self.together),
            *(np.ascontiguousarray(rooms).view(np.uint8) for rooms in self.rooms),
            *(barred.reshape(-1, 1).view(np.uint8) for barred in self.barred if barred is not None),
        ]
        return np.hstack(parts)


class Anchors:
    """The anchors of one plan; to solve them all may take ``steps_max`` steps in vain."""

    def __init__(self, plan: Plan, steps_max: int = STEPS_MAX) -> None:
        self._plan = plan
        self._effort = Effort(steps_max)
        self._snapshot = plan.snapshot
        self._solutions: dict[tuple[int, bytes], Solution] = {}
        self._paths: dict[int, tuple[int, ...]] = {}
        self.lenders = Lenders(plan)

    def in_order(self) -> Iterator[Anchor]:
        """The anchors that every slot alone can be served for, in the order of the roots."""
        for batch in self.in_batches():
            yield from batch.anchors()

    def in_batches(self) -> Iterator[Batch]:
        """The same anchors, many at a time."""
        size, first = BATCH_MIN, 0
        while first < len(self._snapshot):
            found: list[Batch] = []
            for number, shape in enumerate(self._snapshot.shapes):
                start, end = np.searchsorted(shape.roots, [first, first + size]).tolist()
                if start < end:
                    found += self._look_at(number, np.arange(start, end))
            if found:
                yield Batch.joined(found)
            first, size = first + size, min(2 * size, BATCH_MAX)

    def in_random_order(self, random: np.random.Generator) -> Iterator[Anchor]:
        """The same anchors, every order of the roots being equally likely."""
        return self.in_order_of(lambda roots: iter((random.permutation(roots.size),)))

    def in_order_of(
        self, rank: Callable[[IndexArray], Iterator[NDArray[np.intp]]]
    ) -> Iterator[Anchor]:
        """The same anchors in another order.

        Args:
            rank: given all roots, their places in the order wanted (as ``argsort`` has them), in
                parts.
        """
        shapes = self._snapshot.shapes
        sizes = [len(shape.members) for shape in shapes]
        trees = np.repeat(np.arange(len(shapes)), sizes)
        rows = np.concatenate([np.arange(size) for size in [0, *sizes]])
        nobody = np.zeros(0, dtype=np.int32)
        roots = np.concatenate([nobody, *(shape.roots for shape in shapes)])
        for batch in in_batches_of(rank(roots)):
            found: dict[tuple[int, int], Anchor] = {}
            for number in np.unique(trees[batch]).tolist():
                of_shape = np.sort(rows[batch[trees[batch] == number]])
                for seen in self._look_at(number, of_shape):
                    found.update({(number, anchor.row): anchor for anchor in seen.anchors()})
            places = zip(trees[batch].tolist(), rows[batch].tolist(), strict=True)
            yield from (found[place] for place in places if place in found)

    def _look_at(self, number: int, rows: NDArray[np.intp]) -> Sequence[Batch]:
        """The anchors among some trees of a shape; nothing where there are none."""
        look = self._look(self._snapshot.shapes[number], rows)
        if look is None:
            return ()
        keys, which = tell_rows_apart(look.matrix())
        examples = np.empty(len(keys), dtype=np.intp)
        examples[which] = np.arange(which.size)
        solutions = []
        for key, at in zip(keys, examples.tolist(), strict=True):
            solution = self._solutions.get((number, key))
            if solution is None:
                solution = self._solutions[number, key] = self._solve(number, look, at)
            solutions.append(solution)
        roots = self._snapshot.shapes[number].roots[look.rows]
        return (Batch(roots, look.rows, look.lender_sets, which, solutions),)

    def _look(self, shape: Shape, rows: NDArray[np.intp]) -> Look | None:
        """What decides about some trees of a shape; None where none of them will do."""
        plan, snapshot = self._plan, self._snapshot
        if plan.anchors is not None:
            rows = rows[plan.anchors[snapshot.trait_sets[shape.roots[rows]]]]
        if plan.destinations is not None:
            rows = rows[plan.destinations[shape.roots[rows]]]
        members = shape.members[rows]
        roots = members[:, 0]
        sets = self.lenders.sets_of(roots)
        kinds = self.lenders.kinds_of(sets)
        able: dict[Eligible, Mask] = {}
        barred: list[Mask | None] = []
        keep = np.ones(rows.size, dtype=np.bool_)
        for number, slot in enumerate(plan.slots):
            if slot.own not in able:
                able[slot.own] = slot.own.at(members)
            serves = able[slot.own].any(axis=1)
            barred.append(slot.own.bars(roots) if self.lenders.any else None)
            if self.lenders.any:
                lent, bars = self.lenders.serve(number, kinds), barred[-1]
                serves |= lent if bars is None else lent & ~bars
            keep &= serves
            if not keep.any():
                return None
        look = Look(rows, able, [], [], sets, kinds, barred).taken(keep)
        return self._with_contention(look, members[keep])

    def _with_contention(self, look: Look, members: IndexArray) -> Look:
        """The look with what matters where slots meet."""
        plan, snapshot = self._plan, self._snapshot
        rooms = []
        for class_id, asked in plan.contended.items():
            wanted = np.zeros(members.shape, dtype=np.bool_)
            for slot in plan.slots:
                if any(portion.class_id == class_id for portion in slot.portions):
                    wanted |= look.able[slot.own]
            found = np.zeros(members.shape, dtype=np.int64)
            at = rooms_at(snapshot, class_id, members[wanted])
            found[wanted] = np.minimum(at, min(asked, 2**62))
            rooms.append(found)
        sets = snapshot.trait_sets[members]
        together = [having[sets] for having in plan.together]
        return replace(look, rooms=rooms, together=together)

    # Layouts

    def _solve(self, number: int, look: Look, at: int) -> Solution:
        """The solution for all trees that look like this one."""
        shape = self._snapshot.shapes[number]
        lender_count = len(self.lenders.useful(int(look.lender_sets[at])))
        return Solution(shape, lender_count, self._layout(number, look, at), self._effort)

    def _layout(self, number: int, look: Look, at: int) -> Layout:
        """The puzzle of one tree; its lenders stand behind its members."""
        plan, snapshot = self._plan, self._snapshot
        parents = snapshot.shapes[number].parents
        size = len(parents)
        lender_set = int(look.lender_sets[at])
        lenders = self.lenders.rows([lender_set])[0]
        numbers = {class_id: n for n, class_id in enumerate(plan.contended)}
        if number not in self._paths:
            self._paths[number] = tuple(map(as_bits, paths_of(parents)))
        lent = snapshot.trait_sets[lenders]
        return Layout(
            options=tuple(
                bits_from(look.able[slot.own][at])
                | self._lent_bits(order, lender_set, look.barred[order], at) << size
                for order, slot in enumerate(plan.slots)
            ),
            needs=tuple(
                tuple(
                    (numbers[p.class_id], p.amount) for p in slot.portions if p.class_id in numbers
                )
                for slot in plan.slots
            ),
            rooms=tuple(
                (*rooms[at].tolist(), *rooms_at(snapshot, class_id, lenders).tolist())
                for class_id, rooms in zip(plan.contended, look.rooms, strict=True)
            ),
            suffixed=tuple(bool(slot.suffix) for slot in plan.slots),
            gives=tuple(bool(slot.portions) for slot in plan.slots),
            trees=(*[-1] * size, *self.lenders.trees(lender_set)),
            paths=(
                *self._paths[number],
                *(as_bits(path) << size for path in self.lenders.paths(lender_set)),
            ),
            parents=(*parents, *[-1] * lenders.size),
            isolate=plan.isolate,
            nested=plan.nested,
            subtrees=plan.subtrees,
            spread=plan.spread,
            together=tuple(
                bits_from(having[at]) | bits_from(table[lent]) << size
                for having, table in zip(look.together, plan.together, strict=True)
            ),
        )

    def _lent_bits(self, slot: int, lender_set: int, barred: Mask | None, at: int) -> int:
        """The useful lenders of a set that can serve the slot around a root, as bits."""
        if barred is not None and barred[at]:
            return 0
        return bits_from(self.lenders.able(slot, lender_set))


def packed(mask: Mask) -> NDArray[np.uint8]:
    """The rows of a mask, eight values to a byte; of trees of one, whose bits need no packing."""
    return mask.view(np.uint8) if mask.shape[1] == 1 else np.packbits(mask, axis=1)


def bits_from(mask: Mask | Sequence[bool]) -> int:
    """A mask as the bits of one number."""
    bits = np.packbits(np.asarray(mask, dtype=np.bool_), bitorder="little")
    return int.from_bytes(bits.tobytes(), "little")


def in_batches_of(parts: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.intp]]:
    """The same numbers, few at first, then more and more at once; never across two parts."""
    size = ORDERED_MIN
    for part in parts:
        first = 0
        while first < part.size:
            yield part[first : first + size]
            first, size = first + size, min(4 * size, BATCH_MAX)


def as_bits(numbers: Iterable[int]) -> int:
    """A set of numbers as the bits of one."""
    return sum(1 << number for number in numbers)
