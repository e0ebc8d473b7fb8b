"""The working state of decisions that share a transaction: who holds what, and what is in use.

A view is loaded once; each claim of a batch is decided against the ledger as the claims before it
left it, and enters its own effects, or is refused and enters nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from moorage.domain.ids import (
    ConsumerId,
    ConsumerUuid,
    Generation,
    ProviderId,
    ProviderUuid,
    ResourceClassId,
)
from moorage.domain.inventory import Inventory

Slot: TypeAlias = tuple[ProviderId, ResourceClassId]
"""One inventory: a class on a provider."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer and what it holds, in units by slot; ``id`` is None for one not stored yet."""

    id: ConsumerId | None
    uuid: ConsumerUuid
    generation: Generation
    project_id: str
    user_id: str
    consumer_type: str | None
    held: Mapping[Slot, int]


@dataclass(frozen=True, slots=True)
class ProviderStock:
    """A provider as claims see it: its inventories by class name."""

    id: ProviderId
    uuid: ProviderUuid
    generation: Generation
    class_ids: Mapping[str, ResourceClassId]
    inventories: Mapping[str, Inventory]


@dataclass(slots=True)
class Ledger:
    """Mutable for the length of one batch, and seen by nobody else.

    ``known_classes`` holds the class names that exist among those asked for.
    """

    consumers: dict[ConsumerUuid, Consumer]
    providers: dict[ProviderUuid, ProviderStock]
    used: dict[Slot, int]
    known_classes: frozenset[str]
    bumps: dict[ProviderId, int] = field(default_factory=dict)

    def bump(self, provider: ProviderId, by: int = 1) -> None:
        """Note that a provider's generation grows."""
        self.bumps[provider] = self.bumps.get(provider, 0) + by
