"""A part of the snapshot's columns: what often changes about providers that stand in a row.

A change copies the columns of its block alone, and a search that has found enough leaves the other
blocks unread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.columns import (
    AmountArray,
    IndexArray,
    Mask,
    Stock,
    frozen,
    whole,
)
from moorage.domain.ids import ResourceClassId

BLOCK_BITS: Final = 12
BLOCK_SIZE: Final = 1 << BLOCK_BITS
"""Positions in a block: its columns fit the processor's cache, and are copied in microseconds."""

Stocks = Mapping[ResourceClassId, Stock]

Portions = tuple[tuple[ResourceClassId, int], ...]
"""Units by class that are asked of one provider."""

ROOMS_KEPT_MAX: Final = 8
"""Portions for which a block remembers who has room for them, at 16 KiB each at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns of the providers from position ``first`` on; they are addressed by their offset.

    ``stamps``: a number that is new whenever anything about the provider is.
    """

    first: int
    generations: AmountArray
    modified: NDArray[np.datetime64]
    stamps: AmountArray
    stocks: Stocks
    rooms: dict[Portions, IndexArray] = field(init=False, default_factory=dict, repr=False)
    """The answers of ``providers_with_room``: a cloud has few flavors, and asks for them again."""

    def __len__(self) -> int:
        return self.stamps.size

    @property
    def span(self) -> slice:
        """The positions of the block's providers."""
        return slice(self.first, self.first + len(self))

    def providers_with_room(self, portions: Portions) -> IndexArray:
        """The offsets of the providers that could give out all of this now, ascending."""
        known = self.rooms.get(portions)
        if known is None:
            known = frozen(self._find_room(portions))
            if len(self.rooms) >= ROOMS_KEPT_MAX:
                self.rooms.clear()
            self.rooms[portions] = known
        return known

    def _find_room(self, portions: Portions) -> IndexArray:
        asked: list[tuple[Stock, int]] = []
        for class_id, amount in portions:
            stock = self.stocks.get(class_id)
            if stock is None or amount > stock.portion_max:
                return np.zeros(0, dtype=np.int32)
            asked.append((stock, amount))
        roomy = np.ones(len(self), dtype=np.bool_)
        for stock, amount in asked:
            roomy &= self._by_offset(stock, stock.has_room(amount))
        return roomy.nonzero()[0].astype(np.int32)

    def _by_offset(self, stock: Stock, rows: Mask) -> Mask:
        """A mask over the rows of a stock as one over the block's offsets."""
        if stock.providers.size == len(self):
            return rows
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[stock.providers] = rows
        return mask

    def stamped(self, offsets: Sequence[int], stamp: int) -> AmountArray:
        """The stamps once something about these providers has changed."""
        stamps = self.stamps.copy()
        stamps[offsets] = stamp
        return frozen(stamps)

    def with_class_names(self, names: Mapping[int, str], stamp: int) -> "Block":
        """The same block where classes may have got other names."""
        others = {
            key: replace(stock, resource_class=names[key])
            for key, stock in self.stocks.items()
            if names.get(key, stock.resource_class) != stock.resource_class
        }
        if not others:
            return self
        stocks = {**self.stocks, **others}
        stamps = frozen(np.full(len(self), stamp, dtype=np.int64))
        return replace(self, stocks=stocks, stamps=stamps)


def split_rows(table: NDArray[np.float64], positions: IndexArray) -> dict[int, dict[int, Any]]:
    """Rows of a table by block and class: block -> class id -> (offsets, rows), by offset.

    ``positions``: of the row's provider, negative where it is left out; the class id is column 1.
    """
    classes = whole(table[:, 1])
    blocks = positions >> BLOCK_BITS
    order = np.lexsort((positions, classes, blocks))
    order = order[positions[order] >= 0]
    split: dict[int, dict[int, Any]] = {}
    if not order.size:
        return split
    block, resource_class = blocks[order], classes[order]
    new = (np.diff(block, prepend=-1) != 0) | (np.diff(resource_class, prepend=-1) != 0)
    starts = np.flatnonzero(new).tolist()
    for start, end in zip(starts, [*starts[1:], order.size], strict=True):
        rows = order[start:end]
        offsets = positions[rows] & (BLOCK_SIZE - 1)
        by_class = split.setdefault(int(block[start]), {})
        by_class[int(resource_class[start])] = offsets.astype(np.int32), table[rows]
    return split


def stocks_of(
    offered: Mapping[int, Any], taken: Mapping[int, Any], class_names: Mapping[int, str]
) -> dict[ResourceClassId, Stock]:
    """The stocks of one block from its inventories and usages by class."""
    stocks: dict[ResourceClassId, Stock] = {}
    for class_id, (offsets, rows) in offered.items():
        if class_id not in class_names:
            continue
        stock = Stock.build(class_names[class_id], offsets, rows)
        if class_id in taken:
            used_by, usages = taken[class_id]
            at, which = stock.rows_of(used_by)
            stock = stock.with_used(at, whole(usages[which, 2]))
        stocks[ResourceClassId(class_id)] = stock
    return stocks


def replaced(stocks: Stocks, leaving: Mask, coming: Stocks) -> Stocks:
    """The stocks of a block in which some providers' rows are others now.

    ``leaving``: a mask over the block's offsets.
    """
    changed: dict[ResourceClassId, Stock] = {}
    for class_id, stock in stocks.items():
        rest = stock.without(leaving)
        if class_id in coming:
            changed[class_id] = rest.joined(coming[class_id])
        elif rest.providers.size:
            changed[class_id] = rest
    added = {class_id: stock for class_id, stock in coming.items() if class_id not in stocks}
    return dict(sorted({**changed, **added}.items()))


def by_block(positions: Sequence[int]) -> dict[int, list[int]]:
    """Offsets of positions in their blocks, by block number."""
    split: dict[int, list[int]] = {}
    for position in positions:
        split.setdefault(position >> BLOCK_BITS, []).append(position & (BLOCK_SIZE - 1))
    return split
