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
from moorage.domain.move import Move

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


@dataclass(frozen=True, slots=True)
class MoveChange:
    """What a request does to a move; ``before`` is None where it begins.

    ``hold_before``: whose the hold was, and what it held, before the request.
    """

    before: Move | None
    after: Move
    hold_before: Consumer | None


@dataclass(slots=True)
class Ledger:
    """Mutable for the length of one batch, and seen by nobody else.

    ``known_classes`` holds the class names that exist among those asked for. ``moves`` has each
    open move twice, under its consumer and under its hold, and ``consumers`` has both; ``sharing``
    the sharing providers among those loaded, where a move makes it matter. ``used`` is what is
    really in use: the sums of the allocations, less the credits. ``case_blind``: consumers are
    named whose uuids differ in case only, and the database takes those for the same.
    """

    consumers: dict[ConsumerUuid, Consumer]
    providers: dict[ProviderUuid, ProviderStock]
    used: dict[Slot, int]
    known_classes: frozenset[str]
    bumps: dict[ProviderId, int] = field(default_factory=dict)
    moves: dict[ConsumerUuid, Move] = field(default_factory=dict)
    sharing: frozenset[ProviderId] = frozenset()
    move_changes: list[MoveChange] = field(default_factory=list)
    case_blind: bool = False
    known: frozenset[ProviderId] = field(init=False)
    """The providers, by their row ids."""

    def __post_init__(self) -> None:
        self.known = frozenset(stock.id for stock in self.providers.values())

    def bump(self, provider: ProviderId, by: int = 1) -> None:
        """Note that a provider's generation grows."""
        self.bumps[provider] = self.bumps.get(provider, 0) + by

    def held_by(self, consumer: ConsumerUuid) -> Mapping[Slot, int]:
        """What a consumer holds, nothing for one that does not exist."""
        found = self.consumers.get(consumer)
        return {} if found is None else found.held

    def enter_move(self, change: MoveChange) -> None:
        """Note what becomes of a move."""
        if change.before is not None:
            for slot, amount in change.before.credits.items():
                if slot in self.used:
                    self.used[slot] += amount
        for slot, amount in change.after.credits.items():
            if slot in self.used:
                self.used[slot] -= amount
        for consumer in (change.after.consumer, change.after.hold):
            # One that was swapped again is in another move by now.
            known = self.moves.get(consumer)
            if change.after.state.is_open:
                self.moves[consumer] = change.after
            elif known is not None and known.uuid == change.after.uuid:
                del self.moves[consumer]
        self.move_changes.append(change)
