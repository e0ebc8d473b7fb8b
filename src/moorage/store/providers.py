"""Rows of resource providers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from moorage.domain.ids import Generation, ProviderId, ProviderUuid
from moorage.domain.provider import Provider
from moorage.store.dialects import Rows
from moorage.store.sql import UNDATED, Insert, Load, LockingLoad, RowNumbers, RowsUpdate, Write
from moorage.store.tables import resource_providers
from moorage.store.transaction import Loading, Transaction

_PROVIDER = """
    SELECT p.id, p.uuid, p.name, p.generation, parent.uuid AS parent_uuid, root.uuid AS root_uuid,
           COALESCE(p.updated_at, p.created_at) AS modified_at
    FROM resource_providers p
    JOIN resource_providers root ON root.id = p.root_provider_id
    LEFT JOIN resource_providers parent ON parent.id = p.parent_provider_id
"""
_LOAD = Load(_PROVIDER + "WHERE p.uuid = :uuid", moments=("modified_at",))
_LOCK = LockingLoad(
    """SELECT p.id, p.uuid, p.generation FROM resource_providers p {hint}
       WHERE p.uuid IN :uuids ORDER BY p.id""",
    index="uniq_resource_providers0uuid",
)
_TAKEN = Load(
    """SELECT p.uuid, p.name FROM resource_providers p
       WHERE p.uuid = :uuid UNION SELECT p.uuid, p.name FROM resource_providers p
       WHERE p.name = :name"""
)
PARENTS: Final = Load(
    """SELECT p.id, p.uuid, root.id AS root_id, root.uuid AS root_uuid
       FROM resource_providers p JOIN resource_providers root ON root.id = p.root_provider_id
       WHERE p.uuid IN :uuids"""
)
_SUBTREE = Load(
    """WITH RECURSIVE subtree (id, uuid) AS (
           SELECT p.id, p.uuid FROM resource_providers p WHERE p.id = :top
           UNION ALL
           SELECT c.id, c.uuid FROM resource_providers c
           JOIN subtree ON c.parent_provider_id = subtree.id
       )
       SELECT id, uuid FROM subtree"""
)
_CHILD = Load("SELECT p.id FROM resource_providers p WHERE p.parent_provider_id = :id LIMIT 1")
_ALLOCATION = Load("SELECT a.id FROM allocations a WHERE a.resource_provider_id = :id LIMIT 1")
_PLACE = ("parent_provider_id", "root_provider_id")
_NEW_COLUMNS = ("uuid", "name", "generation", *_PLACE, "created_at")
_INSERT = Insert(resource_providers, _NEW_COLUMNS, returning=("id", "uuid"))
_INSERT_NUMBERED = Insert(resource_providers, ("id", *_NEW_COLUMNS))
_NUMBERS = RowNumbers(resource_providers)
_ROOT_ITSELF = Write("UPDATE resource_providers SET root_provider_id = id WHERE id IN :ids")
_UPROOT = Write("UPDATE resource_providers SET root_provider_id = NULL WHERE id = :id")
_RENAME = Write(
    """UPDATE resource_providers
       SET name = :name, parent_provider_id = :parent_id, root_provider_id = :root_id,
           updated_at = :at
       WHERE id = :id"""
)
_REROOT = Write(
    "UPDATE resource_providers SET root_provider_id = :root_id, updated_at = :at WHERE id IN :ids"
)
_BUMP = Write(
    """UPDATE resource_providers SET generation = COALESCE(generation, 0) + :by, updated_at = :at
       WHERE id IN :ids"""
)
_RAISE = RowsUpdate(
    "resource_providers",
    ("id", "was"),
    key={"id": "id"},
    guard={"generation": "was"},
    assign={"generation": "d.was + 1", "updated_at": ":at"},
)
_DELETE = (
    Write("DELETE FROM moorage_usages WHERE resource_provider_id = :id"),
    Write("DELETE FROM inventories WHERE resource_provider_id = :id"),
    Write("DELETE FROM resource_provider_aggregates WHERE resource_provider_id = :id"),
    Write("DELETE FROM resource_provider_traits WHERE resource_provider_id = :id"),
    _UPROOT,
    Write("DELETE FROM resource_providers WHERE id = :id"),
)


@dataclass(frozen=True, slots=True)
class LockedProvider:
    """A provider whose row this transaction holds: nobody else changes what hangs on it."""

    id: ProviderId
    uuid: ProviderUuid
    generation: Generation


@dataclass(frozen=True, slots=True)
class Parent:
    """A locked provider below which others may be added."""

    id: ProviderId
    uuid: ProviderUuid
    root_id: ProviderId
    root_uuid: ProviderUuid


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider to be added."""

    uuid: str
    name: str
    parent: Parent | None
    at: datetime


def _provider(row: Any) -> Provider:
    return Provider(
        id=row.id,
        uuid=row.uuid,
        name=row.name,
        generation=Generation(row.generation or 0),
        parent_uuid=row.parent_uuid,
        root_uuid=row.root_uuid,
        modified_at=row.modified_at or UNDATED,
    )


def load_provider(tx: Transaction, uuid: str) -> Provider | None:
    """One provider as this transaction sees it."""
    rows = tx.load(_LOAD, {"uuid": uuid})
    return _provider(rows[0]) if rows else None


def lock_providers(tx: Transaction, uuids: Iterable[str]) -> dict[ProviderUuid, LockedProvider]:
    """Take the rows of providers, in the one global order; unknown uuids are left out."""
    wanted = list(uuids)
    return _locked(tx.load(_LOCK, {"uuids": wanted})) if wanted else {}


def lock_providers_with(
    tx: Transaction, uuids: Iterable[str], *hanging: tuple[Load, Collection[str]]
) -> tuple[dict[ProviderUuid, LockedProvider], list[Rows]]:
    """Take the rows of providers like ``lock_providers``, and load what hangs on them.

    Args:
        hanging: SELECTs by ``:uuids``, each with some uuids; what one finds of these providers
            stays as it is for as long as their rows are taken.
    """
    locked, *loaded = load_by_uuids(tx, (_LOCK, list(uuids)), *hanging)
    return _locked(locked), loaded


def load_by_uuids(tx: Transaction, *asked: tuple[Loading, Collection[str]]) -> list[Rows]:
    """What several SELECTs by ``:uuids`` find, run in their order; nothing where none is named."""
    orders = [(what, {"uuids": list(some)}) for what, some in asked if some]
    found = iter(tx.load_each(*orders) if orders else ())
    return [next(found) if some else () for _, some in asked]


def _locked(rows: Rows) -> dict[ProviderUuid, LockedProvider]:
    return {
        row.uuid: LockedProvider(row.id, row.uuid, Generation(row.generation or 0)) for row in rows
    }


def load_taken(tx: Transaction, *, uuid: str, name: str) -> list[tuple[str, str]]:
    """(uuid, name) of the providers that have this uuid or this name."""
    return [(row.uuid, row.name) for row in tx.load(_TAKEN, {"uuid": uuid, "name": name})]


def parents_from(rows: Rows) -> dict[ProviderUuid, Parent]:
    """What ``PARENTS`` has found, by uuid."""
    return {row.uuid: Parent(row.id, row.uuid, row.root_id, row.root_uuid) for row in rows}


def load_subtree(tx: Transaction, top: ProviderId) -> dict[ProviderUuid, ProviderId]:
    """A provider and everything below it."""
    return {row.uuid: row.id for row in tx.load(_SUBTREE, {"top": top})}


def has_children(tx: Transaction, provider: ProviderId) -> bool:
    return bool(tx.load(_CHILD, {"id": provider}))


def has_allocations(tx: Transaction, provider: ProviderId) -> bool:
    return bool(tx.load(_ALLOCATION, {"id": provider}))


def insert_providers(tx: Transaction, added: Sequence[NewProvider]) -> dict[str, ProviderId]:
    """Add providers, each below its parent or as a root of its own; their row ids by uuid."""
    if not added:
        return {}
    if numbers := _take_numbers(tx, len(added)):
        rows = [
            {"id": number, **_row(one, number)} for one, number in zip(added, numbers, strict=True)
        ]
        tx.insert(_INSERT_NUMBERED, rows)
        return {one.uuid: number for one, number in zip(added, numbers, strict=True)}
    ids = {row.uuid: row.id for row in tx.load(_INSERT, [_row(one, None) for one in added])}
    roots = [ids[one.uuid] for one in added if one.parent is None]
    if roots:
        tx.write(_ROOT_ITSELF, {"ids": roots})
    return ids


def _row(one: NewProvider, number: ProviderId | None) -> dict[str, Any]:
    """A row for a new provider; ``number``: its id, which is its root's where it has no parent."""
    return {
        "uuid": one.uuid,
        "name": one.name,
        "generation": 0,
        "parent_provider_id": None if one.parent is None else one.parent.id,
        "root_provider_id": number if one.parent is None else one.parent.root_id,
        "created_at": one.at,
    }


def _take_numbers(tx: Transaction, count: int) -> list[ProviderId]:
    """Row ids that nobody else uses; none where they are not known before the rows are there.

    Not more than are used at once: providers are in the order of their row ids wherever there is
    no other, and that is to be the order in which they are made, whichever process makes them.
    """
    if not _NUMBERS.are_known_in(tx.dialect):
        return []
    numbers = [row.id for row in tx.load(_NUMBERS, {"count": count})]
    return [] if None in numbers else [ProviderId(number) for number in sorted(numbers)]


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
    tx.write(
        _RENAME,
        {"id": provider, "name": name, "parent_id": parent_id, "root_id": root_id, "at": at},
        rows=1,
    )


def reroot_providers(tx: Transaction, ids: Sequence[int], *, root_id: int, at: datetime) -> None:
    """Hang whole subtrees under another root."""
    if ids:
        tx.write(_REROOT, {"ids": list(ids), "root_id": root_id, "at": at})


def bump_generations(tx: Transaction, bumps: dict[ProviderId, int], *, at: datetime) -> None:
    """Raise the generations of providers, each by its number (most requests: all by one)."""
    by_step: dict[int, list[int]] = {}
    for provider, step in sorted(bumps.items()):
        by_step.setdefault(step, []).append(provider)
    for step, ids in by_step.items():
        tx.write(_BUMP, {"ids": ids, "by": step, "at": at}, rows=len(ids))


def raise_generations(
    tx: Transaction, known: Mapping[ProviderId, Generation], *, at: datetime
) -> None:
    """Take the rows of providers, in the one global order, and raise their generations by one.

    Raises:
        StaleView: one of them is not there any more, or its generation is not the one known.
    """
    tx.update(_RAISE, sorted(known.items()), at=at)


def delete_provider_rows(tx: Transaction, provider: ProviderId) -> None:
    """Remove a provider and all that hangs on it but allocations, which it must not have."""
    for what in _DELETE:
        tx.write(what, {"id": provider})
