"""Resource providers: nodes of the provider forest."""

from dataclasses import dataclass
from datetime import datetime

from moorage.domain.ids import AggregateUuid, Generation, ProviderId, ProviderUuid


@dataclass(frozen=True, slots=True)
class Provider:
    """One resource provider as the store holds it.

    ``modified_at`` is the time of the last change, or of the creation (naive UTC).
    A provider without a parent is its own root.
    """

    id: ProviderId
    uuid: ProviderUuid
    name: str
    generation: Generation
    parent_uuid: ProviderUuid | None
    root_uuid: ProviderUuid
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ProviderFilter:
    """What a listing of providers asks for; every part that is given must hold.

    ``member_of``: the provider is in at least one aggregate of each set.
    ``required_traits``: the provider has at least one trait of each set.
    ``resources``: free amounts by resource class name, each at least 1.
    """

    name: str | None = None
    uuid: str | None = None
    in_tree: str | None = None
    member_of: tuple[frozenset[AggregateUuid], ...] = ()
    forbidden_aggregates: frozenset[AggregateUuid] = frozenset()
    required_traits: tuple[frozenset[str], ...] = ()
    forbidden_traits: frozenset[str] = frozenset()
    resources: tuple[tuple[str, int], ...] = ()
