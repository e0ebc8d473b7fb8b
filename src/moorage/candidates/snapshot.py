"""The snapshot: all providers at one moment, in columns, read-only."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.columns import (
    AmountArray,
    IndexArray,
    Links,
    Mask,
    Stock,
    capacities,
    frozen,
    ints,
    positions_in,
    table,
    whole,
)
from moorage.candidates.fragments import FragmentCache
from moorage.domain.ids import (
    SHARING_TRAIT,
    AggregateUuid,
    Generation,
    ProviderId,
    ProviderUuid,
    ResourceClassId,
    TraitId,
)
from moorage.domain.provider import Provider

_stamps = count(1)


class ProviderRow(NamedTuple):
    """A provider as the store loads it; ``modified_at`` is naive UTC."""

    id: int
    uuid: str
    name: str
    generation: int
    parent_id: int | None
    root_id: int
    modified_at: datetime


class InventoryRow(NamedTuple):
    """An inventory as the store loads it, in whole units of its class."""

    provider_id: int
    class_id: int
    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float


class UsageRow(NamedTuple):
    """The units of a class in use on a provider, over all consumers."""

    provider_id: int
    class_id: int
    used: int


class TraitLink(NamedTuple):
    """A provider has a trait."""

    provider_id: int
    trait_id: int


class AggregateLink(NamedTuple):
    """A provider is in an aggregate."""

    provider_id: int
    aggregate_uuid: str


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Every provider with its inventories, usages, traits, aggregates and place in its tree.

    Providers are addressed by their position in id order. ``parents`` holds -1 for roots.
    ``class_ids`` and ``trait_ids`` know every name that exists, in use or not. The arrays are not
    writeable; a changed snapshot is a new one that shares the columns that did not change.
    """

    uuids: Sequence[str]
    names: Sequence[str]
    ids: AmountArray
    generations: AmountArray
    modified: NDArray[np.datetime64]
    parents: IndexArray
    roots: IndexArray
    tree_order: IndexArray
    tree_starts: AmountArray
    stocks: Mapping[ResourceClassId, Stock]
    traits: Links
    trait_names: Sequence[str]
    trait_positions: Mapping[str, int]
    aggregates: Links
    aggregate_uuids: Sequence[str]
    aggregate_positions: Mapping[str, int]
    class_ids: Mapping[str, ResourceClassId]
    trait_ids: Mapping[str, TraitId]
    positions: Mapping[str, int]
    sharing: IndexArray
    has_trees: bool
    stamps: AmountArray
    # A memo of what roots and aggregates alone decide; copies that keep both may keep it.
    anchors: dict[int, IndexArray] = field(default_factory=dict, repr=False)
    fragments: FragmentCache = field(default_factory=FragmentCache, repr=False)

    @classmethod
    def build(
        cls,
        providers: Iterable[ProviderRow],
        inventories: Iterable[InventoryRow],
        usages: Iterable[UsageRow],
        traits: Iterable[TraitLink],
        aggregates: Iterable[AggregateLink],
        *,
        class_names: Mapping[int, str],
        trait_names: Mapping[int, str],
    ) -> "Snapshot":
        """A snapshot of rows that were loaded in one transaction, each kind in any order.

        Args:
            class_names: every resource class by its id.
            trait_names: every trait by its id.
        """
        rows = sorted(providers)
        ids = ints((row.id for row in rows), len(rows))
        parents, roots = place_in_trees(rows, ids)
        tree_order = np.argsort(roots, kind="stable").astype(np.int32)
        aggregate_links, aggregate_positions = link_aggregates(list(aggregates), ids)
        trait_links, names = link_traits(traits, ids, trait_names)
        trait_positions = {name: position for position, name in enumerate(names)}
        sharing_label = trait_positions.get(SHARING_TRAIT)
        no_providers = np.zeros(0, dtype=np.int32)
        return cls(
            uuids=tuple(row.uuid for row in rows),
            names=tuple(row.name for row in rows),
            ids=frozen(ids),
            generations=frozen(ints((row.generation for row in rows), len(rows))),
            modified=frozen(np.array([row.modified_at for row in rows], dtype="datetime64[us]")),
            parents=frozen(parents),
            roots=frozen(roots),
            tree_order=frozen(tree_order),
            tree_starts=frozen(np.searchsorted(roots[tree_order], np.arange(len(rows) + 1))),
            stocks=take_stock(inventories, usages, ids, class_names),
            traits=trait_links,
            trait_names=names,
            trait_positions=trait_positions,
            aggregates=aggregate_links,
            aggregate_uuids=tuple(aggregate_positions),
            aggregate_positions=aggregate_positions,
            class_ids={name: ResourceClassId(key) for key, name in class_names.items()},
            trait_ids={name: TraitId(key) for key, name in trait_names.items()},
            positions={row.uuid: position for position, row in enumerate(rows)},
            sharing=(
                no_providers if sharing_label is None else trait_links.providers_of(sharing_label)
            ),
            has_trees=bool((parents >= 0).any()),
            stamps=frozen(np.zeros(len(rows), dtype=np.int64)),
        )

    def __len__(self) -> int:
        return len(self.uuids)

    @property
    def is_flat(self) -> bool:
        """Whether no provider has a parent and none shares its inventory."""
        return not self.has_trees and not self.sharing.size

    def provider(self, index: int) -> Provider:
        """The provider at a position."""
        parent = int(self.parents[index])
        return Provider(
            id=ProviderId(int(self.ids[index])),
            uuid=ProviderUuid(self.uuids[index]),
            name=self.names[index],
            generation=Generation(int(self.generations[index])),
            parent_uuid=None if parent < 0 else ProviderUuid(self.uuids[parent]),
            root_uuid=ProviderUuid(self.uuids[self.roots[index]]),
            modified_at=cast(datetime, self.modified[index].item()),
        )

    def stamps_of(self, providers: IndexArray) -> list[int]:
        """For each position a number that changes with everything about its provider."""
        stamps: list[int] = self.stamps[providers].tolist()
        return stamps

    def aggregates_of(self, index: int) -> Sequence[AggregateUuid]:
        """The aggregates that the provider at a position is in."""
        labels = self.aggregates.labels_of(index).tolist()
        return [AggregateUuid(self.aggregate_uuids[label]) for label in labels]

    def traits_of(self, index: int) -> Sequence[str]:
        """The traits of the provider at a position, in id order."""
        return [self.trait_names[label] for label in self.traits.labels_of(index).tolist()]

    def tree_members(self, root: int) -> IndexArray:
        """Every provider of the tree with this root."""
        return self.tree_order[self.tree_starts[root] : self.tree_starts[root + 1]]

    def ancestors_of(self, index: int) -> list[int]:
        """The provider at a position, its parent, and so on up to the root."""
        path = [index]
        while (parent := int(self.parents[path[-1]])) >= 0:
            path.append(parent)
        return path

    def anchors_of(self, sharing: int) -> IndexArray:
        """The roots of the other trees that a sharing provider lends its inventory to.

        These are the trees with a provider, root or not, in one of the sharing provider's own
        aggregates.
        """
        known = self.anchors.get(sharing)
        if known is not None:
            return known
        members = self.aggregates.mask_any(self.aggregates.labels_of(sharing).tolist())
        served = np.zeros(len(self), dtype=np.bool_)
        served[self.roots[members]] = True
        served[self.roots[sharing]] = False
        anchors = frozen(np.flatnonzero(served).astype(np.int32))
        self.anchors[sharing] = anchors
        return anchors

    def mask_any_trait(self, names: Iterable[str]) -> Mask:
        """True for the providers that have at least one of these traits."""
        return self.traits.mask_any(self.trait_positions[name] for name in names)

    def mask_any_aggregate(self, aggregates: Iterable[str]) -> Mask:
        """True for the providers in at least one of these aggregates; unknown ones are empty."""
        known = (self.aggregate_positions.get(uuid) for uuid in aggregates)
        return self.aggregates.mask_any(label for label in known if label is not None)

    def with_usages(self, usages: Iterable[UsageRow]) -> "Snapshot":
        """The same providers with other usages; all columns but the changed ones are shared.

        A usage of a provider or a class without inventory is ignored, as it is in ``build``.
        """
        usages = list(usages)
        stamps = self.stamps.copy()
        touched = positions_in(self.ids, ints((row[0] for row in usages), len(usages)))
        stamps[touched[touched >= 0]] = next(_stamps)
        by_class: dict[int, list[UsageRow]] = defaultdict(list)
        for row in usages:
            by_class[row.class_id].append(row)
        stocks = dict(self.stocks)
        for class_id, rows in by_class.items():
            stock = stocks.get(ResourceClassId(class_id))
            if stock is None:
                continue
            changed = table(rows, width=3)
            at, which = stock.rows_of(positions_in(self.ids, whole(changed[:, 0])))
            stocks[ResourceClassId(class_id)] = stock.with_used(at, whole(changed[which, 2]))
        return replace(self, stocks=stocks, stamps=frozen(stamps))


def place_in_trees(rows: Sequence[ProviderRow], ids: AmountArray) -> tuple[IndexArray, IndexArray]:
    """The positions of each provider's parent (-1: none) and root."""
    parent_ids = ints((-1 if row.parent_id is None else row.parent_id for row in rows), len(rows))
    roots = positions_in(ids, ints((row.root_id for row in rows), len(rows)))
    own = np.arange(len(rows), dtype=np.int32)
    return positions_in(ids, parent_ids), np.where(roots < 0, own, roots).astype(np.int32)


def link_aggregates(
    links: Sequence[AggregateLink], ids: AmountArray
) -> tuple[Links, Mapping[str, int]]:
    """The links to aggregates, and the position of each aggregate that is in use."""
    positions: dict[str, int] = {}
    labels = ints((positions.setdefault(row[1], len(positions)) for row in links), len(links))
    built = Links.build(
        providers=positions_in(ids, ints((row[0] for row in links), len(links))),
        labels=labels.astype(np.int32),
        provider_count=ids.size,
        label_count=len(positions),
    )
    return built, positions


def link_traits(
    links: Iterable[TraitLink], ids: AmountArray, names: Mapping[int, str]
) -> tuple[Links, Sequence[str]]:
    """The links to traits, and the names of the traits by position, in id order."""
    trait_ids = sorted(names)
    pairs = table(links, width=2)
    built = Links.build(
        providers=positions_in(ids, whole(pairs[:, 0])),
        labels=positions_in(ints(trait_ids, len(trait_ids)), whole(pairs[:, 1])),
        provider_count=ids.size,
        label_count=len(trait_ids),
    )
    return built, tuple(names[trait_id] for trait_id in trait_ids)


def take_stock(
    inventories: Iterable[InventoryRow],
    usages: Iterable[UsageRow],
    ids: AmountArray,
    class_names: Mapping[int, str],
) -> Mapping[ResourceClassId, Stock]:
    """The inventories by class, with their usages."""
    offered, taken = table(inventories, width=8), table(usages, width=3)
    providers = positions_in(ids, whole(offered[:, 0]))
    used_by = positions_in(ids, whole(taken[:, 0]))
    usage_rows = rows_by_class(whole(taken[:, 1]), used_by)
    stocks: dict[ResourceClassId, Stock] = {}
    for class_id, rows in rows_by_class(whole(offered[:, 1]), providers).items():
        if class_id not in class_names:
            continue
        stock = stock_of(class_names[class_id], providers[rows], offered[rows])
        if class_id in usage_rows:
            used_rows = usage_rows[class_id]
            at, which = stock.rows_of(used_by[used_rows])
            stock = stock.with_used(at, whole(taken[used_rows, 2])[which])
        stocks[ResourceClassId(class_id)] = stock
    return stocks


def rows_by_class(classes: AmountArray, providers: IndexArray) -> dict[int, NDArray[np.intp]]:
    """The rows of each class, by ascending provider; rows of unknown providers are left out."""
    order = np.lexsort((providers, classes))
    order = order[providers[order] >= 0]
    found, starts = np.unique(classes[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=False))


def stock_of(resource_class: str, providers: IndexArray, offered: NDArray[np.float64]) -> Stock:
    """A stock without usages; the columns of ``offered`` are those of ``InventoryRow``."""
    totals, reserved, min_units, max_units, step_sizes = (
        frozen(whole(offered[:, position])) for position in range(2, 7)
    )
    ratios = frozen(offered[:, 7].copy())
    return Stock(
        resource_class=resource_class,
        providers=frozen(providers),
        totals=totals,
        reserved=reserved,
        min_units=min_units,
        max_units=max_units,
        step_sizes=step_sizes,
        allocation_ratios=ratios,
        capacities=frozen(capacities(totals, reserved, ratios)),
        used=frozen(np.zeros(providers.size, dtype=np.int64)),
    )
