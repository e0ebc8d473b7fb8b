"""The rows that snapshots are made of, as the store loads them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class ProviderRow(NamedTuple):
    """A provider; ``modified_at`` is naive UTC."""

    id: int
    uuid: str
    name: str
    generation: int
    parent_id: int | None
    modified_at: datetime


class InventoryRow(NamedTuple):
    """An inventory, in whole units of its class.

    ``modified_s``: when it last changed, in whole seconds since 1970; 0 where that is not known.
    """

    provider_id: int
    class_id: int
    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float
    modified_s: int = 0


class UsageRow(NamedTuple):
    """The units of a class in use on a provider, over all consumers."""

    provider_id: int
    class_id: int
    used: int


class GenerationRow(NamedTuple):
    """A provider's generation, and when it last changed (naive UTC)."""

    provider_id: int
    generation: int
    modified_at: datetime


class TraitLinks(NamedTuple):
    """All traits of a provider that has some."""

    provider_id: int
    trait_ids: tuple[int, ...]


class AggregateLink(NamedTuple):
    """A provider is in an aggregate."""

    provider_id: int
    aggregate_uuid: str


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of all or of some providers, of one moment; each kind in any order, read once.

    ``class_names`` and ``trait_names``: every resource class and every trait by its id;
    ``class_ages`` and ``trait_ages``: when each last changed (naive UTC), where that is known.
    """

    providers: Iterable[ProviderRow]
    inventories: Iterable[InventoryRow]
    usages: Iterable[UsageRow]
    traits: Iterable[TraitLinks]
    aggregates: Iterable[AggregateLink]
    class_names: Mapping[int, str]
    trait_names: Mapping[int, str]
    class_ages: Mapping[int, datetime] = field(default_factory=dict)
    trait_ages: Mapping[int, datetime] = field(default_factory=dict)
