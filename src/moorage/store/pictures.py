"""The rows that a picture of all providers is made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, DateTime, Float

from moorage.store.journal import load_mark
from moorage.store.sql import query
from moorage.store.store import Store

_PROVIDERS = query(
    """SELECT p.id, p.uuid, p.name, COALESCE(p.generation, 0) AS generation,
              p.parent_provider_id, p.root_provider_id,
              COALESCE(p.updated_at, p.created_at) AS modified_at
       FROM resource_providers p""",
    modified_at=DateTime,
)
_INVENTORIES = query(
    """SELECT i.resource_provider_id, i.resource_class_id, i.total, i.reserved, i.min_unit,
              i.max_unit, i.step_size, i.allocation_ratio
       FROM inventories i""",
    allocation_ratio=Float,
)
_USAGES = query("SELECT u.resource_provider_id, u.resource_class_id, u.used FROM moorage_usages u")
_USAGES_OF = query(
    """SELECT u.resource_provider_id, u.resource_class_id, u.used FROM moorage_usages u
       WHERE u.resource_provider_id IN :ids""",
    many=("ids",),
)
_TRAITS = query("SELECT l.resource_provider_id, l.trait_id FROM resource_provider_traits l")
_AGGREGATES = query(
    """SELECT l.resource_provider_id, n.uuid FROM resource_provider_aggregates l
       JOIN placement_aggregates n ON n.id = l.aggregate_id"""
)
_CLASS_NAMES = query("SELECT n.id, n.name FROM resource_classes n")
_TRAIT_NAMES = query("SELECT n.id, n.name FROM traits n")

Rows: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Picture:
    """All rows of one moment, in the column order of the statements above.

    ``mark`` and ``gaps`` say up to where in the journal that moment is.
    """

    mark: int
    gaps: set[int]
    providers: Rows
    inventories: Rows
    usages: Rows
    traits: Rows
    aggregates: Rows
    class_names: dict[int, str]
    trait_names: dict[int, str]


def read_picture(store: Store) -> Picture:
    """Load all rows, as of one moment."""
    return store.read_picture(_load)


def _load(connection: Connection) -> Picture:
    def rows(what: Any) -> Rows:
        return [tuple(row) for row in connection.execute(what)]

    mark, gaps = load_mark(connection)
    return Picture(
        mark=mark,
        gaps=gaps,
        providers=rows(_PROVIDERS),
        inventories=rows(_INVENTORIES),
        usages=rows(_USAGES),
        traits=rows(_TRAITS),
        aggregates=rows(_AGGREGATES),
        class_names={row.id: row.name for row in connection.execute(_CLASS_NAMES)},
        trait_names={row.id: row.name for row in connection.execute(_TRAIT_NAMES)},
    )


def read_usages_of(store: Store, providers: Iterable[int]) -> Rows:
    """The running totals of some providers."""
    return [tuple(row) for row in store.read(_USAGES_OF, {"ids": sorted(providers)})]
