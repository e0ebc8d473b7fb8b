"""How full trees are, followed from one snapshot to the next at the cost of what has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.blocks import Block
from moorage.candidates.columns import AmountArray, IndexArray, Mask, Stock, frozen
from moorage.domain.ids import ResourceClassId

EXACT_MAX: Final = 2.0**52
"""Whole numbers that add up to less than this are added and taken away without rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Of one class how full the tree of each root is, and what that was added up from.

    ``loads``: by position, from 0 to 1, and 0 where ``has`` says that the tree has nothing of the
    class; a tree without capacity is full. ``total`` bounds every sum.
    """

    roots: IndexArray
    stocks: tuple[Stock | None, ...]
    used: NDArray[np.float64]
    capacity: NDArray[np.float64]
    counts: NDArray[np.int64]
    loads: NDArray[np.float64]
    has: Mask
    total: float


class TreeLoads:
    """The loads of some classes as they were last asked for; snapshots that follow share it.

    A load says what it was worked out from, so one of another snapshot is a beginning, never an
    answer.
    """

    def __init__(self) -> None:
        self._loads: dict[ResourceClassId, Load] = {}

    def of(self, class_id: ResourceClassId, *, blocks: Sequence[Block], roots: IndexArray) -> Load:
        """The load of one class in a snapshot with these blocks and these roots."""
        stocks = tuple(block.stocks.get(class_id) for block in blocks)
        known = self._loads.get(class_id)
        if known is None or known.roots is not roots or not known.total < EXACT_MAX:
            known = _nothing(roots)
        before = (*known.stocks, *[None] * (len(stocks) - len(known.stocks)))
        changed = [number for number, stock in enumerate(stocks) if stock is not before[number]]
        if changed:
            known = _with_changes(known, blocks, before, stocks, changed)
            self._loads[class_id] = known
        return known


def _nothing(roots: IndexArray) -> Load:
    zeros = np.zeros(roots.size, dtype=np.float64)
    counts = np.zeros(roots.size, dtype=np.int64)
    return Load(roots, (), zeros, zeros, counts, zeros, counts > 0, 0.0)


def _with_changes(
    known: Load,
    blocks: Sequence[Block],
    before: Sequence[Stock | None],
    after: tuple[Stock | None, ...],
    changed: Sequence[int],
) -> Load:
    """The load once the stocks of some blocks are others."""
    sums = _Sums(known)
    for number in changed:
        roots = known.roots[blocks[number].span]
        old, new = before[number], after[number]
        if old is not None and new is not None and differ_in_use_alone(old, new):
            sums.follow(roots, new, new.used - old.used)
            continue
        if old is not None:
            sums.enter(roots, old, -1)
        if new is not None:
            sums.enter(roots, new, 1)
    return sums.load(after)


def differ_in_use_alone(one: Stock, other: Stock) -> bool:
    """Whether two stocks are of the same inventories, as they are before and after a claim."""
    return one.providers is other.providers and one.capacities is other.capacities


class _Sums:
    """The columns of a load while they change; those that do not are shared."""

    def __init__(self, known: Load) -> None:
        self._known = known
        self._used = known.used.copy()
        self._capacity = known.capacity
        self._counts = known.counts
        self._touched = [np.zeros(0, dtype=np.int32)]
        self._total = known.total

    def follow(self, roots: IndexArray, stock: Stock, more: AmountArray) -> None:
        """Enter that more of a stock, or less, is used."""
        rows = np.flatnonzero(more)
        self._add(self._used, roots[stock.providers[rows]], more[rows])

    def enter(self, roots: IndexArray, stock: Stock, sign: int) -> None:
        """Enter a stock, or take it out."""
        if self._capacity is self._known.capacity:
            self._capacity, self._counts = self._capacity.copy(), self._counts.copy()
        places = roots[stock.providers]
        self._add(self._used, places, sign * stock.used)
        self._add(self._capacity, places, sign * stock.capacities)
        np.add.at(self._counts, places, sign)

    def _add(self, column: NDArray[np.float64], places: IndexArray, more: AmountArray) -> None:
        units = more.astype(np.float64)
        np.add.at(column, places, units)
        # It only grows: a bound that is too high means at worst to begin anew.
        self._total += float(np.abs(units).sum())
        self._touched.append(places)

    def load(self, stocks: tuple[Stock | None, ...]) -> Load:
        """The load with what was entered."""
        known, where = self._known, np.concatenate(self._touched)
        taken, there, has_some = self._used[where], self._capacity[where], self._counts[where] > 0
        full = np.divide(taken, there, out=np.ones_like(taken), where=there > 0)
        loads, has = known.loads.copy(), known.has
        loads[where] = np.where(has_some, np.clip(full, 0.0, 1.0), 0.0)
        if self._counts is not known.counts:
            has = self._counts > 0
        return Load(
            known.roots,
            stocks,
            frozen(self._used),
            frozen(self._capacity),
            frozen(self._counts),
            frozen(loads),
            frozen(has),
            self._total,
        )
