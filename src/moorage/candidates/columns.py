"""The columns of a snapshot: read-only NumPy arrays, and what can be asked of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from moorage.domain.inventory import Inventory

IndexArray = NDArray[np.int32]
"""Positions of providers (or labels) in the snapshot."""

AmountArray = NDArray[np.int64]
"""Whole units of a resource class, or row ids."""

Mask = NDArray[np.bool_]
"""One truth value for each provider of the snapshot."""

Column = TypeVar("Column", bound=NDArray[Any])

EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as everywhere here

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


def tell_apart(numbers: NDArray[np.integer[Any]]) -> tuple[list[int], NDArray[np.intp]]:
    """The different ones among numbers from 0 on, ascending, and the place of each among them.

    They are counted rather than sorted: the largest should not be much larger than they are many.
    """
    counts = np.bincount(numbers)
    different = np.flatnonzero(counts)
    places = np.empty(counts.size, dtype=np.intp)
    places[different] = np.arange(different.size)
    return different.tolist(), places[numbers]


def positions_in(known: NDArray[Any], wanted: NDArray[Any]) -> IndexArray:
    """Where each wanted value stands in the sorted known ones; -1 where it does not."""
    if not known.size:
        return np.full(wanted.size, -1, dtype=np.int32)
    positions = np.searchsorted(known, wanted)
    positions[positions == known.size] = 0
    return np.where(known[positions] == wanted, positions, -1).astype(np.int32)


def extended(column: Column, count: int, fill: Any) -> Column:
    """A writeable copy with ``count`` more values at its end."""
    return np.concatenate([column, np.full(count, fill, dtype=column.dtype)])  # type: ignore[return-value]


def capacities(
    total: AmountArray, reserved: AmountArray, ratio: NDArray[np.float64]
) -> AmountArray:
    """(total - reserved) * ratio, cut to whole units exactly as ``Inventory.capacity`` does."""
    exact: NDArray[np.float64] = np.nan_to_num(np.trunc((total - reserved) * ratio), nan=0.0)
    cut: NDArray[np.float64] = np.clip(exact, -CAPACITY_COLUMN_MAX, CAPACITY_COLUMN_MAX)
    return cut.astype(np.int64)


def largest_portion(max_units: AmountArray) -> int:
    """The most that any of these inventories gives out as one portion, whatever room it has."""
    return int(max_units.max(initial=0))


GRANTS_KEPT_MAX: Final = 4
"""Amounts for which a stock remembers whose units allow them, at 4 KiB each at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """The inventories of one resource class in one block, a row for each provider that has one.

    ``providers`` are offsets in the block, ascending; the other columns stand beside it.
    ``capacities`` and ``used`` are in whole units of the class; ``modified_s`` is when the
    inventory last changed, in whole seconds since 1970, 0 where that is not known. None of these
    inventories gives out a portion above ``portion_max``. What is used may be less than nothing, in
    a snapshot as a move sees it, so that there may be room for more than the capacity.
    """

    resource_class: str
    providers: IndexArray
    totals: AmountArray
    reserved: AmountArray
    min_units: AmountArray
    max_units: AmountArray
    step_sizes: AmountArray
    allocation_ratios: NDArray[np.float64]
    modified_s: AmountArray
    capacities: AmountArray
    used: AmountArray
    portion_max: int
    grants: dict[int, Mask] = field(default_factory=dict, repr=False)
    """For some amounts the rows whose units allow it: the same ones, however much is used."""

    @classmethod
    def build(
        cls, resource_class: str, providers: IndexArray, offered: NDArray[np.float64]
    ) -> "Stock":
        """A stock of which nothing is used; ``offered`` has the columns of ``InventoryRow``."""
        totals, reserved, min_units, max_units, step_sizes = (
            frozen(whole(offered[:, position])) for position in range(2, 7)
        )
        ratios = frozen(offered[:, 7].copy())
        return cls(
            resource_class=resource_class,
            providers=frozen(providers),
            totals=totals,
            reserved=reserved,
            min_units=min_units,
            max_units=max_units,
            step_sizes=step_sizes,
            allocation_ratios=ratios,
            modified_s=frozen(whole(offered[:, 8])),
            capacities=frozen(capacities(totals, reserved, ratios)),
            used=frozen(np.zeros(providers.size, dtype=np.int64)),
            portion_max=largest_portion(max_units),
        )

    def rows_of(self, providers: NDArray[Any]) -> tuple[IndexArray, NDArray[np.intp]]:
        """The rows of those providers that have the class, and where each stood in the argument."""
        size = self.providers.size
        if size and self.providers[-1] == size - 1:
            # All that there are up to the last one, as is usual.
            found = (providers < size).nonzero()[0]
            return providers[found], found
        rows = positions_in(self.providers, providers)
        found = (rows >= 0).nonzero()[0]
        return rows[found], found

    def has_room(self, amount: int) -> Mask:
        """For each row whether it could give out this amount now, as one portion.

        Args:
            amount: at most ``portion_max``; no row gives out more.
        """
        assert amount <= self.portion_max
        granting = self.grants.get(amount)
        if granting is None:
            granting = self._find_granting(amount)
            if len(self.grants) >= GRANTS_KEPT_MAX:
                self.grants.clear()
            self.grants[amount] = granting
        return granting & (self.capacities - self.used >= amount)

    def _find_granting(self, amount: int) -> Mask:
        """For each row whether its units allow this amount as one portion."""
        fits: Mask = (
            (self.min_units <= amount)
            & (self.max_units >= amount)
            & (amount % self.step_sizes == 0)
        )
        return frozen(fits)

    def capacity_at(self, row: int) -> int:
        """The capacity of a row, also where it does not fit the column."""
        if abs(int(self.capacities[row])) < CAPACITY_COLUMN_MAX:
            return int(self.capacities[row])
        return int(int(self.totals[row] - self.reserved[row]) * float(self.allocation_ratios[row]))

    def row_of(self, provider: int) -> int | None:
        """The row of a provider by its offset in the block, None if it has none of the class."""
        row = int(self.providers.searchsorted(np.int32(provider)))
        return row if row < self.providers.size and self.providers[row] == provider else None

    def inventory_at(self, row: int) -> Inventory:
        """The inventory in a row."""
        return Inventory(
            total=int(self.totals[row]),
            reserved=int(self.reserved[row]),
            min_unit=int(self.min_units[row]),
            max_unit=int(self.max_units[row]),
            step_size=int(self.step_sizes[row]),
            allocation_ratio=float(self.allocation_ratios[row]),
        )

    def modified_at(self, row: int) -> datetime | None:
        """When the inventory in a row last changed (naive UTC), None where that is not known."""
        seconds = int(self.modified_s[row])
        return EPOCH + timedelta(seconds=seconds) if seconds else None

    def with_used(self, rows: NDArray[Any], used: AmountArray) -> "Stock":
        """The same stock with other usages in some rows."""
        column = self.used.copy()
        column[rows] = used
        return replace(self, used=frozen(column))

    def without(self, leaving: Mask) -> "Stock":
        """The same stock without the rows of some providers, a mask over the block's offsets."""
        keep = ~leaving[self.providers]
        if keep.all():
            return self
        return self._with_rows(lambda column, _: column[keep], self)

    def joined(self, other: "Stock") -> "Stock":
        """This stock and that of other providers together."""
        order = np.argsort(np.concatenate([self.providers, other.providers]), kind="stable")
        return self._with_rows(lambda mine, its: np.concatenate([mine, its])[order], other)

    def _with_rows(self, take: Any, other: "Stock") -> "Stock":
        columns = {
            name: frozen(take(getattr(self, name), getattr(other, name)))
            for name in (
                "providers",
                "totals",
                "reserved",
                "min_units",
                "max_units",
                "step_sizes",
                "allocation_ratios",
                "modified_s",
                "capacities",
                "used",
            )
        }
        portion_max = largest_portion(columns["max_units"])
        return Stock(self.resource_class, **columns, portion_max=portion_max)
