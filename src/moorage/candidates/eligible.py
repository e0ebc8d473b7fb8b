"""Which providers can serve a part of a request by themselves, worked out where it is asked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moorage.candidates.blocks import BLOCK_BITS, Block
from moorage.candidates.columns import AmountArray, IndexArray, Mask
from moorage.candidates.labels import covering
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ResourceClassId

Labels = frozenset[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of one provider; equal parts of a request ask the same.

    ``portions``: units by class. ``required``, ``member_of``: at least one of each set.
    ``tree``: the root of the only tree allowed. ``spans``: the root's aggregates are its tree's:
    membership of the root counts for all below it, and a forbidden aggregate of the root bars all.
    """

    portions: tuple[tuple[ResourceClassId, int], ...]
    required: tuple[Labels, ...] = ()
    forbidden: Labels = frozenset()
    member_of: tuple[Labels, ...] = ()
    outcast_of: Labels = frozenset()
    tree: int | None = None
    spans: bool = False


class Eligible:
    """The providers that satisfy an ask, found block by block and remembered."""

    def __init__(self, snapshot: Snapshot, ask: Ask) -> None:
        self._snapshot = snapshot
        self._ask = ask
        self._mask = np.zeros(len(snapshot), dtype=np.bool_)
        self._known = np.zeros(len(snapshot.blocks), dtype=np.bool_)
        self._traits = self._trait_table()
        self._members, self._outcasts = self._aggregate_tables()

    def at(self, providers: IndexArray) -> Mask:
        """Which of these positions, in any shape of array, satisfy the ask."""
        if not self._known.all():
            wanted = np.zeros(self._known.size, dtype=np.bool_)
            wanted[providers >> BLOCK_BITS] = True
            for number in np.flatnonzero(wanted & ~self._known).tolist():
                self._look_at(number)
        found: Mask = self._mask[providers]
        return found

    def by_block(self) -> Iterator[IndexArray]:
        """The positions that satisfy the ask, ascending, a block at a time."""
        for number, block in enumerate(self._snapshot.blocks):
            if not self._known[number]:
                self._look_at(number)
            yield (np.flatnonzero(self._mask[block.span]) + block.first).astype(np.int32)

    def bars(self, roots: IndexArray) -> Mask | None:
        """The roots whose trees are barred by an aggregate of the root; None: none can be."""
        if not self._ask.spans or self._outcasts is None:
            return None
        barred: Mask = self._outcasts[self._snapshot.aggregate_sets[roots]]
        return barred

    def _trait_table(self) -> Mask | None:
        """For each set of traits whether it will do; None: any will."""
        ask, snapshot = self._ask, self._snapshot
        if not ask.required and not ask.forbidden:
            return None
        table = covering(snapshot.traits, map(snapshot.trait_labels, ask.required))
        tainted = snapshot.traits.having_any(snapshot.trait_labels(ask.forbidden))
        return table & ~tainted[: table.size]

    def _aggregate_tables(self) -> tuple[Mask | None, Mask | None]:
        """For each set of aggregates whether it makes a member, and whether an outcast."""
        ask, snapshot = self._ask, self._snapshot
        members = outcasts = None
        if ask.member_of:
            members = covering(snapshot.aggregates, map(snapshot.known_aggregates, ask.member_of))
        if ask.outcast_of:
            outcasts = snapshot.aggregates.having_any(snapshot.known_aggregates(ask.outcast_of))
        return members, outcasts

    def _look_at(self, number: int) -> None:
        block = self._snapshot.blocks[number]
        self._mask[block.span] = self._find_in(block)
        self._known[number] = True

    def _find_in(self, block: Block) -> Mask:
        snapshot, span = self._snapshot, block.span
        mask = snapshot.alive[span].copy()
        for class_id, amount in self._ask.portions:
            stock = block.stocks.get(class_id)
            if stock is None:
                return np.zeros(mask.size, dtype=np.bool_)
            roomy = np.zeros(mask.size, dtype=np.bool_)
            roomy[stock.providers_with_room(amount)] = True
            mask &= roomy
        if self._traits is not None:
            mask &= self._traits[snapshot.trait_sets[span]]
        if self._ask.tree is not None:
            mask &= snapshot.roots[span] == self._ask.tree
        if self._members is not None:
            member = self._members[snapshot.aggregate_sets[span]]
            if self._ask.spans:
                member |= self._members[snapshot.aggregate_sets[snapshot.roots[span]]]
            mask &= member
        if self._outcasts is not None:
            mask &= ~self._outcasts[snapshot.aggregate_sets[span]]
            if self._ask.spans:
                mask &= ~self._outcasts[snapshot.aggregate_sets[snapshot.roots[span]]]
        return mask


def rooms_at(snapshot: Snapshot, class_id: ResourceClassId, providers: IndexArray) -> AmountArray:
    """The most units that one consumer could take of each provider; 0 without room or class.

    ``providers``: positions in any shape of array.
    """
    flat = providers.ravel()
    rooms = np.zeros(flat.size, dtype=np.int64)
    places = np.arange(flat.size)
    for block, inside, offsets in snapshot.split(flat):
        stock = block.stocks.get(class_id)
        if stock is not None:
            rows, found = stock.rows_of(offsets)
            free = stock.capacities[rows] - stock.used[rows]
            # What is over-full has no room; the search reckons with what there is.
            rooms[places[inside][found]] = np.maximum(np.minimum(free, stock.max_units[rows]), 0)
    return rooms.reshape(providers.shape)
