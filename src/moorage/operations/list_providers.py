"""List resource providers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, cast

import numpy as np

from moorage.candidates.columns import IndexArray
from moorage.candidates.evidence import Evidence, about_tree
from moorage.candidates.filter import filter_providers
from moorage.candidates.snapshot import Snapshot
from moorage.domain.provider import Provider, ProviderFilter
from moorage.operations.services import Services

ROWS_AT_ONCE: Final = 1_000
"""Providers whose columns are read together."""

FEW_MAX: Final = 8
"""Up to so many providers, columns cost more than they save."""


class ListedProvider(NamedTuple):
    """What a listing shows of a provider; a root has no parent."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    root_uuid: str


@dataclass(frozen=True, slots=True)
class ProvidersFound:
    """The providers of a listing: positions in a snapshot, read in parts.

    ``evidence``: while it holds these are the providers, and as they are; None where that depends
    on all others too.
    """

    snapshot: Snapshot
    positions: Sequence[int]
    evidence: Evidence | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def are_few(self) -> bool:
        """Whether reading them one by one, with ``each``, is the cheaper way."""
        return len(self) <= FEW_MAX

    def each(self) -> Sequence[Provider]:
        """The providers in order, all at once."""
        return [self.snapshot.provider(position) for position in self.positions]

    @property
    def modified_at(self) -> datetime | None:
        """When one of them last changed (naive UTC), None for no providers."""
        parts = self.snapshot.split(self._column())
        newest = [block.modified[offsets].max() for block, _, offsets in parts]
        return cast(datetime, max(newest).item()) if newest else None

    def parts(self) -> Iterator[Sequence[ListedProvider]]:
        """The providers in order, some at a time."""
        uuids, names = self.snapshot.uuids, self.snapshot.names
        positions = self._column()
        generations = np.zeros(len(self), dtype=np.int64)
        for block, inside, offsets in self.snapshot.split(positions):
            generations[inside] = block.generations[offsets]
        for first in range(0, len(self), ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            here = positions[part]
            yield [
                ListedProvider(
                    uuids[position],
                    names[position],
                    generation,
                    None if parent < 0 else uuids[parent],
                    uuids[root],
                )
                for position, generation, parent, root in zip(
                    here.tolist(),
                    generations[part].tolist(),
                    self.snapshot.parents[here].tolist(),
                    self.snapshot.roots[here].tolist(),
                    strict=True,
                )
            ]

    def _column(self) -> IndexArray:
        return np.array(self.positions, dtype=np.int32)


def list_providers(services: Services, wanted: ProviderFilter) -> ProvidersFound:
    """The providers for which every part of the filter holds, oldest first.

    Raises:
        UnknownResourceClass, UnknownTraits
    """
    snapshot = services.keeper.current()
    found = _tree_alone(snapshot, wanted)
    if found is None:
        return ProvidersFound(snapshot, filter_providers(snapshot, wanted))
    return ProvidersFound(snapshot, found, about_tree(snapshot, found))


def _tree_alone(snapshot: Snapshot, wanted: ProviderFilter) -> Sequence[int] | None:
    """The answer where nothing is asked for but one tree or one uuid; None where more is.

    Agents ask so all day long: it must not cost a look at every provider's traits and stocks.
    """
    asked = wanted.in_tree or wanted.uuid
    if not asked or wanted != ProviderFilter(uuid=wanted.uuid, in_tree=wanted.in_tree):
        return None
    member = snapshot.positions.get(asked)
    if member is None:
        return ()
    if not wanted.in_tree:
        return (member,)
    tree: list[int] = (snapshot.roots == snapshot.roots[member]).nonzero()[0].tolist()
    if wanted.uuid:
        tree = [position for position in tree if snapshot.uuids[position] == wanted.uuid]
    # Positions are mostly in id order, but one that was given out early may commit late.
    return sorted(tree, key=snapshot.ids.__getitem__) if len(tree) > 1 else tree
