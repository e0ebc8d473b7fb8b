"""Undo records: what each heal changed, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import DateTime

from moorage.store.sql import Load, LockingLoad, Write, query
from moorage.store.store import Store
from moorage.store.transaction import Transaction

Row = dict[str, Any]
"""A row as the driver gives it, by column."""


class ChangedConsumer(msgspec.Struct, frozen=True):
    """A consumer's own row and its allocations, before and after; None: it has no row.

    ``told_before`` and ``told_after`` are the same as the journal tells it.
    """

    uuid: str
    before: Row | None
    after: Row | None
    held_before: list[Row]
    held_after: list[Row]
    told_before: Row | None
    told_after: Row | None


class ChangedTotal(msgspec.Struct, frozen=True):
    """A running total before and after; None: it has no row.

    ``by_units``: it follows what a consumer holds, so it is put back by as many units, whatever
    others did to it meanwhile.
    """

    provider: int
    class_id: int
    before: int | None
    after: int | None
    by_units: bool


class ChangedMove(msgspec.Struct, frozen=True):
    """A move's own row and its credits, before and after; None: it has no row.

    ``told``: what the journal was told of it meanwhile, for the way back.
    """

    uuid: str
    before: Row | None
    after: Row | None
    credits_before: list[Row]
    credits_after: list[Row]
    told: list["ToldOfMove"] = []


class ToldOfMove(msgspec.Struct, frozen=True):
    """One row of the journal about a move."""

    kind: str
    providers: list[int]
    before: Any
    after: Any


class TouchedPlace(msgspec.Struct, frozen=True):
    """What stood behind a slot: the provider's uuid, None for none, and whether it was stocked."""

    provider: int
    class_id: int
    uuid: str | None
    stocked: bool


class UndoRecord(msgspec.Struct, frozen=True):
    """All that one heal changed.

    ``consumers`` has those too that are in a move which changed, though they themselves did not:
    what is credited goes by what they hold.
    """

    consumers: list[ChangedConsumer]
    totals: list[ChangedTotal]
    places: list[TouchedPlace]
    moves: list[ChangedMove] = []


_decode: Final = msgspec.json.Decoder(UndoRecord).decode


@dataclass(frozen=True, slots=True)
class KeptUndo:
    """A heal that can be undone, or was."""

    id: int
    at: datetime
    kind: str
    subject: str
    record: UndoRecord
    undone_at: datetime | None


_COLUMNS = "SELECT u.id, u.at, u.kind, u.subject, u.record, u.undone_at FROM moorage_undo u"
_ONE = LockingLoad(
    f"{_COLUMNS} {{hint}} WHERE u.id = :id", index="PRIMARY", moments=("at", "undone_at")
)
_LATEST = query(f"{_COLUMNS} ORDER BY u.id DESC LIMIT :most", at=DateTime, undone_at=DateTime)
_INSERT = Load(
    """INSERT INTO moorage_undo (at, kind, subject, record, request_id)
       VALUES (:at, :kind, :subject, '', :request_id)
       RETURNING id"""
)
_FILL = Write("UPDATE moorage_undo SET record = :record WHERE id = :id")
_MARK = Write("UPDATE moorage_undo SET undone_at = :at WHERE id = :id AND undone_at IS NULL")
_MOMENT = "moment "


def begin_undo(tx: Transaction, *, kind: str, subject: str, request_id: str, at: datetime) -> int:
    """A record still without what was changed; its number is part of what a heal writes."""
    values = {"kind": kind, "subject": subject, "request_id": request_id, "at": at}
    (row,) = tx.load(_INSERT, values)
    return int(row.id)


def fill_undo(tx: Transaction, undo_id: int, record: UndoRecord) -> None:
    """Write what was changed."""
    packed = msgspec.json.encode(record).decode()
    tx.write(_FILL, {"id": undo_id, "record": packed}, rows=1)


def load_undo(tx: Transaction, undo_id: int) -> KeptUndo | None:
    """One record; nobody else takes it before this transaction ends."""
    rows = tx.load(_ONE, {"id": undo_id})
    return _kept(rows[0]) if rows else None


def read_undos(store: Store, *, most: int) -> list[KeptUndo]:
    """The newest records."""
    return [_kept(row) for row in store.read(_LATEST, {"most": most})]


def mark_undone(tx: Transaction, undo_id: int, *, at: datetime) -> None:
    tx.write(_MARK, {"id": undo_id, "at": at}, rows=1)


def _kept(row: Any) -> KeptUndo:
    return KeptUndo(row.id, row.at, row.kind, row.subject, _decode(row.record), row.undone_at)


def packed(row: Mapping[str, Any]) -> Row:
    """A row as JSON can hold it: moments that the driver has as such are marked."""
    return {
        name: _MOMENT + value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def unpacked(row: Mapping[str, Any]) -> Row:
    """A row as the driver wants it, to the byte what it gave."""
    return {
        name: datetime.fromisoformat(value.removeprefix(_MOMENT))
        if isinstance(value, str) and value.startswith(_MOMENT)
        else value
        for name, value in row.items()
    }
