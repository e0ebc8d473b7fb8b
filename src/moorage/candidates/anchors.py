"""Anchors that look alike are solved once.

All that decides the choices around an anchor is gathered for many anchors at once, as rows of
bytes; anchors of one shape with equal rows share one search through one layout.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.choices import ChoiceSearch
from moorage.candidates.columns import IndexArray, Mask
from moorage.candidates.eligible import Eligible, rooms_at
from moorage.candidates.groups import Plan, Slot
from moorage.candidates.layout import Layout
from moorage.candidates.trees import Shape, paths_of, row_keys

BATCH_MIN: Final = 1_024
BATCH_MAX: Final = 65_536
"""Positions whose anchors are looked at together: few at first, then more and more."""

ORDERED_MIN: Final = 64
"""The same where the anchors have an order of preference: who asks for one wants a few of them."""

KEPT_MAX: Final = 100_000
"""Choices of one layout that are kept for other anchors; those behind are found anew."""

Local = tuple[int, ...]
"""For each slot the number of a provider in the layout."""


class Solution:
    """The choices of one layout, found as far as they are asked for, for all anchors alike.

    ``lenders``: the sharing providers that the layout numbers behind the members of the tree.
    """

    def __init__(self, shape: Shape, lenders: Sequence[int], layout: Layout) -> None:
        self.shape = shape
        self.lenders = np.array(lenders, dtype=np.int32)
        self._layout = layout
        self._begin()

    def _begin(self) -> None:
        self._search: Iterator[Local] | None = ChoiceSearch(self._layout).choices()
        self._kept: list[Local] = []
        self._first = 0

    def choices(self, first: int, count: int) -> Sequence[Local]:
        """At most ``count`` choices from a number on, in the search's order."""
        if first < self._first:
            self._begin()
        start = first - self._first
        while self._search is not None and len(self._kept) < start + count:
            choice = next(self._search, None)
            if choice is None:
                self._search = None
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
    """A tree to build candidates around: a row of its shape's members, and its solution."""

    root: int
    row: int
    solution: Solution


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Anchors in the order of their roots: columns beside each other.

    ``rows``: of the shape's members; ``which``: the numbers of their ``solutions``.
    """

    roots: IndexArray
    rows: NDArray[np.intp]
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
            np.concatenate(which)[order],
            [solution for part in parts for solution in part.solutions],
        )

    def __len__(self) -> int:
        return self.roots.size

    def taken(self, span: slice) -> "Batch":
        """Some of the anchors, with the solutions that they have."""
        numbers, which = np.unique(self.which[span], return_inverse=True)
        solutions = [self.solutions[number] for number in numbers.tolist()]
        return Batch(self.roots[span], self.rows[span], which, solutions)

    def anchors(self) -> Iterator[Anchor]:
        """The anchors one by one."""
        columns = self.roots.tolist(), self.rows.tolist(), self.which.tolist()
        for root, row, number in zip(*columns, strict=True):
            yield Anchor(root, row, self.solutions[number])


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was found out about some trees of one shape; all columns stand beside ``rows``.

    ``able``: for each eligible column of the plan the members that satisfy it. ``rooms``: for each
    contended class the members' rooms, cut to what is asked. ``together``: for each trait asked
    of spread slots the members that have it. ``lender_sets``: the numbers of the roots' sets of
    lenders. ``barred``: for each slot whether the root's aggregates bar its lenders.
    """

    rows: NDArray[np.intp]
    able: Mapping[Eligible, Mask]
    rooms: Sequence[NDArray[np.int64]]
    together: Sequence[Mask]
    lender_sets: IndexArray
    barred: Sequence[Mask | None]

    def taken(self, keep: Mask) -> "Look":
        """The same for some of the trees."""
        return Look(
            self.rows[keep],
            {eligible: able[keep] for eligible, able in self.able.items()},
            [rooms[keep] for rooms in self.rooms],
            [having[keep] for having in self.together],
            self.lender_sets[keep],
            [None if barred is None else barred[keep] for barred in self.barred],
        )

    def keys(self) -> list[bytes]:
        """For each tree a value that it shares with those that look alike."""
        parts: list[NDArray[Any]] = [
            self.lender_sets.reshape(-1, 1).view(np.uint8),
            *(np.packbits(able, axis=1) for able in self.able.values()),
            *(np.packbits(having, axis=1) for having in self.together),
            *(np.ascontiguousarray(rooms).view(np.uint8) for rooms in self.rooms),
            *(barred.reshape(-1, 1).view(np.uint8) for barred in self.barred if barred is not None),
        ]
        return row_keys(np.hstack(parts))


class Anchors:
    """The anchors of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._snapshot = plan.snapshot
        self._solutions: dict[tuple[int, bytes], Solution] = {}
        self._paths: dict[int, Sequence[frozenset[int]]] = {}
        self._lent: dict[tuple[Eligible, int], tuple[int, ...]] = {}
        sharing = plan.snapshot.sharing
        self._lends = bool(sharing.size) and any(
            slot.lend is not None and bool(slot.lend.at(sharing).any()) for slot in plan.slots
        )

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
        solutions: list[Solution] = []
        numbers: dict[bytes, int] = {}
        which = []
        for at, key in enumerate(look.keys()):
            place = numbers.get(key)
            if place is None:
                place = numbers[key] = len(solutions)
                solution = self._solutions.get((number, key))
                if solution is None:
                    solution = self._solve(number, look, at)
                    self._solutions[number, key] = solution
                solutions.append(solution)
            which.append(place)
        roots = self._snapshot.shapes[number].roots[look.rows]
        return (Batch(roots, look.rows, np.array(which, dtype=np.intp), solutions),)

    def _look(self, shape: Shape, rows: NDArray[np.intp]) -> Look | None:
        """What decides about some trees of a shape; None where none of them will do."""
        plan, snapshot = self._plan, self._snapshot
        if plan.anchors is not None:
            rows = rows[plan.anchors[snapshot.trait_sets[shape.roots[rows]]]]
        if plan.destinations is not None:
            rows = rows[plan.destinations[shape.roots[rows]]]
        members = shape.members[rows]
        roots = members[:, 0]
        sets = np.zeros(rows.size, dtype=np.int32)
        if self._lends:
            sets = snapshot.lending.sets().numbers[roots]
        able: dict[Eligible, Mask] = {}
        barred: list[Mask | None] = []
        keep = np.ones(rows.size, dtype=np.bool_)
        for slot in plan.slots:
            if slot.own not in able:
                able[slot.own] = slot.own.at(members)
            barred.append(slot.own.bars(roots) if self._lends else None)
            keep &= able[slot.own].any(axis=1) | self._is_lent(slot, sets, barred[-1])
            if not keep.any():
                return None
        look = Look(rows, able, [], [], sets, barred).taken(keep)
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
        return Look(look.rows, look.able, rooms, together, look.lender_sets, look.barred)

    # Sharing providers

    def _is_lent(self, slot: Slot, sets: IndexArray, barred: Mask | None) -> Mask | bool:
        """For each of the sets of lenders whether one of them can serve the slot."""
        if not self._lends or slot.lend is None:
            return False
        distinct, which = np.unique(sets, return_inverse=True)
        lent = np.array([bool(self._lenders(slot, n)) for n in distinct.tolist()], dtype=np.bool_)
        return lent[which] if barred is None else lent[which] & ~barred

    def _lenders(self, slot: Slot, number: int) -> tuple[int, ...]:
        """The lenders of a set that can serve the slot."""
        if slot.lend is None or not number:
            return ()
        key = slot.lend, number
        if key not in self._lent:
            lenders = np.array(self._snapshot.lending.sets().lenders[number], dtype=np.int32)
            self._lent[key] = tuple(lenders[slot.lend.at(lenders)].tolist())
        return self._lent[key]

    # Layouts

    def _solve(self, number: int, look: Look, at: int) -> Solution:
        """The solution for all trees that look like this one."""
        shape = self._snapshot.shapes[number]
        lent = [
            () if barred is not None and barred[at] else self._lenders(slot, set_number)
            for slot, barred in zip(self._plan.slots, look.barred, strict=True)
            for set_number in [int(look.lender_sets[at])]
        ]
        lenders = sorted({lender for serving in lent for lender in serving})
        layout = self._layout(number, look, at, lent=lent, lenders=lenders)
        return Solution(shape, lenders, layout)

    def _layout(
        self,
        number: int,
        look: Look,
        at: int,
        *,
        lent: Sequence[Sequence[int]],
        lenders: Sequence[int],
    ) -> Layout:
        plan, snapshot = self._plan, self._snapshot
        parents = snapshot.shapes[number].parents
        size = len(parents)
        behind = {lender: size + order for order, lender in enumerate(lenders)}
        lending = np.array(lenders, dtype=np.int32)
        numbers = {class_id: n for n, class_id in enumerate(plan.contended)}
        if number not in self._paths:
            self._paths[number] = paths_of(parents)
        paths = [*self._paths[number], *self._lender_paths(behind)]
        roots = snapshot.roots[lending].tolist()
        return Layout(
            options=tuple(
                as_bits(np.flatnonzero(look.able[slot.own][at]).tolist())
                | as_bits(behind[lender] for lender in serving)
                for slot, serving in zip(plan.slots, lent, strict=True)
            ),
            needs=tuple(
                tuple(
                    (numbers[p.class_id], p.amount) for p in slot.portions if p.class_id in numbers
                )
                for slot in plan.slots
            ),
            rooms=tuple(
                (*rooms[at].tolist(), *rooms_at(snapshot, class_id, lending).tolist())
                for class_id, rooms in zip(plan.contended, look.rooms, strict=True)
            ),
            suffixed=tuple(bool(slot.suffix) for slot in plan.slots),
            gives=tuple(bool(slot.portions) for slot in plan.slots),
            trees=(*[-1] * size, *roots),
            paths=tuple(as_bits(path) for path in paths),
            parents=(*parents, *[-1] * len(lenders)),
            isolate=plan.isolate,
            nested=plan.nested,
            subtrees=plan.subtrees,
            spread=plan.spread,
            together=tuple(
                as_bits(np.flatnonzero(having[at]).tolist())
                | as_bits(behind[n] for n in lenders if table[snapshot.trait_sets[n]])
                for having, table in zip(look.together, plan.together, strict=True)
            ),
        )

    def _lender_paths(self, behind: Mapping[int, int]) -> Sequence[frozenset[int]]:
        """For each lender itself and the other lenders that it hangs below."""
        return [
            frozenset(behind[n] for n in self._snapshot.ancestors_of(lender) if n in behind)
            for lender in behind
        ]


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
