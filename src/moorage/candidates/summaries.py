"""What the answer tells about the providers around its candidates."""

from collections.abc import Sequence

import numpy as np

from moorage.candidates.columns import IndexArray
from moorage.candidates.request import ProviderSummary
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ProviderUuid


def trees_of(snapshot: Snapshot, providers: IndexArray) -> IndexArray:
    """Every provider of the trees that these providers are in, ascending."""
    in_use = np.zeros(len(snapshot), dtype=np.bool_)
    in_use[snapshot.roots[providers]] = True
    return np.flatnonzero(in_use[snapshot.roots]).astype(np.int32)


def summarize(snapshot: Snapshot, providers: IndexArray) -> Sequence[ProviderSummary]:
    """A summary of each provider, in their order, with all its resource classes and traits."""
    resources = resources_of(snapshot, providers)
    traits = traits_of(snapshot, providers)
    uuids = snapshot.uuids
    return [
        ProviderSummary(
            uuid=ProviderUuid(uuids[index]),
            resources=resources[position],
            traits=traits[position],
            parent_uuid=None if parent < 0 else ProviderUuid(uuids[parent]),
            root_uuid=ProviderUuid(uuids[root]),
        )
        for position, (index, parent, root) in enumerate(
            zip(
                providers.tolist(),
                snapshot.parents[providers].tolist(),
                snapshot.roots[providers].tolist(),
                strict=True,
            )
        )
    ]


def resources_of(snapshot: Snapshot, providers: IndexArray) -> Sequence[dict[str, tuple[int, int]]]:
    """For each provider: class name -> (capacity, used)."""
    resources: list[dict[str, tuple[int, int]]] = [{} for _ in range(providers.size)]
    for stock in snapshot.stocks.values():
        rows, positions = stock.rows_of(providers)
        for row, used, position in zip(
            rows.tolist(), stock.used[rows].tolist(), positions.tolist(), strict=True
        ):
            resources[position][stock.resource_class] = (stock.capacity_at(row), used)
    return resources


def traits_of(snapshot: Snapshot, providers: IndexArray) -> Sequence[tuple[str, ...]]:
    """For each provider: the names of its traits, in id order.

    Hosts of one model have the same traits, so that each distinct set is made only once.
    """
    made: dict[bytes, tuple[str, ...]] = {}
    traits = []
    for index in providers.tolist():
        labels = snapshot.traits.labels_of(index)
        key = labels.tobytes()
        if key not in made:
            made[key] = tuple(snapshot.trait_names[label] for label in labels.tolist())
        traits.append(made[key])
    return traits
