"""The snapshot: all providers at one moment, in columns, read-only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Final, cast

import numpy as np

from moorage.candidates.blocks import (
    BLOCK_BITS,
    BLOCK_SIZE,
    Block,
    Stocks,
    split_rows,
    stocks_of,
)
from moorage.candidates.columns import (
    AmountArray,
    IndexArray,
    Mask,
    Stock,
    frozen,
    ints,
    positions_in,
    table,
    whole,
)
from moorage.candidates.fragments import FragmentCache
from moorage.candidates.index import Index
from moorage.candidates.labels import LabelSets
from moorage.candidates.lending import Lending
from moorage.candidates.loads import TreeLoads
from moorage.candidates.rows import (
    AggregateLink,
    GenerationRow,
    ProviderRow,
    Rows,
    TraitLinks,
    UsageRow,
)
from moorage.candidates.trees import Shape, roots_of, shapes_of
from moorage.domain.ids import (
    SHARING_TRAIT,
    AggregateUuid,
    Generation,
    ProviderId,
    ProviderUuid,
    ResourceClassId,
    TraitId,
)
from moorage.domain.inventory import ProviderInventories
from moorage.domain.provider import Provider

WORN_MIN: Final = 4_096
"""So many places of deleted providers are kept, whatever the number of those that exist."""

next_stamp = count(1).__next__


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Every provider with its inventories, usages, traits, aggregates and place in its tree.

    Providers are addressed by their position, which they keep in all snapshots that follow; new
    ones come last, and the places of deleted ones stay empty (not ``alive``). ``parents`` holds
    -1 for roots. ``trait_sets`` and ``aggregate_sets`` hold numbers of sets. ``class_ids`` and
    ``trait_ids`` know every name that exists, in use or not; ``class_ages`` and ``trait_ages`` say
    by id when each last changed (naive UTC), where that is known. ``structure`` is a number that is
    new whenever a provider has come, gone or got another place in its tree. ``is_flat``: no
    provider has a parent, and none shares its inventory.

    The arrays are not writeable; a changed snapshot is a new one that shares what did not change.
    ``uuids`` and the tables of sets are shared by all that follow from one another: they only
    grow, and nothing here points behind what it was when this snapshot was made.
    """

    uuids: Sequence[str]
    names: Sequence[str]
    ids: AmountArray
    alive: Mask
    alive_count: int
    parents: IndexArray
    roots: IndexArray
    trait_sets: IndexArray
    aggregate_sets: IndexArray
    blocks: tuple[Block, ...]
    shapes: Sequence[Shape]
    traits: LabelSets
    trait_names: Mapping[int, str]
    trait_ids: Mapping[str, TraitId]
    trait_ages: Mapping[int, datetime]
    aggregates: LabelSets
    aggregate_uuids: Sequence[str]
    aggregate_labels: Mapping[str, int]
    class_names: Mapping[int, str]
    class_ids: Mapping[str, ResourceClassId]
    class_ages: Mapping[int, datetime]
    positions: Index[str]
    positions_by_id: Index[int]
    lending: Lending
    structure: int
    fragments: FragmentCache = field(default_factory=FragmentCache, repr=False)
    loads: TreeLoads = field(default_factory=TreeLoads, repr=False)
    is_flat: bool = field(init=False)

    def __post_init__(self) -> None:
        stand_alone = not self.sharing.size and all(len(one.parents) == 1 for one in self.shapes)
        object.__setattr__(self, "is_flat", stand_alone)

    @classmethod
    def build(cls, rows: Rows) -> "Snapshot":
        """A snapshot of all rows, which were loaded in one transaction."""
        providers = sorted(rows.providers)
        ids = ints((row.id for row in providers), len(providers))
        parent_ids = (-1 if row.parent_id is None else row.parent_id for row in providers)
        parents, roots = roots_of(positions_in(ids, ints(parent_ids, len(providers))))
        everyone = np.arange(len(providers), dtype=np.int32)
        traits, aggregates = LabelSets(), LabelSets()
        trait_sets = number_traits(traits, rows.traits, ids)
        aggregate_uuids: list[str] = []
        aggregate_labels: dict[str, int] = {}
        links = label_aggregates(rows.aggregates, aggregate_labels, aggregate_uuids)
        aggregate_sets = aggregates.numbers_of(
            providers=positions_in(ids, links[:, 0]), labels=links[:, 1], provider_count=ids.size
        )
        sharing = sharing_among(rows.trait_names, traits, trait_sets)
        return cls(
            uuids=[row.uuid for row in providers],
            names=[row.name for row in providers],
            ids=frozen(ids),
            alive=frozen(np.ones(ids.size, dtype=np.bool_)),
            alive_count=ids.size,
            parents=frozen(parents),
            roots=frozen(roots),
            trait_sets=frozen(trait_sets),
            aggregate_sets=frozen(aggregate_sets),
            blocks=make_blocks(providers, rows, ids),
            shapes=shapes_of(everyone, parents=parents, roots=roots),
            traits=traits,
            trait_names=rows.trait_names,
            trait_ids={name: TraitId(key) for key, name in rows.trait_names.items()},
            trait_ages=rows.trait_ages,
            aggregates=aggregates,
            aggregate_uuids=aggregate_uuids,
            aggregate_labels=aggregate_labels,
            class_names=rows.class_names,
            class_ids={name: ResourceClassId(key) for key, name in rows.class_names.items()},
            class_ages=rows.class_ages,
            positions=Index({row.uuid: at for at, row in enumerate(providers)}),
            positions_by_id=Index({row.id: at for at, row in enumerate(providers)}),
            lending=Lending(
                sharing, roots=roots, aggregates=aggregates, aggregate_sets=aggregate_sets
            ),
            structure=next_stamp(),
        )

    def __len__(self) -> int:
        """The number of positions, those of deleted providers too."""
        return self.ids.size

    @property
    def sharing(self) -> IndexArray:
        """The positions of the sharing providers."""
        return self.lending.sharing

    @property
    def is_worn(self) -> bool:
        """Whether changes have left so much behind that a new snapshot should be built."""
        alive = self.alive_count
        left = max(len(self) - alive, len(self.traits) - alive, len(self.aggregates) - alive)
        return left > alive + WORN_MIN

    def provider(self, index: int) -> Provider:
        """The provider at a position."""
        block, offset = self.blocks[index >> BLOCK_BITS], index & (BLOCK_SIZE - 1)
        parent = int(self.parents[index])
        return Provider(
            id=ProviderId(int(self.ids[index])),
            uuid=ProviderUuid(self.uuids[index]),
            name=self.names[index],
            generation=self.generation_of(index),
            parent_uuid=None if parent < 0 else ProviderUuid(self.uuids[parent]),
            root_uuid=ProviderUuid(self.uuids[self.roots[index]]),
            modified_at=cast(datetime, block.modified[offset].item()),
        )

    def aggregates_of(self, index: int) -> Sequence[AggregateUuid]:
        """The aggregates that the provider at a position is in."""
        labels = self.aggregates.labels_of(int(self.aggregate_sets[index]))
        return [AggregateUuid(self.aggregate_uuids[label]) for label in labels]

    def traits_of(self, index: int) -> Sequence[str]:
        """The traits of the provider at a position, in id order."""
        labels = self.traits.labels_of(int(self.trait_sets[index]))
        return [self.trait_names[label] for label in labels]

    def traits_modified_at(self, index: int) -> datetime | None:
        """When a trait of the provider at a position last changed, None where nothing says so."""
        ages = map(self.trait_ages.get, self.traits.labels_of(int(self.trait_sets[index])))
        return max((age for age in ages if age is not None), default=None)

    def traits_in_use(self) -> Set[int]:
        """The labels of the traits that some provider has."""
        numbers = np.unique(self.trait_sets[self.alive]).tolist()
        return set().union(*map(self.traits.labels_of, numbers))

    def resources_of(self, index: int) -> Mapping[str, tuple[int, int]]:
        """Class name -> (capacity, used) of the provider at a position."""
        return {
            stock.resource_class: (stock.capacity_at(row), int(stock.used[row]))
            for stock, row in self._rows_of(index)
        }

    def inventories_of(self, index: int, *, only: str | None = None) -> ProviderInventories:
        """The inventories of the provider at a position; with ``only``, of that class alone."""
        rows = [
            (stock, row)
            for stock, row in self._rows_of(index)
            if only is None or stock.resource_class == only
        ]
        ages = [age for stock, row in rows if (age := stock.modified_at(row)) is not None]
        return ProviderInventories(
            generation=self.generation_of(index),
            inventories={stock.resource_class: stock.inventory_at(row) for stock, row in rows},
            modified_at=max(ages, default=None),
        )

    def generation_of(self, index: int) -> Generation:
        """The generation of the provider at a position."""
        block = self.blocks[index >> BLOCK_BITS]
        return Generation(int(block.generations[index & (BLOCK_SIZE - 1)]))

    def _rows_of(self, index: int) -> Iterator[tuple[Stock, int]]:
        """The stocks that the provider at a position has a row in, and the row."""
        offset = index & (BLOCK_SIZE - 1)
        for stock in self.blocks[index >> BLOCK_BITS].stocks.values():
            row = stock.row_of(offset)
            if row is not None:
                yield stock, row

    def split(self, providers: IndexArray) -> Iterable[tuple[Block, Mask | slice, IndexArray]]:
        """Positions by block: the block, which of the positions are in it, and their offsets."""
        if not providers.size:
            return
        numbers = providers >> BLOCK_BITS
        offsets = providers & (BLOCK_SIZE - 1)
        first = int(numbers[0])
        if (numbers == first).all():
            # The usual case: a few that are near each other.
            yield self.blocks[first], slice(None), offsets
            return
        for number in np.bincount(numbers).nonzero()[0].tolist():
            inside = numbers == number
            yield self.blocks[number], inside, offsets[inside]

    def ancestors_of(self, index: int) -> list[int]:
        """The provider at a position, its parent, and so on up to the root."""
        path = [index]
        while (parent := int(self.parents[path[-1]])) >= 0:
            path.append(parent)
        return path

    def trait_labels(self, names: Iterable[str]) -> list[int]:
        """The labels of traits that exist."""
        return [self.trait_ids[name] for name in names]

    def known_aggregates(self, uuids: Iterable[str]) -> list[int]:
        """The labels of aggregates; one that no provider was ever in has none."""
        labels = (self.aggregate_labels.get(uuid) for uuid in uuids)
        return [label for label in labels if label is not None]

    def with_usages(
        self, usages: Iterable[UsageRow], generations: Iterable[GenerationRow] = ()
    ) -> "Snapshot":
        """The same providers with other usages and generations.

        Only the columns of their blocks are copied. What is told of unknown providers, and of
        classes without inventory, is left out.
        """
        told: dict[int, tuple[list[Used], list[Aged]]] = {}
        for provider_id, class_id, used in usages:
            position = self.positions_by_id.get(provider_id)
            if position is not None:
                told.setdefault(position >> BLOCK_BITS, ([], []))[0].append(
                    (position & (BLOCK_SIZE - 1), class_id, used)
                )
        for provider_id, generation, modified_at in generations:
            position = self.positions_by_id.get(provider_id)
            if position is not None:
                told.setdefault(position >> BLOCK_BITS, ([], []))[1].append(
                    (position & (BLOCK_SIZE - 1), generation, modified_at)
                )
        blocks, stamp = list(self.blocks), next_stamp()
        for number, (used_now, aged) in told.items():
            blocks[number] = with_told_rows(blocks[number], used_now, aged, stamp)
        return replace(self, blocks=tuple(blocks))


Used = tuple[int, int, int]
"""An offset in a block, a class id, and what is used of the class there."""

Aged = tuple[int, int, datetime]
"""An offset in a block, the generation of the provider there, and since when it has that."""


def with_told_rows(block: Block, usages: Sequence[Used], aged: Sequence[Aged], stamp: int) -> Block:
    """The block with other usages and generations."""
    by_class: dict[int, list[tuple[int, int]]] = {}
    for offset, class_id, used in usages:
        by_class.setdefault(class_id, []).append((offset, used))
    stocks = dict(block.stocks)
    for class_id, pairs in by_class.items():
        stock = stocks.get(ResourceClassId(class_id))
        if stock is not None:
            at, which = stock.rows_of(np.array([offset for offset, _ in pairs], dtype=np.int32))
            amounts = np.array([used for _, used in pairs], dtype=np.int64)
            stocks[ResourceClassId(class_id)] = stock.with_used(at, amounts[which])
    generations, modified = block.generations, block.modified
    if aged:
        generations, modified = generations.copy(), modified.copy()
        for offset, generation, modified_at in aged:
            generations[offset] = generation
            modified[offset] = np.datetime64(modified_at, "us")
    changed = [offset for offset, *_ in (*usages, *aged)]
    return replace(
        block,
        stocks=stocks,
        generations=frozen(generations),
        modified=frozen(modified),
        stamps=block.stamped(changed, stamp),
    )


def number_traits(traits: LabelSets, links: Iterable[TraitLinks], ids: AmountArray) -> IndexArray:
    """The number of each provider's set of traits; a trait's label is its id."""
    owners, numbers = [], []
    known: dict[tuple[int, ...], int] = {}
    for provider_id, trait_ids in links:
        number = known.get(trait_ids)
        if number is None:
            number = known[trait_ids] = traits.number_of(trait_ids)
        owners.append(provider_id)
        numbers.append(number)
    positions = positions_in(ids, np.array(owners, dtype=np.int64))
    column = np.zeros(ids.size, dtype=np.int32)
    column[positions[positions >= 0]] = np.array(numbers, dtype=np.int32)[positions >= 0]
    return column


def label_aggregates(
    links: Iterable[AggregateLink], labels: dict[str, int], uuids: list[str]
) -> AmountArray:
    """Pairs of provider id and label; aggregates that are new are added to both tables."""
    pairs = []
    for provider_id, uuid in links:
        label = labels.get(uuid)
        if label is None:
            label = len(uuids)
            uuids.append(uuid)
            labels[uuid] = label
        pairs.append((provider_id, label))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def sharing_among(
    trait_names: Mapping[int, str], traits: LabelSets, trait_sets: IndexArray
) -> IndexArray:
    """The positions of the providers that share their inventory."""
    labels = [label for label, name in trait_names.items() if name == SHARING_TRAIT]
    table = traits.having_any(labels)
    if not table.any():
        return frozen(np.zeros(0, dtype=np.int32))
    return frozen(np.flatnonzero(table[trait_sets]).astype(np.int32))


def make_blocks(
    providers: Sequence[ProviderRow], rows: Rows, ids: AmountArray
) -> tuple[Block, ...]:
    """The blocks of all providers, which stand in the order of their ids."""
    offered, taken = table(rows.inventories, width=9), table(rows.usages, width=3)
    inventories = split_rows(offered, positions_in(ids, whole(offered[:, 0])))
    usages = split_rows(taken, positions_in(ids, whole(taken[:, 0])))
    stamp = next_stamp()
    return tuple(
        block_of(
            first,
            providers[first : first + BLOCK_SIZE],
            stocks_of(
                inventories.get(first >> BLOCK_BITS, {}),
                usages.get(first >> BLOCK_BITS, {}),
                rows.class_names,
            ),
            stamp,
        )
        for first in range(0, len(providers), BLOCK_SIZE)
    )


def block_of(first: int, providers: Sequence[ProviderRow], stocks: Stocks, stamp: int) -> Block:
    """A block of providers from a position on."""
    return Block(
        first=first,
        generations=frozen(ints((row.generation for row in providers), len(providers))),
        modified=frozen(np.array([row.modified_at for row in providers], dtype="datetime64[us]")),
        stamps=frozen(np.full(len(providers), stamp, dtype=np.int64)),
        stocks=stocks,
    )
