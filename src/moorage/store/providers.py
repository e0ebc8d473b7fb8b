"""Rows of resource providers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, Row, insert

from moorage.domain.ids import Generation, ProviderId, ProviderUuid
from moorage.domain.provider import Provider
from moorage.store.sql import UNDATED, LockingQuery, query, statement
from moorage.store.store import Store
from moorage.store.tables import resource_providers
from moorage.store.transaction import Transaction

IDS_IN_STATEMENT_MAX: Final = 1_000
"""Past this many row ids a whole table is read instead of naming each (drivers have limits)."""

_PROVIDER = """
    SELECT p.id, p.uuid, p.name, p.generation, parent.uuid AS parent_uuid, root.uuid AS root_uuid,
           COALESCE(p.updated_at, p.created_at) AS modified_at
    FROM resource_providers p
    JOIN resource_providers root ON root.id = p.root_provider_id
    LEFT JOIN resource_providers parent ON parent.id = p.parent_provider_id
"""
_BY_UUID = query(_PROVIDER + "WHERE p.uuid = :uuid", modified_at=DateTime)
_BY_NAME = query(_PROVIDER + "WHERE p.name = :name", modified_at=DateTime)
_BY_NAME_AND_UUID = query(
    _PROVIDER + "WHERE p.name = :name AND p.uuid = :uuid", modified_at=DateTime
)
_ALL = query(_PROVIDER + "ORDER BY p.id", modified_at=DateTime)
_BY_ID = query(_PROVIDER + "WHERE p.id IN :ids ORDER BY p.id", many=("ids",), modified_at=DateTime)
_TREE = query(
    _PROVIDER
    + """WHERE p.root_provider_id =
             (SELECT me.root_provider_id FROM resource_providers me WHERE me.uuid = :uuid)
         ORDER BY p.id""",
    modified_at=DateTime,
)
_LOCK = LockingQuery(
    """SELECT p.id, p.uuid, p.generation FROM resource_providers p {hint}
       WHERE p.uuid IN :uuids ORDER BY p.id""",
    index="uniq_resource_providers0uuid",
    many=("uuids",),
)
_TAKEN = query(
    "SELECT p.uuid, p.name FROM resource_providers p WHERE p.uuid = :uuid OR p.name = :name"
)
_SUBTREE = query(
    """WITH RECURSIVE subtree (id, uuid) AS (
           SELECT p.id, p.uuid FROM resource_providers p WHERE p.id = :top
           UNION ALL
           SELECT c.id, c.uuid FROM resource_providers c
           JOIN subtree ON c.parent_provider_id = subtree.id
       )
       SELECT id, uuid FROM subtree"""
)
_CHILD = query("SELECT p.id FROM resource_providers p WHERE p.parent_provider_id = :id LIMIT 1")
_ALLOCATION = query("SELECT a.id FROM allocations a WHERE a.resource_provider_id = :id LIMIT 1")
_INSERT = insert(resource_providers)
_ROOT_ITSELF = statement("UPDATE resource_providers SET root_provider_id = id WHERE id = :id")
_UPROOT = statement("UPDATE resource_providers SET root_provider_id = NULL WHERE id = :id")
_RENAME = statement(
    """UPDATE resource_providers
       SET name = :name, parent_provider_id = :parent_id, root_provider_id = :root_id,
           updated_at = :at
       WHERE id = :id"""
)
_REROOT = statement(
    "UPDATE resource_providers SET root_provider_id = :root_id, updated_at = :at WHERE id IN :ids",
    many=("ids",),
)
_BUMP = statement(
    """UPDATE resource_providers SET generation = generation + :by, updated_at = :at
       WHERE id IN :ids""",
    many=("ids",),
)
_DELETE = (
    statement("DELETE FROM moorage_usages WHERE resource_provider_id = :id"),
    statement("DELETE FROM inventories WHERE resource_provider_id = :id"),
    statement("DELETE FROM resource_provider_aggregates WHERE resource_provider_id = :id"),
    statement("DELETE FROM resource_provider_traits WHERE resource_provider_id = :id"),
    _UPROOT,
    statement("DELETE FROM resource_providers WHERE id = :id"),
)


@dataclass(frozen=True, slots=True)
class LockedProvider:
    """A provider whose row this transaction holds: nobody else changes what hangs on it."""

    id: ProviderId
    uuid: ProviderUuid
    generation: Generation


def _provider(row: Row[Any]) -> Provider:
    return Provider(
        id=row.id,
        uuid=row.uuid,
        name=row.name,
        generation=Generation(row.generation or 0),
        parent_uuid=row.parent_uuid,
        root_uuid=row.root_uuid,
        modified_at=row.modified_at or UNDATED,
    )


def read_provider(store: Store, uuid: str) -> Provider | None:
    """One provider by its uuid."""
    rows = store.read(_BY_UUID, {"uuid": uuid})
    return _provider(rows[0]) if rows else None


def read_providers(
    store: Store, *, name: str | None, uuid: str | None, in_tree: str | None
) -> list[Provider]:
    """The providers with this name, this uuid, in this tree, or all; oldest first."""
    if in_tree:
        rows = [
            row
            for row in store.read(_TREE, {"uuid": in_tree})
            if (not name or row.name == name) and (not uuid or row.uuid == uuid)
        ]
    elif name and uuid:
        rows = store.read(_BY_NAME_AND_UUID, {"name": name, "uuid": uuid})
    elif name:
        rows = store.read(_BY_NAME, {"name": name})
    elif uuid:
        rows = store.read(_BY_UUID, {"uuid": uuid})
    else:
        rows = store.read(_ALL)
    return [_provider(row) for row in rows]


def read_providers_by_id(store: Store, ids: Sequence[int]) -> list[Provider]:
    """Providers by row id, oldest first; those deleted meanwhile are left out."""
    if not ids:
        return []
    if len(ids) > IDS_IN_STATEMENT_MAX:
        wanted = set(ids)
        return [_provider(row) for row in store.read(_ALL) if row.id in wanted]
    return [_provider(row) for row in store.read(_BY_ID, {"ids": list(ids)})]


def load_provider(tx: Transaction, uuid: str) -> Provider | None:
    """One provider as this transaction sees it."""
    row = tx.execute(_BY_UUID, {"uuid": uuid}).first()
    return None if row is None else _provider(row)


def lock_providers(tx: Transaction, uuids: Iterable[str]) -> dict[ProviderUuid, LockedProvider]:
    """Take the rows of providers, in the one global order; unknown uuids are left out."""
    wanted = list(uuids)
    if not wanted:
        return {}
    what = _LOCK.locking(tx)
    return {
        row.uuid: LockedProvider(row.id, row.uuid, Generation(row.generation or 0))
        for row in tx.execute(what, {"uuids": wanted})
    }


def load_taken(tx: Transaction, *, uuid: str, name: str) -> list[tuple[str, str]]:
    """(uuid, name) of the providers that have this uuid or this name."""
    return [(row.uuid, row.name) for row in tx.execute(_TAKEN, {"uuid": uuid, "name": name})]


def load_subtree(tx: Transaction, top: ProviderId) -> dict[ProviderUuid, ProviderId]:
    """A provider and everything below it."""
    return {row.uuid: row.id for row in tx.execute(_SUBTREE, {"top": top})}


def has_children(tx: Transaction, provider: ProviderId) -> bool:
    return tx.execute(_CHILD, {"id": provider}).first() is not None


def has_allocations(tx: Transaction, provider: ProviderId) -> bool:
    return tx.execute(_ALLOCATION, {"id": provider}).first() is not None


def insert_provider(
    tx: Transaction,
    *,
    uuid: str,
    name: str,
    parent: Provider | None,
    root_id: int | None,
    at: datetime,
) -> ProviderId:
    """Add a provider below ``parent`` (with the root's row id), or as a root of its own."""
    done = tx.execute(
        _INSERT,
        {
            "uuid": uuid,
            "name": name,
            "generation": 0,
            "parent_provider_id": None if parent is None else parent.id,
            "root_provider_id": root_id,
            "created_at": at,
        },
    )
    key = done.inserted_primary_key
    assert key is not None
    if root_id is None:
        tx.execute(_ROOT_ITSELF, {"id": key[0]})
    return ProviderId(key[0])


def update_provider_row(
    tx: Transaction,
    provider: ProviderId,
    *,
    name: str,
    parent_id: int | None,
    root_id: int,
    at: datetime,
) -> None:
    """Write a provider's name and place."""
    tx.write_exactly(
        _RENAME,
        {"id": provider, "name": name, "parent_id": parent_id, "root_id": root_id, "at": at},
        rows=1,
    )


def reroot_providers(tx: Transaction, ids: Sequence[int], *, root_id: int, at: datetime) -> None:
    """Hang whole subtrees under another root."""
    if ids:
        tx.execute(_REROOT, {"ids": list(ids), "root_id": root_id, "at": at})


def bump_generations(tx: Transaction, bumps: dict[ProviderId, int], *, at: datetime) -> None:
    """Raise the generations of providers, each by its number (most requests: all by one)."""
    by_step: dict[int, list[int]] = {}
    for provider, step in sorted(bumps.items()):
        by_step.setdefault(step, []).append(provider)
    for step, ids in by_step.items():
        tx.write_exactly(_BUMP, {"ids": ids, "by": step, "at": at}, rows=len(ids))


def delete_provider_rows(tx: Transaction, provider: ProviderId) -> None:
    """Remove a provider and all that hangs on it but allocations, which it must not have."""
    for what in _DELETE:
        tx.execute(what, {"id": provider})
