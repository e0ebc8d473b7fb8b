"""Rows of consumers, allocations and totals as heals and undos change them: whole, and guarded."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from moorage.domain.ids import ProviderId, ResourceClassId
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Slot
from moorage.domain.mending import HeldRow, RowPlan
from moorage.store.sql import Insert, Load, Write
from moorage.store.tables import allocations, consumers, moorage_usages
from moorage.store.transaction import Transaction
from moorage.store.undo import Row, TouchedPlace, packed, unpacked

_CONSUMER_COLUMNS: Final = tuple(column.name for column in consumers.columns)
_ALLOCATION_COLUMNS: Final = tuple(column.name for column in allocations.columns)


def _listed(columns: Sequence[str], alias: str) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _insertion(table: str, columns: Sequence[str]) -> Write:
    marks = ", ".join(f":{column}" for column in columns)
    return Write(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})")


def _overwriting(table: str, columns: Sequence[str], guard: str) -> Write:
    sets = ", ".join(f"{column} = :{column}" for column in columns if column != "id")
    return Write(f"UPDATE {table} SET {sets} WHERE id = :id AND {guard}")


_CONSUMERS = Load(
    f"SELECT {_listed(_CONSUMER_COLUMNS, 'c')} FROM consumers c WHERE c.uuid IN :uuids",
)
_ALLOCATIONS = Load(
    f"""SELECT {_listed(_ALLOCATION_COLUMNS, "a")} FROM allocations a
        WHERE a.consumer_id IN :uuids ORDER BY a.id""",
)
_PUT_CONSUMER = _insertion("consumers", _CONSUMER_COLUMNS)
_PUT_ALLOCATION = _insertion("allocations", _ALLOCATION_COLUMNS)
_PUT_CONSUMER_ANEW = _insertion("consumers", [c for c in _CONSUMER_COLUMNS if c != "id"])
_PUT_ALLOCATION_ANEW = _insertion("allocations", [c for c in _ALLOCATION_COLUMNS if c != "id"])
_OVERWRITE_CONSUMER = _overwriting("consumers", _CONSUMER_COLUMNS, "generation = :was")
_OVERWRITE_ALLOCATION = _overwriting("allocations", _ALLOCATION_COLUMNS, "used = :was")
_TAKE_CONSUMER = Write(
    "UPDATE consumers SET generation = generation + 1 WHERE id = :id AND generation = :was"
)
_DROP_CONSUMER = Write("DELETE FROM consumers WHERE id = :id")
_RAISE_CONSUMER = Write(
    """UPDATE consumers SET generation = :becomes, updated_at = :at
       WHERE id = :id AND generation = :was"""
)
_INSERT_CONSUMER = Insert(consumers, ("uuid", "project_id", "user_id", "generation", "created_at"))
_INSERT_ALLOCATIONS = Insert(
    allocations,
    ("resource_provider_id", "resource_class_id", "consumer_id", "used", "created_at"),
)
_DROP_ALLOCATIONS = Write("DELETE FROM allocations WHERE id IN :ids")
_CHANGE_ALLOCATION = Write(
    "UPDATE allocations SET used = :used, updated_at = :at WHERE id = :id AND used = :was"
)
_TAKEN_ALLOCATIONS = Load("SELECT a.id FROM allocations a WHERE a.id IN :ids")
_TAKEN_CONSUMER = Load("SELECT c.id FROM consumers c WHERE c.id = :id")
_MOVE_TOTAL = Write(
    """UPDATE moorage_usages SET used = used + :by
       WHERE resource_provider_id = :provider AND resource_class_id = :class_id"""
)
_SET_TOTAL = Write(
    """UPDATE moorage_usages SET used = :becomes
       WHERE resource_provider_id = :provider AND resource_class_id = :class_id AND used = :was"""
)
_DROP_TOTAL = Write(
    """DELETE FROM moorage_usages
       WHERE resource_provider_id = :provider AND resource_class_id = :class_id AND used = :was"""
)
_INSERT_TOTAL = Insert(moorage_usages, ("resource_provider_id", "resource_class_id", "used"))
_TOTALS = Load(
    """SELECT u.resource_provider_id, u.resource_class_id, u.used FROM moorage_usages u
       WHERE u.resource_provider_id IN :ids""",
)
_STOCKED = Load(
    """SELECT i.resource_provider_id, i.resource_class_id, i.total, i.reserved, i.allocation_ratio
       FROM inventories i WHERE i.resource_provider_id IN :ids""",
)
_UUIDS = Load("SELECT p.id, p.uuid FROM resource_providers p WHERE p.id IN :ids")


def load_raw_consumers(tx: Transaction, uuids: Collection[str]) -> dict[str, Row]:
    """The rows of consumers as the driver has them."""
    found = tx.load(_CONSUMERS, {"uuids": sorted(uuids)}) if uuids else ()
    return {row.uuid: packed(row._asdict()) for row in found}


def load_raw_allocations(tx: Transaction, uuids: Collection[str]) -> dict[str, list[Row]]:
    """The allocations of consumers as the driver has them, oldest first."""
    held: dict[str, list[Row]] = {uuid: [] for uuid in uuids}
    for row in tx.load(_ALLOCATIONS, {"uuids": sorted(uuids)}) if uuids else ():
        held.setdefault(row.consumer_id, []).append(packed(row._asdict()))
    return held


def held_rows(rows: Iterable[Row]) -> tuple[HeldRow, ...]:
    """Rows of allocations as decisions see them."""
    return tuple(HeldRow(row["id"], slot_of_row(row), row["used"]) for row in rows)


def slot_of_row(row: Mapping[str, Any]) -> Slot:
    return (
        ProviderId(row["resource_provider_id"]),
        ResourceClassId(row["resource_class_id"]),
    )


def load_totals(tx: Transaction, providers: Collection[int]) -> dict[Slot, int]:
    """Running totals of providers."""
    rows: Iterable[Sequence[Any]] = ()
    if providers:
        rows = tx.load(_TOTALS, {"ids": sorted(providers)})
    return {(ProviderId(row[0]), ResourceClassId(row[1])): int(row[2]) for row in rows}


def load_places(tx: Transaction, slots: Collection[Slot]) -> list[TouchedPlace]:
    """What stands behind slots now."""
    if not slots:
        return []
    ids = {"ids": sorted({slot[0] for slot in slots})}
    uuids = {row.id: row.uuid for row in tx.load(_UUIDS, ids)}
    rows: Iterable[Sequence[Any]] = tx.load(_STOCKED, ids)
    stocked = {(row[0], row[1]) for row in rows}
    return [
        TouchedPlace(slot[0], slot[1], uuids.get(slot[0]), slot in stocked)
        for slot in sorted(slots)
    ]


def load_capacities(tx: Transaction, providers: Collection[int]) -> dict[Slot, int]:
    """Units that may be allocated, of each inventory of some providers."""
    rows: Iterable[Sequence[Any]] = ()
    if providers:
        rows = tx.load(_STOCKED, {"ids": sorted(providers)})
    return {
        (ProviderId(row[0]), ResourceClassId(row[1])): Inventory(
            row[2], reserved=row[3], allocation_ratio=float(row[4])
        ).capacity
        for row in rows
    }


# --- what heals write -----------------------------------------------------------------------


def write_rows(
    tx: Transaction, consumer: str, rows: Iterable[HeldRow], plan: RowPlan, *, at: datetime
) -> None:
    """Change the allocation rows of one consumer.

    Raises:
        StaleView: a row is not as it was loaded.
    """
    used = {row.id: row.used for row in rows}
    if plan.dropped:
        tx.write(_DROP_ALLOCATIONS, {"ids": list(plan.dropped)}, rows=len(plan.dropped))
    for key, amount in plan.changed.items():
        values = {"id": key, "used": amount, "was": used[key], "at": at}
        tx.write(_CHANGE_ALLOCATION, values, rows=1)
    tx.insert(
        _INSERT_ALLOCATIONS,
        [
            {
                "resource_provider_id": slot[0],
                "resource_class_id": slot[1],
                "consumer_id": consumer,
                "used": amount,
                "created_at": at,
            }
            for slot, amount in plan.added.items()
        ],
    )


def drop_consumer(tx: Transaction, row: Mapping[str, Any]) -> None:
    """Delete a consumer's row at the generation it was loaded with."""
    # The guard comes first: it also takes the row, so that nobody changes it before the DELETE.
    values = {"id": row["id"], "was": row["generation"]}
    tx.write(_TAKE_CONSUMER, values, rows=1)
    tx.write(_DROP_CONSUMER, {"id": row["id"]}, rows=1)


def raise_consumer(tx: Transaction, row: Mapping[str, Any], *, becomes: int, at: datetime) -> None:
    """Give a consumer a new generation, from the one it was loaded with."""
    values = {"id": row["id"], "was": row["generation"], "becomes": becomes, "at": at}
    tx.write(_RAISE_CONSUMER, values, rows=1)


def insert_consumer(
    tx: Transaction, uuid: str, *, project: int, user: int, generation: int, at: datetime
) -> None:
    """Make a consumer's row."""
    values = {
        "uuid": uuid,
        "project_id": project,
        "user_id": user,
        "generation": generation,
        "created_at": at,
    }
    tx.insert(_INSERT_CONSUMER, [values])


def move_totals(tx: Transaction, moved: Mapping[Slot, int]) -> None:
    """Let running totals follow what is held, by so many units; their providers are locked.

    Raises:
        StaleView: there is no such total.
    """
    for slot, by in sorted(moved.items()):
        values = {"provider": slot[0], "class_id": slot[1], "by": by}
        tx.write(_MOVE_TOTAL, values, rows=1)


def set_total(tx: Transaction, slot: Slot, *, was: int | None, becomes: int | None) -> None:
    """Make a running total what it should be; None: no row.

    Raises:
        StaleView: it is not what it was.
    """
    key = {"provider": slot[0], "class_id": slot[1]}
    if was is None:
        values = {"resource_provider_id": slot[0], "resource_class_id": slot[1], "used": becomes}
        tx.insert(_INSERT_TOTAL, [values])
    elif becomes is None:
        tx.write(_DROP_TOTAL, key | {"was": was}, rows=1)
    elif becomes != was:
        tx.write(_SET_TOTAL, key | {"was": was, "becomes": becomes}, rows=1)


# --- what undos write -----------------------------------------------------------------------


def restore_consumer(tx: Transaction, *, now: Row | None, before: Row | None) -> None:
    """Make a consumer's row what it was, to the byte; its row id where that is still free.

    Raises:
        StaleView: the row is not what it was loaded as.
    """
    if before is None and now is not None:
        drop_consumer(tx, now)
    elif before is not None and now is not None:
        values = unpacked(before) | {"was": now["generation"]}
        tx.write(_OVERWRITE_CONSUMER, values, rows=1)
    elif before is not None:
        taken = bool(tx.load(_TAKEN_CONSUMER, {"id": before["id"]}))
        _put(tx, before, _PUT_CONSUMER_ANEW if taken else _PUT_CONSUMER, anew=taken)


def restore_allocations(tx: Transaction, *, now: Sequence[Row], before: Sequence[Row]) -> int:
    """Make the allocations of some consumers what they were, to the byte.

    Some databases give the row id of a deleted row away again: then the row gets another.

    Returns:
        how many rows have another row id than before.
    Raises:
        StaleView: a row is not what it was loaded as.
    """
    present, wanted = {row["id"]: row for row in now}, {row["id"]: row for row in before}
    gone = [key for key in present if key not in wanted]
    if gone:
        tx.write(_DROP_ALLOCATIONS, {"ids": gone}, rows=len(gone))
    for key, row in present.items():
        if key in wanted and row != wanted[key]:
            values = unpacked(wanted[key]) | {"was": row["used"]}
            tx.write(_OVERWRITE_ALLOCATION, values, rows=1)
    lost = [key for key in wanted if key not in present]
    taken = {row[0] for row in tx.load(_TAKEN_ALLOCATIONS, {"ids": lost})} if lost else set()
    # Those with their old numbers first, lest one that gets a new number takes another's.
    for key in sorted(lost, key=lambda one: one in taken):
        anew = key in taken
        what = _PUT_ALLOCATION_ANEW if anew else _PUT_ALLOCATION
        _put(tx, wanted[key], what, anew=anew)
    return len(taken)


def _put(tx: Transaction, row: Row, what: Write, *, anew: bool) -> None:
    values = unpacked(row)
    if anew:
        del values["id"]
    tx.write(what, values)
