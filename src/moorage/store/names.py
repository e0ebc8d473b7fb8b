"""Named things that other rows refer to: classes, traits, aggregates, types, projects, users."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Table

from moorage.domain.ids import CUSTOM_CLASS_ID_MIN, CUSTOM_PREFIX, ResourceClassId, TraitId
from moorage.store.memory import remember
from moorage.store.sql import Insert, Load, LockingLoad, Write
from moorage.store.tables import (
    consumer_types,
    placement_aggregates,
    projects,
    resource_classes,
    traits,
    users,
)
from moorage.store.transaction import Transaction

_STAMP = "COALESCE(n.updated_at, n.created_at) AS modified_at"


@dataclass(frozen=True, slots=True)
class Named:
    """A named row and when it last changed (naive UTC; None for rows older than the stamps)."""

    id: int
    name: str
    modified_at: datetime | None


# --- resource classes -----------------------------------------------------------------------

_CLASS_IDS = (
    "SELECT n.id, n.name FROM resource_classes n {hint} WHERE n.name IN :names ORDER BY n.id"
)
_KEEP_CLASSES = LockingLoad(_CLASS_IDS, index="uniq_resource_classes0name", shared=True)
_LOCK_CLASSES = LockingLoad(_CLASS_IDS, index="uniq_resource_classes0name")
_CLASS_ID_MAX = Load("SELECT MAX(n.id) AS highest FROM resource_classes n")
_CLASS_USED = Load("SELECT i.id FROM inventories i WHERE i.resource_class_id = :id LIMIT 1")
_INSERT_CLASS = Insert(resource_classes, ("id", "name", "created_at"))
_RENAME_CLASS = Write("UPDATE resource_classes SET name = :name, updated_at = :at WHERE id = :id")
_DELETE_CLASS = Write("DELETE FROM resource_classes WHERE id = :id")


def keep_classes(tx: Transaction, names: Iterable[str]) -> dict[str, ResourceClassId]:
    """Ids by name of the classes that exist; none is deleted before this transaction ends.

    Standard classes are never deleted or renamed, so those once seen cost no statement.
    """
    wanted = list(names)
    ids = {name: tx.memory.classes[name] for name in wanted if name in tx.memory.classes}
    found = _class_ids(tx, [name for name in wanted if name not in ids], _KEEP_CLASSES)
    standard = {name: key for name, key in found.items() if key < CUSTOM_CLASS_ID_MIN}
    if standard:
        tx.learned.append(lambda: remember(tx.memory.classes, standard))
    return ids | found


def lock_class(tx: Transaction, name: str) -> ResourceClassId | None:
    """Take one class for a change or its deletion."""
    return _class_ids(tx, [name], _LOCK_CLASSES).get(name)


def _class_ids(
    tx: Transaction, names: Iterable[str], what: LockingLoad
) -> dict[str, ResourceClassId]:
    wanted = list(names)
    if not wanted:
        return {}
    rows = tx.load(what, {"names": wanted})
    return {row.name: ResourceClassId(row.id) for row in rows}


def class_in_use(tx: Transaction, class_id: ResourceClassId) -> bool:
    return bool(tx.load(_CLASS_USED, {"id": class_id}))


def insert_class(tx: Transaction, name: str, *, at: datetime) -> None:
    """Add a custom class under the next free id; a race for the id starts the work anew."""
    (row,) = tx.load(_CLASS_ID_MAX)
    next_id = max((row.highest or 0) + 1, CUSTOM_CLASS_ID_MIN)
    tx.insert(_INSERT_CLASS, [{"id": next_id, "name": name, "created_at": at}])


def rename_class(tx: Transaction, class_id: ResourceClassId, name: str, *, at: datetime) -> None:
    tx.write(_RENAME_CLASS, {"id": class_id, "name": name, "at": at}, rows=1)


def delete_class(tx: Transaction, class_id: ResourceClassId) -> None:
    tx.write(_DELETE_CLASS, {"id": class_id}, rows=1)


# --- traits ---------------------------------------------------------------------------------

_TRAIT_COLUMNS = f"SELECT n.id, n.name, {_STAMP} FROM traits n"
_LOAD_TRAIT = Load(f"{_TRAIT_COLUMNS} WHERE n.name = :name", moments=("modified_at",))
_KEEP_TRAITS = LockingLoad(
    f"{_TRAIT_COLUMNS} {{hint}} WHERE n.name IN :names ORDER BY n.id",
    index="uniq_traits0name",
    shared=True,
    moments=("modified_at",),
)
_LOCK_TRAIT = LockingLoad(
    "SELECT n.id, n.name FROM traits n {hint} WHERE n.name = :name", index="uniq_traits0name"
)
_TRAIT_USED = Load(
    "SELECT l.trait_id FROM resource_provider_traits l WHERE l.trait_id = :id LIMIT 1"
)
_INSERT_TRAIT = Insert(traits, ("name", "created_at"))
_DELETE_TRAIT = Write("DELETE FROM traits WHERE id = :id")


def _named(rows: Iterable[Any]) -> list[Named]:
    return [Named(row.id, row.name, row.modified_at) for row in rows]


def load_trait(tx: Transaction, name: str) -> Named | None:
    rows = _named(tx.load(_LOAD_TRAIT, {"name": name}))
    return rows[0] if rows else None


def keep_traits(tx: Transaction, names: Iterable[str]) -> dict[str, Named]:
    """The traits that exist by name; none of them is deleted before this transaction ends.

    Standard traits are never deleted, so those once seen cost no statement.
    """
    wanted = list(names)
    memory = tx.memory.traits
    kept = {
        name: Named(memory[name][0], name, memory[name][1]) for name in wanted if name in memory
    }
    missing = [name for name in wanted if name not in kept]
    if not missing:
        return kept
    found = _named(tx.load(_KEEP_TRAITS, {"names": missing}))
    standard = {
        trait.name: (trait.id, trait.modified_at)
        for trait in found
        if not trait.name.startswith(CUSTOM_PREFIX)
    }
    tx.learned.append(lambda: remember(memory, standard))
    together = kept | {trait.name: trait for trait in found}
    return dict(sorted(together.items(), key=lambda item: item[1].id))


def lock_trait(tx: Transaction, name: str) -> TraitId | None:
    """Take one trait for its deletion."""
    rows = tx.load(_LOCK_TRAIT, {"name": name})
    # Tables that Placement made on MariaDB find other spellings of a name, too.
    return next((TraitId(row.id) for row in rows if row.name == name), None)


def trait_in_use(tx: Transaction, trait: TraitId) -> bool:
    return bool(tx.load(_TRAIT_USED, {"id": trait}))


def insert_trait(tx: Transaction, name: str, *, at: datetime) -> None:
    tx.insert(_INSERT_TRAIT, [{"name": name, "created_at": at}])


def delete_trait_row(tx: Transaction, trait: TraitId) -> None:
    tx.write(_DELETE_TRAIT, {"id": trait}, rows=1)


# --- rows that are made when first named, and never changed or deleted -----------------------


class _Kind:
    """A table of names with its statements."""

    def __init__(self, table: Table, column: str) -> None:
        self.column = column
        self.find = Load(
            f"SELECT n.id, n.{column} AS name FROM {table.name} n WHERE n.{column} IN :names"
        )
        self.find_same = Load(
            f"SELECT n.id, n.{column} AS name FROM {table.name} n WHERE n.{column} = :name"
        )
        self.insert = Insert(table, (column, "created_at"))


_AGGREGATES = _Kind(placement_aggregates, "uuid")
_PROJECTS = _Kind(projects, "external_id")
_USERS = _Kind(users, "external_id")
_TYPES = _Kind(consumer_types, "name")


def ensure_aggregates(tx: Transaction, uuids: Iterable[str], *, at: datetime) -> dict[str, int]:
    """Row ids of aggregates by uuid; those that are new are added, and none is ever deleted."""
    return _known(tx, tx.memory.aggregates, _AGGREGATES, set(uuids), at=at).ids


@dataclass(frozen=True, slots=True)
class Parties:
    """Row ids by name of those whom consumers belong to.

    ``project_spellings``, ``user_spellings``: how the database spells what it takes for the same.
    """

    projects: Mapping[str, int]
    users: Mapping[str, int]
    consumer_types: Mapping[str, int]
    project_spellings: Mapping[str, str] = field(default_factory=dict)
    user_spellings: Mapping[str, str] = field(default_factory=dict)


def ensure_parties(
    tx: Transaction,
    *,
    project_ids: set[str],
    user_ids: set[str],
    types: set[str],
    at: datetime,
) -> Parties:
    """Row ids of projects, users and consumer types; no statement for those remembered."""
    memory = tx.memory
    projects_known = _known(tx, memory.projects, _PROJECTS, project_ids, at=at)
    users_known = _known(tx, memory.users, _USERS, user_ids, at=at)
    return Parties(
        projects=projects_known.ids,
        users=users_known.ids,
        consumer_types=_known(tx, memory.consumer_types, _TYPES, types, at=at).ids,
        project_spellings=projects_known.spellings,
        user_spellings=users_known.spellings,
    )


class _Known(NamedTuple):
    """Row ids by name, and by name how the database spells it where that is another way."""

    ids: dict[str, int]
    spellings: dict[str, str]


def _known(
    tx: Transaction, remembered: dict[str, int], kind: _Kind, names: set[str], *, at: datetime
) -> _Known:
    ids = {name: remembered[name] for name in names if name in remembered}
    missing = names - ids.keys()
    if not missing:
        return _Known(ids, {})
    found, spellings = _ensure(tx, kind, sorted(missing), at=at)
    exact = {name: key for name, key in found.items() if name not in spellings}
    tx.learned.append(lambda: remember(remembered, exact))
    return _Known(ids | found, spellings)


def _ensure(tx: Transaction, kind: _Kind, names: list[str], *, at: datetime) -> _Known:
    found = _Known({row.name: row.id for row in tx.load(kind.find, {"names": names})}, {})
    missing = [name for name in names if name not in found.ids]
    if missing and not tx.first_try:
        for name in missing:
            _ensure_same(tx, kind, name, found, at=at)
    elif missing:
        # Whoever inserts the same name first makes this transaction start anew, and find it.
        _insert_names(tx, kind, missing, found, at=at)
    return found


def _insert_names(
    tx: Transaction, kind: _Kind, names: list[str], found: _Known, *, at: datetime
) -> None:
    tx.insert(kind.insert, [{kind.column: name, "created_at": at} for name in names])
    found.ids.update({row.name: row.id for row in tx.load(kind.find, {"names": names})})


def _ensure_same(tx: Transaction, kind: _Kind, name: str, found: _Known, *, at: datetime) -> None:
    """Add a name that the database may know in another spelling.

    The tables of a site that comes from Placement may not tell case, accents or spaces at the end
    apart: the insert failed because of a row that is not found under the name as it is written, or
    because two of the new names are one to them, so that each is looked for after the one before.
    """
    for row in tx.load(kind.find_same, {"name": name}):
        found.ids[name] = row.id
        if row.name != name:
            found.spellings[name] = row.name
    if name not in found.ids:
        _insert_names(tx, kind, [name], found, at=at)


def load_names(tx: Transaction, table: Table) -> set[str]:
    """All names of a table of named rows, for the start-up synchronisation."""
    return {row.name for row in tx.load(Load(f"SELECT n.name FROM {table.name} n"))}
