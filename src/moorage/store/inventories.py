"""Rows of inventories, each with its running total in ``moorage_usages``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Float, Row, insert

from moorage.domain.ids import Generation, ProviderId, ResourceClassId
from moorage.domain.inventory import Inventory, ProviderInventories
from moorage.store.sql import query, statement
from moorage.store.store import Store
from moorage.store.tables import inventories, moorage_usages
from moorage.store.transaction import Transaction

_OF_PROVIDER = query(
    """SELECT p.generation, rc.name, i.total, i.reserved, i.min_unit, i.max_unit, i.step_size,
              i.allocation_ratio, COALESCE(i.updated_at, i.created_at) AS modified_at
       FROM resource_providers p
       LEFT JOIN inventories i ON i.resource_provider_id = p.id
       LEFT JOIN resource_classes rc ON rc.id = i.resource_class_id
       WHERE p.uuid = :uuid
       ORDER BY i.id""",
    modified_at=DateTime,
    allocation_ratio=Float,
)
_USAGES = query(
    """SELECT p.generation, rc.name, COALESCE(u.used, 0) AS used
       FROM resource_providers p
       LEFT JOIN inventories i ON i.resource_provider_id = p.id
       LEFT JOIN resource_classes rc ON rc.id = i.resource_class_id
       LEFT JOIN moorage_usages u ON u.resource_provider_id = i.resource_provider_id
                                 AND u.resource_class_id = i.resource_class_id
       WHERE p.uuid = :uuid
       ORDER BY i.id"""
)
_STOCK = query(
    """SELECT i.resource_provider_id, i.resource_class_id, rc.name, i.total, i.reserved,
              i.min_unit, i.max_unit, i.step_size, i.allocation_ratio,
              COALESCE(u.used, 0) AS used
       FROM inventories i
       JOIN resource_classes rc ON rc.id = i.resource_class_id
       LEFT JOIN moorage_usages u ON u.resource_provider_id = i.resource_provider_id
                                 AND u.resource_class_id = i.resource_class_id
       WHERE i.resource_provider_id IN :ids
       ORDER BY i.id""",
    many=("ids",),
    allocation_ratio=Float,
)
_INSERT = insert(inventories).inline()
_INSERT_USAGES = insert(moorage_usages).inline()
_UPDATE = statement(
    """UPDATE inventories
       SET total = :total, reserved = :reserved, min_unit = :min_unit, max_unit = :max_unit,
           step_size = :step_size, allocation_ratio = :allocation_ratio, updated_at = :at
       WHERE resource_provider_id = :provider AND resource_class_id = :resource_class"""
)
_DELETE = statement(
    """DELETE FROM inventories
       WHERE resource_provider_id = :provider AND resource_class_id IN :classes""",
    many=("classes",),
)
_DELETE_USAGES = statement(
    """DELETE FROM moorage_usages
       WHERE resource_provider_id = :provider AND resource_class_id IN :classes AND used = 0""",
    many=("classes",),
)


@dataclass(frozen=True, slots=True)
class Stock:
    """An inventory with its class and what is in use of it, in whole units."""

    provider_id: ProviderId
    class_id: ResourceClassId
    class_name: str
    inventory: Inventory
    used: int


def _inventory(row: Row[Any]) -> Inventory:
    return Inventory(
        total=row.total,
        reserved=row.reserved,
        min_unit=row.min_unit,
        max_unit=row.max_unit,
        step_size=row.step_size,
        allocation_ratio=row.allocation_ratio,
    )


def read_inventories(store: Store, provider: str) -> ProviderInventories | None:
    """All inventories of a provider, None for an unknown one."""
    rows = store.read(_OF_PROVIDER, {"uuid": provider})
    if not rows:
        return None
    present = [row for row in rows if row.name is not None]
    return ProviderInventories(
        generation=Generation(rows[0].generation or 0),
        inventories={row.name: _inventory(row) for row in present},
        modified_at=max((row.modified_at for row in present if row.modified_at), default=None),
    )


def read_usages(store: Store, provider: str) -> tuple[Generation, dict[str, int]] | None:
    """What is in use on a provider by class name, None for an unknown one."""
    rows = store.read(_USAGES, {"uuid": provider})
    if not rows:
        return None
    used = {row.name: int(row.used) for row in rows if row.name is not None}
    return Generation(rows[0].generation or 0), used


def load_stock(tx: Transaction, providers: Iterable[ProviderId]) -> list[Stock]:
    """The inventories of locked providers with their running totals."""
    ids = list(providers)
    if not ids:
        return []
    return [
        Stock(
            row.resource_provider_id,
            row.resource_class_id,
            row.name,
            _inventory(row),
            int(row.used),
        )
        for row in tx.execute(_STOCK, {"ids": ids})
    ]


def insert_inventories(
    tx: Transaction,
    added: Mapping[tuple[ProviderId, ResourceClassId], Inventory],
    *,
    at: datetime,
) -> None:
    """Add inventories, each with a running total of nothing."""
    tx.insert_many(
        _INSERT,
        [
            _values(inventory)
            | {"resource_provider_id": provider, "resource_class_id": class_id, "created_at": at}
            for (provider, class_id), inventory in added.items()
        ],
    )
    tx.insert_many(
        _INSERT_USAGES,
        [
            {"resource_provider_id": provider, "resource_class_id": class_id, "used": 0}
            for provider, class_id in added
        ],
    )


def update_inventories(
    tx: Transaction,
    changed: Mapping[tuple[ProviderId, ResourceClassId], Inventory],
    *,
    at: datetime,
) -> None:
    """Overwrite inventories that exist."""
    rows = [
        _values(inventory) | {"provider": provider, "resource_class": class_id, "at": at}
        for (provider, class_id), inventory in changed.items()
    ]
    if rows:
        tx.execute(_UPDATE, rows)


def delete_inventory_rows(
    tx: Transaction, provider: ProviderId, classes: Iterable[ResourceClassId]
) -> None:
    """Remove inventories of a locked provider that nothing is allocated from.

    Raises:
        StaleView: a running total was not zero after all, or a row was gone.
    """
    ids = list(classes)
    if not ids:
        return
    tx.write_exactly(_DELETE_USAGES, {"provider": provider, "classes": ids}, rows=len(ids))
    tx.write_exactly(_DELETE, {"provider": provider, "classes": ids}, rows=len(ids))


def _values(inventory: Inventory) -> dict[str, Any]:
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }
