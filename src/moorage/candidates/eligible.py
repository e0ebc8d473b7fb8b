"""Which providers can serve a part of a request by themselves, worked out where it is asked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moorage.candidates.blocks import BLOCK_BITS, Portions
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

    portions: Portions
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
            for number in (wanted & ~self._known).nonzero()[0].tolist():
                self._mask[self._look_at(number)] = True
                self._known[number] = True
        found: Mask = self._mask[providers]
        return found

    def by_block(self) -> Iterator[IndexArray]:
        """The positions that satisfy the ask, ascending, a block at a time."""
        return map(self._look_at, range(len(self._snapshot.blocks)))

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

    def _look_at(self, number: int) -> IndexArray:
        """The positions in a block that satisfy the ask, ascending."""
        ask, snapshot = self._ask, self._snapshot
        block = snapshot.blocks[number]
        if ask.portions:
            # Whoever is gone has nothing left to give out.
            found = block.providers_with_room(ask.portions) + block.first
        else:
            found = (snapshot.alive[block.span].nonzero()[0] + block.first).astype(np.int32)
        if self._traits is not None:
            found = found[self._traits[snapshot.trait_sets[found]]]
        if ask.tree is not None:
            found = found[snapshot.roots[found] == ask.tree]
        if self._members is not None:
            found = found[self._in_any(self._members, found)]
        if self._outcasts is not None:
            found = found[~self._in_any(self._outcasts, found)]
        return found

    def _in_any(self, table: Mask, providers: IndexArray) -> Mask:
        """Which of these positions the table has, by their own aggregates or by their root's."""
        sets = self._snapshot.aggregate_sets
        within: Mask = table[sets[providers]]
        if self._ask.spans:
            within |= table[sets[self._snapshot.roots[providers]]]
        return within


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
