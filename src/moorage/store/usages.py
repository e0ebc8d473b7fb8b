"""Sums of allocations over the consumers of a project, and the journal rows that change them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row

from moorage.store.following import (
    COUNT_AS_ID,
    Columns,
    Found,
    Since,
    load_new_rows,
    load_since,
    read_new_rows,
    select_new_rows,
)
from moorage.store.journal import RECOUNT_KIND
from moorage.store.sql import query
from moorage.store.store import Store

_SUMS = query(
    """
    SELECT held.project, us.external_id AS user_id, ct.name AS consumer_type,
           rc.name AS class_name, held.used, 0 AS consumers
    FROM (
        SELECT pr.external_id AS project, c.user_id, c.consumer_type_id, a.resource_class_id,
               SUM(a.used) AS used
        FROM projects pr
        JOIN consumers c ON c.project_id = pr.id
        JOIN allocations a ON a.consumer_id = c.uuid
        WHERE pr.external_id = :project
        GROUP BY pr.external_id, c.user_id, c.consumer_type_id, a.resource_class_id
    ) held
    JOIN resource_classes rc ON rc.id = held.resource_class_id
    LEFT JOIN users us ON us.id = held.user_id
    LEFT JOIN consumer_types ct ON ct.id = held.consumer_type_id
    UNION ALL
    SELECT held.project, us.external_id AS user_id, ct.name AS consumer_type,
           NULL AS class_name, 0 AS used, held.consumers
    FROM (
        SELECT pr.external_id AS project, c.user_id, c.consumer_type_id, COUNT(*) AS consumers
        FROM projects pr
        JOIN consumers c ON c.project_id = pr.id
        WHERE pr.external_id = :project
          AND EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = c.uuid)
        GROUP BY pr.external_id, c.user_id, c.consumer_type_id
    ) held
    LEFT JOIN users us ON us.id = held.user_id
    LEFT JOIN consumer_types ct ON ct.id = held.consumer_type_id
    UNION ALL
    SELECT pr.external_id AS project, us.external_id AS user_id, ct.name AS consumer_type,
           rc.name AS class_name, -k.used, 0 AS consumers
    FROM projects pr
    JOIN consumers c ON c.project_id = pr.id
    JOIN moorage_moves m ON m.open_hold = c.uuid
    JOIN moorage_credits k ON k.move = m.uuid
    JOIN resource_classes rc ON rc.id = k.resource_class_id
    LEFT JOIN users us ON us.id = c.user_id
    LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
    WHERE pr.external_id = :project
    """
)
_CHANGE: Final = Columns(
    "j.id, j.kind, j.before, j.after", f"CAST({COUNT_AS_ID} AS SIGNED), '-', NULL, NULL"
)
_CHANGES = select_new_rows(_CHANGE.read)
_ALLOCATION_KIND = "allocation."
_RESETTING_KINDS = ("class.rename", RECOUNT_KIND)


class Holder(msgspec.Struct, frozen=True):
    """A consumer as the journal tells of it: whose it is, and what it holds.

    ``is_credit``: no consumer, but what a move takes off what its hold is seen to hold.
    """

    resources: dict[str, dict[str, int]]
    project_id: str
    user_id: str
    consumer_type: str | None = None
    is_credit: bool = False


_decode = msgspec.json.Decoder(Holder).decode


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What the consumers of one user and type hold of one class; or how many they are.

    ``user_id`` and ``consumer_type`` are None where they are not recorded, ``class_name`` in rows
    that count the consumers. ``project_id`` is as the store spells it.
    """

    project_id: str
    user_id: str | None
    consumer_type: str | None
    class_name: str | None
    used: int
    consumers: int


@dataclass(frozen=True, slots=True)
class UsageChange:
    """A journal row as far as sums care.

    ``before`` and ``after`` are None where there was or is no consumer, and in rows that change
    none. ``resets``: a class has another name from here on, or all has been counted anew.
    """

    id: int
    before: Holder | None = None
    after: Holder | None = None
    resets: bool = False


@dataclass(frozen=True, slots=True)
class UsagePicture:
    """A project's sums and the journal, of one moment.

    ``changes`` are those that were asked for; ``since`` says up to where the journal was written.
    """

    rows: list[UsageRow]
    changes: Found[UsageChange]
    since: Since


def read_usage_changes(store: Store, since: Since, *, most: int) -> Found[UsageChange]:
    """What is new in the journal, at most ``most`` rows of it past the mark."""
    return read_new_rows(store, _CHANGE, _change, since=since, most=most)


def read_usage_picture(store: Store, since: Since, *, project_id: str, most: int) -> UsagePicture:
    """A project's sums, with what is new in the journal, at most ``most`` rows past the mark."""

    def load(connection: Connection) -> UsagePicture:
        dialect = store.dialect
        sums = connection.execute(_SUMS, {"project": project_id})
        return UsagePicture(
            rows=[_usage(row) for row in sums],
            changes=load_new_rows(connection, dialect, _CHANGES, _change, since=since, most=most),
            since=load_since(connection, dialect),
        )

    return store.read_picture(load)


def _change(row: Sequence[Any]) -> UsageChange:
    number, kind, before, after = row
    if kind.startswith(_ALLOCATION_KIND):
        return UsageChange(number, before and _decode(before), after and _decode(after))
    return UsageChange(number, resets=kind in _RESETTING_KINDS)


def _usage(row: Row[Any]) -> UsageRow:
    return UsageRow(
        row.project, row.user_id, row.consumer_type, row.class_name, int(row.used), row.consumers
    )
