"""Rows of inventories, each with its running total in ``moorage_usages``."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from moorage.domain.ids import ProviderId, ProviderUuid, ResourceClassId
from moorage.domain.inventory import Inventory
from moorage.store.dialects import Rows
from moorage.store.providers import LockedProvider, lock_providers_with
from moorage.store.sql import Insert, Load, RowsUpdate, Write
from moorage.store.tables import inventories, moorage_usages
from moorage.store.transaction import Transaction

STOCK: Final = Load(
    """SELECT i.resource_provider_id, i.resource_class_id, rc.name, i.total, i.reserved,
              i.min_unit, i.max_unit, i.step_size, i.allocation_ratio,
              COALESCE(u.used, 0) AS used
       FROM resource_providers p {p}
       JOIN inventories i {i} ON i.resource_provider_id = p.id
       JOIN resource_classes rc ON rc.id = i.resource_class_id
       LEFT JOIN moorage_usages u {u} ON u.resource_provider_id = i.resource_provider_id
                                 AND u.resource_class_id = i.resource_class_id
       WHERE p.uuid IN :uuids
       ORDER BY i.id""",
    indexes={
        "p": "uniq_resource_providers0uuid",
        "i": "uniq_inventories0resource_provider_resource_class",
        "u": "PRIMARY",
    },
)
_AMOUNTS = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
_INSERT = Insert(
    inventories, ("resource_provider_id", "resource_class_id", *_AMOUNTS, "created_at")
)
_INSERT_USAGES = Insert(moorage_usages, ("resource_provider_id", "resource_class_id", "used"))
_UPDATE = RowsUpdate(
    "inventories",
    ("provider", "class_id", *_AMOUNTS),
    assign={name: f"d.{name}" for name in _AMOUNTS} | {"updated_at": ":at"},
    key={"resource_provider_id": "provider", "resource_class_id": "class_id"},
    guard={},
    index="uniq_inventories0resource_provider_resource_class",
    real=("allocation_ratio",),
)
_DELETE = Write(
    """DELETE FROM inventories
       WHERE resource_provider_id = :provider AND resource_class_id IN :classes"""
)
_DELETE_USAGES = Write(
    """DELETE FROM moorage_usages
       WHERE resource_provider_id = :provider AND resource_class_id IN :classes AND used = 0"""
)


@dataclass(frozen=True, slots=True)
class Stock:
    """An inventory with its class and what is in use of it, in whole units."""

    provider_id: ProviderId
    class_id: ResourceClassId
    class_name: str
    inventory: Inventory
    used: int


class NewStock(NamedTuple):
    """An inventory to be added."""

    provider: ProviderId
    class_id: ResourceClassId
    inventory: Inventory
    at: datetime


def _inventory(row: Any) -> Inventory:
    return Inventory(
        total=row.total,
        reserved=row.reserved,
        min_unit=row.min_unit,
        max_unit=row.max_unit,
        step_size=row.step_size,
        allocation_ratio=row.allocation_ratio,
    )


def lock_stock(
    tx: Transaction, providers: Iterable[str], *beside: tuple[Load, Collection[str]]
) -> tuple[dict[ProviderUuid, LockedProvider], list[Stock], list[Rows]]:
    """Take the rows of providers, and load their inventories with the running totals.

    Args:
        beside: further SELECTs by ``:uuids``, which see what is true once the rows are taken.
    """
    wanted = list(providers)
    locked, (rows, *others) = lock_providers_with(tx, wanted, (STOCK, wanted), *beside)
    return locked, stock_from(rows), others


def stock_from(rows: Rows) -> list[Stock]:
    """What ``STOCK`` has found."""
    return [
        Stock(
            row.resource_provider_id,
            row.resource_class_id,
            row.name,
            _inventory(row),
            int(row.used),
        )
        for row in rows
    ]


def insert_inventories(tx: Transaction, added: Collection[NewStock]) -> None:
    """Add inventories, each with a running total of nothing."""
    tx.insert(
        _INSERT,
        [
            _values(inventory)
            | {"resource_provider_id": provider, "resource_class_id": class_id, "created_at": at}
            for provider, class_id, inventory, at in added
        ],
    )
    tx.insert(
        _INSERT_USAGES,
        [
            {"resource_provider_id": one.provider, "resource_class_id": one.class_id, "used": 0}
            for one in added
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
        (provider, class_id, *_values(inventory).values())
        for (provider, class_id), inventory in sorted(changed.items(), key=lambda item: item[0])
    ]
    tx.update(_UPDATE, rows, at=at)


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
    tx.write(_DELETE_USAGES, {"provider": provider, "classes": ids}, rows=len(ids))
    tx.write(_DELETE, {"provider": provider, "classes": ids}, rows=len(ids))


def _values(inventory: Inventory) -> dict[str, Any]:
    return {name: getattr(inventory, name) for name in _AMOUNTS}
