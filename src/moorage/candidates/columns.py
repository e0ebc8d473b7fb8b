"""The columns of a snapshot: read-only NumPy arrays, and what can be asked of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int32]
"""Positions of providers (or labels) in the snapshot."""

AmountArray = NDArray[np.int64]
"""Whole units of a resource class, or row ids."""

Mask = NDArray[np.bool_]
"""One truth value for each provider of the snapshot."""

Column = TypeVar("Column", bound=NDArray[Any])

CAPACITY_COLUMN_MAX: Final = 2**62
"""Larger capacities are cut to this in the column, so that sums never leave 64 bits."""


def frozen(column: Column) -> Column:
    """The same array, from now on not writeable."""
    column.setflags(write=False)
    return column


def ints(values: Iterable[int], count: int) -> AmountArray:
    """A column of ``count`` whole numbers."""
    return np.fromiter(values, dtype=np.int64, count=count)


def table(rows: Iterable[tuple[float, ...]], *, width: int) -> NDArray[np.float64]:
    """Rows of numbers, each ``width`` long, as an array; whole numbers are exact below 2**53.

    The rows are read once and never held together, so that millions may come from a cursor.
    """
    return np.fromiter(chain.from_iterable(rows), dtype=np.float64).reshape(-1, width)


def whole(column: NDArray[np.float64]) -> AmountArray:
    """A column of a table as whole numbers."""
    return column.astype(np.int64)


def positions_in(known: NDArray[Any], wanted: NDArray[Any]) -> IndexArray:
    """Where each wanted value stands in the sorted known ones; -1 where it does not."""
    if not known.size:
        return np.full(wanted.size, -1, dtype=np.int32)
    positions = np.searchsorted(known, wanted)
    positions[positions == known.size] = 0
    return np.where(known[positions] == wanted, positions, -1).astype(np.int32)


def capacities(
    total: AmountArray, reserved: AmountArray, ratio: NDArray[np.float64]
) -> AmountArray:
    """(total - reserved) * ratio, cut to whole units exactly as ``Inventory.capacity`` does."""
    exact: NDArray[np.float64] = np.nan_to_num(np.trunc((total - reserved) * ratio), nan=0.0)
    cut: NDArray[np.float64] = np.clip(exact, -CAPACITY_COLUMN_MAX, CAPACITY_COLUMN_MAX)
    return cut.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Which labels (traits, or aggregates) each provider has, readable from both sides.

    Two compressed sparse rows: the labels of provider p are
    ``labels[label_starts[p]:label_starts[p + 1]]``, ascending; the providers of a label likewise.
    """

    label_starts: AmountArray
    labels: IndexArray
    provider_starts: AmountArray
    providers: IndexArray

    @classmethod
    def build(
        cls, *, providers: IndexArray, labels: IndexArray, provider_count: int, label_count: int
    ) -> "Links":
        """Links from pairs in any order; pairs with a negative position are left out."""
        known = (providers >= 0) & (labels >= 0)
        pairs = np.sort(providers[known].astype(np.int64) * max(label_count, 1) + labels[known])
        # Cheaper than np.unique, which hashes: millions of links come in order or nearly so.
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        linked, label = np.divmod(pairs, max(label_count, 1))
        by_label = np.argsort(label, kind="stable")
        return cls(
            label_starts=frozen(np.searchsorted(linked, np.arange(provider_count + 1))),
            labels=frozen(label.astype(np.int32)),
            provider_starts=frozen(np.searchsorted(label[by_label], np.arange(label_count + 1))),
            providers=frozen(linked[by_label].astype(np.int32)),
        )

    def labels_of(self, provider: int) -> IndexArray:
        """The labels of one provider, ascending."""
        return self.labels[self.label_starts[provider] : self.label_starts[provider + 1]]

    def providers_of(self, label: int) -> IndexArray:
        """The providers that have the label, ascending."""
        return self.providers[self.provider_starts[label] : self.provider_starts[label + 1]]

    def mask_any(self, labels: Iterable[int]) -> Mask:
        """True for the providers that have at least one of the labels."""
        mask = np.zeros(self.label_starts.size - 1, dtype=np.bool_)
        for label in labels:
            mask[self.providers_of(label)] = True
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """All inventories of one resource class, one row for each provider that has one.

    ``providers`` is ascending and the other columns stand beside it. ``capacities`` and ``used``
    are in whole units of the class.
    """

    resource_class: str
    providers: IndexArray
    totals: AmountArray
    reserved: AmountArray
    min_units: AmountArray
    max_units: AmountArray
    step_sizes: AmountArray
    allocation_ratios: NDArray[np.float64]
    capacities: AmountArray
    used: AmountArray

    def rows_of(self, providers: NDArray[Any]) -> tuple[IndexArray, NDArray[np.intp]]:
        """The rows of those providers that have the class, and where each stood in the argument."""
        if not self.providers.size:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.intp)
        rows = positions_in(self.providers, providers)
        found = np.flatnonzero(rows >= 0)
        return rows[found], found

    def row_of(self, provider: int) -> int:
        """The row of a provider that has the class."""
        # A key of the column's own type: for any other NumPy would convert the whole column.
        return int(self.providers.searchsorted(np.int32(provider)))

    def providers_with_room(self, amount: int) -> IndexArray:
        """The providers that could give out this amount now, as one portion."""
        if amount > CAPACITY_COLUMN_MAX:
            return self.providers[:0]
        fits: Mask = (
            (self.capacities - self.used >= amount)
            & (self.min_units <= amount)
            & (self.max_units >= amount)
            & (amount % self.step_sizes == 0)
        )
        found: IndexArray = self.providers[fits]
        return found

    def room_at(self, provider: int) -> int:
        """The most units that one consumer could take from a provider that has the class."""
        row = self.row_of(provider)
        free = int(self.capacities[row]) - int(self.used[row])
        return min(free, int(self.max_units[row]))

    def capacity_at(self, row: int) -> int:
        """The capacity of a row, also where it does not fit the column."""
        if abs(int(self.capacities[row])) < CAPACITY_COLUMN_MAX:
            return int(self.capacities[row])
        return int(int(self.totals[row] - self.reserved[row]) * float(self.allocation_ratios[row]))

    def with_used(self, rows: NDArray[Any], used: AmountArray) -> "Stock":
        """The same stock with other usages in some rows."""
        column = self.used.copy()
        column[rows] = used
        return replace(self, used=frozen(column))
