"""Rows of leases: which consumers' allocations are freed when."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime

from moorage.domain.ids import ConsumerUuid, Generation
from moorage.store.sql import Insert, Load, LockingLoad, Write, query
from moorage.store.store import Store
from moorage.store.tables import moorage_leases
from moorage.store.transaction import Transaction

_COLUMNS = """SELECT l.consumer, l.generation, l.expires_at, l.request_id, l.created_at
    FROM moorage_leases l"""
_MOMENTS = ("expires_at", "created_at")
_OF_CONSUMERS = query(
    f"{_COLUMNS} WHERE l.consumer IN :consumers",
    many=("consumers",),
    expires_at=DateTime,
    created_at=DateTime,
)
_DUE = query(
    f"{_COLUMNS} WHERE l.expires_at <= :at ORDER BY l.expires_at, l.consumer LIMIT :most",
    expires_at=DateTime,
    created_at=DateTime,
)
_LOAD = Load(f"{_COLUMNS} WHERE l.consumer IN :consumers", moments=_MOMENTS)
_LOCK = LockingLoad(
    f"{_COLUMNS} {{hint}} WHERE l.consumer = :consumer", index="PRIMARY", moments=_MOMENTS
)
_INSERT = Insert(
    moorage_leases, ("consumer", "generation", "expires_at", "request_id", "created_at")
)
_DELETE = Write("DELETE FROM moorage_leases WHERE consumer IN :consumers")
_DELETE_DUE = Write("DELETE FROM moorage_leases WHERE consumer IN :consumers AND expires_at <= :at")
_RENEW = Write("UPDATE moorage_leases SET expires_at = :at WHERE consumer = :consumer")


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when a consumer may keep what the claim with this request id gave it (naive UTC).

    ``generation`` is the consumer's, as the claim left it.
    """

    consumer: ConsumerUuid
    generation: Generation
    expires_at: datetime
    request_id: str
    created_at: datetime


def lease_told(lease: Lease) -> dict[str, Any]:
    """A lease as the journal keeps it."""
    return {"expires_at": f"{lease.expires_at.isoformat()}Z", "claim": lease.request_id}


def _lease(row: Any) -> Lease:
    return Lease(row.consumer, row.generation, row.expires_at, row.request_id, row.created_at)


def read_leases(store: Store, consumers: Collection[str]) -> dict[ConsumerUuid, Lease]:
    """The leases of those consumers that have one."""
    rows = store.read(_OF_CONSUMERS, {"consumers": list(consumers)})
    return {row.consumer: _lease(row) for row in rows}


def read_due_leases(store: Store, *, at: datetime, most: int) -> list[Lease]:
    """The leases whose time is over, the longest overdue first."""
    return [_lease(row) for row in store.read(_DUE, {"at": at, "most": most})]


def load_leases(tx: Transaction, consumers: Collection[str]) -> dict[ConsumerUuid, Lease]:
    """The leases of those consumers that have one; nothing is locked."""
    rows = tx.load(_LOAD, {"consumers": sorted(consumers)})
    return {row.consumer: _lease(row) for row in rows}


def lock_lease(tx: Transaction, consumer: str) -> Lease | None:
    """Take a consumer's lease for a change or its end; None: it has none."""
    rows = tx.load(_LOCK, {"consumer": consumer})
    return _lease(rows[0]) if rows else None


def write_leases(tx: Transaction, leases: Sequence[Lease]) -> None:
    """Begin leases; what an earlier claim of a consumer left behind goes."""
    if not leases:
        return
    delete_leases(tx, [lease.consumer for lease in leases])
    tx.insert(
        _INSERT,
        [
            {
                "consumer": lease.consumer,
                "generation": lease.generation,
                "expires_at": lease.expires_at,
                "request_id": lease.request_id,
                "created_at": lease.created_at,
            }
            for lease in leases
        ],
    )


def renew_lease(tx: Transaction, consumer: str, *, expires_at: datetime) -> None:
    """Move the end of a lease that is locked (no guard: it may move to where it is)."""
    tx.write(_RENEW, {"consumer": consumer, "at": expires_at})


def delete_leases(tx: Transaction, consumers: Iterable[str]) -> None:
    """End the leases of those consumers that have one."""
    tx.write(_DELETE, {"consumers": sorted(consumers)})


def delete_due_leases(tx: Transaction, consumers: Collection[str], *, at: datetime) -> None:
    """End leases whose time is over; the view is stale if one was renewed or has ended."""
    tx.write(_DELETE_DUE, {"consumers": sorted(consumers), "at": at}, rows=len(consumers))
