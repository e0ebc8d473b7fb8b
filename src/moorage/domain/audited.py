"""The books as the auditor reads them: plain columns of one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from moorage.domain.findings import Place
from moorage.domain.ids import ConsumerUuid, ProviderId, ResourceClassId
from moorage.domain.ledger import Slot
from moorage.domain.made_claim import Resources
from moorage.domain.move import MoveKind, MoveState

Units: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Keys: TypeAlias = npt.NDArray[np.int64]

HEAL_KIND: Final = "allocation.heal"
"""The journal's name for what the auditor itself changed; running totals and sums follow it."""

_CLASS_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class AuditedProvider:
    """A provider: its names, its tree, and whether it is a pool that lends to other trees."""

    id: ProviderId
    uuid: str
    name: str | None
    root: ProviderId
    shares: bool

    @property
    def names(self) -> tuple[str, ...]:
        return (self.uuid,) if self.name is None else (self.uuid, self.name)


@dataclass(frozen=True, slots=True)
class AuditedConsumer:
    """A consumer's row; ``id`` and what follows are None where allocations name one without.

    ``touched_at`` is when it changed last (naive UTC), None for rows older than the stamps.
    """

    uuid: ConsumerUuid
    id: int | None = None
    generation: int | None = None
    project_id: str | None = None
    user_id: str | None = None
    consumer_type: str | None = None
    touched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stocks:
    """One row a slot that has an inventory or a running total.

    ``capacity`` and ``total`` mean nothing where ``has_inventory`` and ``has_total`` are False.
    """

    keys: Keys
    has_inventory: Flags
    capacity: Units
    has_total: Flags
    total: Units


@dataclass(frozen=True, slots=True)
class Holdings:
    """One row an allocation; ``consumer`` is a position in the list of consumers."""

    row_ids: Units
    keys: Keys
    used: Units
    consumer: Units


@dataclass(frozen=True, slots=True)
class AuditedMove:
    """A move that is open, or one that was ordered and is over while its hold still has a row.

    ``source``: what the hold was given, by provider and class name. ``credits``: units by slot, as
    they are written down.
    """

    uuid: str
    kind: MoveKind
    state: MoveState
    consumer: ConsumerUuid
    hold: ConsumerUuid
    generation: int
    credited: bool
    deadline: datetime | None
    source: Resources
    credits: Mapping[Slot, int]

    @property
    def is_ordered(self) -> bool:
        """Whether a client ordered it: then it is open until a client or its deadline ends it."""
        return self.kind.is_ordered


@dataclass(frozen=True, slots=True)
class AuditedBooks:
    """All rows that an audit, or the second look before a heal, goes by.

    Args:
        allocated: units held by slot, where that was added up for the whole of the slot.
        lenders: pools by the providers that they lend to, as row ids.
        moves: those that are open, and ordered ones that are over but for their holds.
        stray_credits: credits, by move and slot, of moves that are not open.
    """

    providers: Mapping[ProviderId, AuditedProvider]
    class_names: Mapping[int, str]
    consumers: Sequence[AuditedConsumer]
    stocks: Stocks
    holdings: Holdings
    allocated: tuple[Keys, Units]
    lenders: Mapping[ProviderId, Sequence[ProviderId]] = field(default_factory=dict)
    moves: Sequence[AuditedMove] = ()
    stray_credits: Mapping[str, Mapping[Slot, int]] = field(default_factory=dict)

    def place(self, slot: Slot) -> Place:
        """A slot as people know it."""
        provider = self.providers.get(slot[0])
        return Place(
            f"#{slot[0]}" if provider is None else provider.uuid,
            self.class_names.get(slot[1], f"#{slot[1]}"),
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """A journal row about a consumer.

    ``swapped_from`` is the consumer that the same request took exactly these allocations from.
    """

    at: datetime
    kind: str
    swapped_from: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRules:
    """What is too young to be judged, by the clock of whoever audits (naive UTC)."""

    now: datetime
    age_guard_s: float

    def is_young(self, touched_at: datetime | None, *, seen_at: datetime | None = None) -> bool:
        """Whether something changed so lately that an observer may not have noticed.

        Args:
            seen_at: when the outside was looked at, if it matters here.
        """
        if touched_at is None:
            return False
        last = self.now if seen_at is None else min(self.now, seen_at)
        return touched_at > last - timedelta(seconds=self.age_guard_s)


def slot_keys(providers: Units, classes: Units) -> Keys:
    """Slots as single numbers that sort by provider and then class."""
    return (providers << _CLASS_BITS) | classes


def slot_of(key: int) -> Slot:
    """The slot of a number that ``slot_keys`` made."""
    return (
        ProviderId(int(key) >> _CLASS_BITS),
        ResourceClassId(int(key) & ((1 << _CLASS_BITS) - 1)),
    )


def key_of(slot: Slot) -> int:
    """The number of one slot."""
    return (slot[0] << _CLASS_BITS) | slot[1]


def add_up(keys: Keys, units: Units) -> tuple[Keys, Units]:
    """The sum of the units of each slot."""
    found, positions = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(found), dtype=np.int64)
    np.add.at(sums, positions, units)
    return found, sums


def look_up(keys: Keys, found: Keys, values: Units) -> Units:
    """The value of each key, 0 where it is not among the sorted ``found``."""
    if not len(found):
        return np.zeros(len(keys), dtype=np.int64)
    places = np.minimum(np.searchsorted(found, keys), len(found) - 1)
    return np.where(found[places] == keys, values[places], 0)
