"""What one request changes of what a provider has: its inventories, traits or aggregates."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeAlias

from moorage.domain.ids import ResourceClassId
from moorage.domain.inventory import Inventory
from moorage.domain.origin import Origin
from moorage.store.inventories import Stock
from moorage.store.journal import Entry
from moorage.store.names import Named
from moorage.store.providers import LockedProvider


class Part(Enum):
    """What hangs on a provider, as far as one request is about it."""

    INVENTORIES = auto()
    TRAITS = auto()
    AGGREGATES = auto()


@dataclass(frozen=True, slots=True)
class Shelf:
    """A locked provider, with what a request has to know to be decided.

    ``stock``: its inventories by class name; ``linked``: its traits or aggregates, row ids by name.
    Only the part that the request is about is there. ``class_ids`` and ``known_traits``: those that
    exist of the names in the request, kept from deletion.
    """

    provider: LockedProvider
    stock: Mapping[str, Stock]
    linked: Mapping[str, int]
    class_ids: Mapping[str, ResourceClassId]
    known_traits: Mapping[str, Named]


@dataclass(frozen=True, slots=True)
class Change:
    """What a request changes of its provider, and the word of it in the journal.

    ``added``, ``changed`` and ``dropped``: inventories by class. ``traits_added``, ``traits_gone``,
    ``kept`` and ``left``: row ids of traits and aggregates. ``joined``: aggregates by uuid, new
    ones too; the database may take one for another that is kept or left, in another spelling.
    """

    entry: Entry
    raises_generation: bool = True
    added: Mapping[ResourceClassId, Inventory] = field(default_factory=dict)
    changed: Mapping[ResourceClassId, Inventory] = field(default_factory=dict)
    dropped: Collection[ResourceClassId] = ()
    traits_added: Collection[int] = ()
    traits_gone: Collection[int] = ()
    joined: Collection[str] = ()
    kept: Collection[int] = ()
    left: Collection[int] = ()


Decision: TypeAlias = tuple[Change | None, Any]
"""What changes (None: nothing), and what the client is told."""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request to change one part of one provider.

    ``generation``: what the client read; None where that is not checked. ``names``: the classes,
    traits or aggregates in the request. ``decide`` is pure; it may refuse.
    """

    provider: str
    part: Part
    generation: int | None
    names: Collection[str]
    origin: Origin
    decide: Callable[[Shelf], Decision]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whom the request is about."""
        return (self.provider,)
