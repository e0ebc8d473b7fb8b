"""Rows of consumers and of their allocations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from moorage.domain.claim import ConsumerChange
from moorage.domain.consumer import ConsumerAllocations
from moorage.domain.ids import (
    ConsumerId,
    ConsumerUuid,
    Generation,
    MoveUuid,
    ProviderUuid,
)
from moorage.domain.ledger import Consumer, Slot
from moorage.domain.move import MoveKind
from moorage.store.dialects import Rows
from moorage.store.names import Parties
from moorage.store.sql import UNDATED, Insert, Load, RowsDelete, RowsUpdate, Write, moment
from moorage.store.store import Store
from moorage.store.tables import allocations, consumers
from moorage.store.transaction import Transaction

_OF_CONSUMER: Final = """
    SELECT c.uuid, c.generation, pr.external_id, us.external_id, ct.name, p.uuid, p.generation,
           rc.name, a.used, COALESCE(a.updated_at, a.created_at)
    FROM allocations a
    JOIN consumers c ON c.uuid = a.consumer_id
    JOIN projects pr ON pr.id = c.project_id
    JOIN users us ON us.id = c.user_id
    JOIN resource_providers p ON p.id = a.resource_provider_id
    JOIN resource_classes rc ON rc.id = a.resource_class_id
    LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
    WHERE a.consumer_id = ?
    ORDER BY a.id
"""
CONSUMERS: Final = Load(
    """SELECT c.id AS id, c.uuid, c.generation, pr.external_id AS project,
              us.external_id AS user_id, ct.name AS consumer_type, a.id AS allocation,
              a.resource_provider_id, a.resource_class_id, a.used, p.uuid AS provider
       FROM consumers c {c}
       JOIN projects pr ON pr.id = c.project_id
       JOIN users us ON us.id = c.user_id
       LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
       LEFT JOIN allocations a {a} ON a.consumer_id = c.uuid
       LEFT JOIN resource_providers p {p} ON p.id = a.resource_provider_id
       WHERE c.uuid IN :uuids""",
    indexes={"c": "uniq_consumers0uuid", "a": "allocations_consumer_id_idx", "p": "PRIMARY"},
)
IN_MOVES: Final = Load(
    """SELECT m.uuid, m.kind, m.consumer, m.hold
       FROM moorage_moves m {by_consumer} WHERE m.open_consumer IN :uuids
       UNION ALL
       SELECT m.uuid, m.kind, m.consumer, m.hold
       FROM moorage_moves m {by_hold} WHERE m.open_hold IN :uuids""",
    indexes={
        "by_consumer": "uniq_moorage_moves0open_consumer",
        "by_hold": "uniq_moorage_moves0open_hold",
    },
)
_GENERATIONS = Load("SELECT c.uuid, c.generation FROM consumers c WHERE c.uuid IN :uuids")
_OTHER_CASE = Load(
    # No row is needed: the text beside the column is compared as the column is.
    """SELECT u.uuid FROM (SELECT c.uuid FROM consumers c WHERE 1 = 0 UNION ALL SELECT 'a') u
       WHERE u.uuid = 'A'"""
)
_DELETE_ALLOCATIONS = Write("DELETE FROM allocations WHERE consumer_id IN :uuids")
_INSERT_ALLOCATIONS = Insert(
    allocations, ("resource_provider_id", "resource_class_id", "consumer_id", "used", "created_at")
)
_INSERT_CONSUMERS = Insert(
    consumers,
    ("uuid", "project_id", "user_id", "generation", "consumer_type_id", "created_at"),
)
_NO_TYPE = 0
_UPDATE_CONSUMERS = RowsUpdate(
    "consumers",
    ("id", "was", "becomes", "project_id", "user_id", "type_id"),
    key={"id": "id"},
    guard={"generation": "was"},
    assign={
        "generation": "d.becomes",
        "project_id": "d.project_id",
        "user_id": "d.user_id",
        "consumer_type_id": f"NULLIF(d.type_id, {_NO_TYPE})",
        "updated_at": ":at",
    },
)
_DELETE_CONSUMERS = RowsDelete(
    "consumers", ("id", "was"), key={"id": "id"}, guard={"generation": "was"}
)
_UPDATE_USAGES = RowsUpdate(
    "moorage_usages",
    ("provider", "class_id", "was", "becomes"),
    key={"resource_provider_id": "provider", "resource_class_id": "class_id"},
    guard={"used": "was"},
    assign={"used": "d.becomes"},
)


def read_consumer(store: Store, consumer: str) -> ConsumerAllocations | None:
    """What a consumer holds, None for nothing."""
    rows = store.read_lean(_OF_CONSUMER, (consumer,), is_frequent=True)
    if not rows:
        return None
    resources: dict[ProviderUuid, tuple[Generation, dict[str, int]]] = {}
    for row in rows:
        held = resources.setdefault(row[5], (Generation(row[6] or 0), {}))
        held[1][row[7]] = row[8]
    uuid, generation, project_id, user_id, consumer_type = rows[0][:5]
    return ConsumerAllocations(
        consumer=uuid,
        generation=Generation(generation),
        project_id=project_id,
        user_id=user_id,
        consumer_type=consumer_type,
        resources=resources,
        modified_at=max(moment(row[9]) or UNDATED for row in rows),
    )


@dataclass(frozen=True, slots=True)
class LoadedConsumers:
    """The consumers that exist, the providers they hold something on, their open moves.

    ``ordered``: those of the moves that were ordered. ``in_moves``: everyone in any of them,
    whether loaded and there or not.
    """

    by_uuid: dict[ConsumerUuid, Consumer]
    providers: set[ProviderUuid]
    moves: set[MoveUuid]
    ordered: set[MoveUuid]
    in_moves: set[ConsumerUuid]


def load_consumers(tx: Transaction, uuids: Iterable[ConsumerUuid]) -> LoadedConsumers:
    """What some consumers hold, and in which open moves they are, as mover or as hold.

    Nothing is locked: whoever changes a consumer's allocations changes its row too, and
    ``write_changes`` finds that out by the generation. A consumer may be in a move without being
    there itself: it has given all it held to its hold.
    """
    wanted = sorted(uuids)
    if not wanted:
        return LoadedConsumers({}, set(), set(), set(), set())
    named = {"uuids": wanted}
    # In this order. Of a move that begins or ends in between, the consumers are then seen as they
    # were before it: who writes one finds out by its generation, or by its having come to exist.
    rows, in_moves = tx.load_each((CONSUMERS, named), (IN_MOVES, named))
    return consumers_found(rows, in_moves, wanted)


def consumers_found(rows: Rows, in_moves: Rows, wanted: Sequence[ConsumerUuid]) -> LoadedConsumers:
    """What ``CONSUMERS`` and ``IN_MOVES`` have found of those that were asked for."""
    return LoadedConsumers(
        by_uuid=consumers_from(rows, wanted),
        providers={row.provider for row in rows if row.provider is not None},
        moves={move.uuid for move in in_moves},
        ordered={move.uuid for move in in_moves if MoveKind(move.kind).is_ordered},
        in_moves={uuid for move in in_moves for uuid in (move.consumer, move.hold)},
    )


def consumers_from(rows: Rows, wanted: Sequence[ConsumerUuid]) -> dict[ConsumerUuid, Consumer]:
    """What ``CONSUMERS`` has found of those that were asked for, in the order of their rows."""
    asked = _Spellings(wanted)
    rows_by_uuid: dict[ConsumerUuid, list[Any]] = {}
    # Sorted here: a database may take longer for it than for all the rest of the statement.
    for row in sorted(rows, key=lambda row: (row.id, row.allocation or 0)):
        rows_by_uuid.setdefault(asked.of(row.uuid), []).append(row)
    return {uuid: _consumer(uuid, rows) for uuid, rows in rows_by_uuid.items()}


def load_generations(
    tx: Transaction, uuids: Iterable[ConsumerUuid]
) -> dict[ConsumerUuid, Generation]:
    """The generations of those of these consumers that exist."""
    wanted = sorted(uuids)
    asked = _Spellings(wanted)
    rows = tx.load(_GENERATIONS, {"uuids": wanted})
    return {asked.of(row.uuid): Generation(row.generation) for row in rows}


def load_is_case_blind(tx: Transaction) -> bool:
    """Whether consumers are the same to the database if their uuids differ in case only."""
    return bool(tx.load(_OTHER_CASE))


class _Spellings:
    """Consumers by the spelling in which they were asked for.

    The tables of a site that comes from Placement may not tell case apart, and then find one that
    is spelled in another way.
    """

    def __init__(self, uuids: Sequence[ConsumerUuid]) -> None:
        self._exact = frozenset(uuids)
        self._folded: dict[str, ConsumerUuid] | None = None

    def of(self, found: str) -> ConsumerUuid:
        if found in self._exact:
            return ConsumerUuid(found)
        if self._folded is None:
            self._folded = {uuid.lower(): uuid for uuid in self._exact}
        return self._folded.get(found.lower(), ConsumerUuid(found))


def _consumer(uuid: ConsumerUuid, rows: Sequence[Any]) -> Consumer:
    first = rows[0]
    held: dict[Slot, int] = {}
    for row in rows:
        if row.used is not None:
            slot = (row.resource_provider_id, row.resource_class_id)
            held[slot] = held.get(slot, 0) + row.used
    return Consumer(
        id=ConsumerId(first.id),
        uuid=uuid,
        generation=Generation(first.generation),
        project_id=first.project,
        user_id=first.user_id,
        consumer_type=first.consumer_type,
        held=held,
    )


def write_changes(
    tx: Transaction, changes: Sequence[ConsumerChange], parties: Parties, *, at: datetime
) -> None:
    """Write the changes of consumers, at most one for each, with their allocations.

    Raises:
        StaleView: a consumer changed after it was loaded.
    """
    _write_consumers(tx, changes, parties, at=at)
    emptied = [
        change.consumer for change in changes if change.before is not None and change.before.held
    ]
    if emptied:
        tx.write(_DELETE_ALLOCATIONS, {"uuids": emptied})
    tx.insert(
        _INSERT_ALLOCATIONS,
        [
            {
                "resource_provider_id": provider,
                "resource_class_id": class_id,
                "consumer_id": change.consumer,
                "used": amount,
                "created_at": at,
            }
            for change in changes
            if change.after is not None
            for (provider, class_id), amount in change.after.held.items()
        ],
    )


def _write_consumers(
    tx: Transaction, changes: Sequence[ConsumerChange], parties: Parties, *, at: datetime
) -> None:
    new: list[dict[str, Any]] = []
    kept: list[tuple[int, ...]] = []
    for change in changes:
        after = change.after
        if after is None:
            continue
        project = parties.projects[after.project_id]
        user = parties.users[after.user_id]
        type_id = parties.consumer_types[after.consumer_type] if after.consumer_type else None
        if change.before is None:
            new.append(
                {
                    "uuid": after.uuid,
                    "project_id": project,
                    "user_id": user,
                    "generation": after.generation,
                    "consumer_type_id": type_id,
                    "created_at": at,
                }
            )
        else:
            assert change.before.id is not None
            kept.append(
                (
                    change.before.id,
                    change.before.generation,
                    after.generation,
                    project,
                    user,
                    type_id or _NO_TYPE,
                )
            )
    # A consumer that another request made in the meantime starts this work anew.
    tx.insert(_INSERT_CONSUMERS, new)
    tx.update(_UPDATE_CONSUMERS, sorted(kept), at=at)
    _delete_consumers(
        tx, [change for change in changes if change.after is None and change.before is not None]
    )


def _delete_consumers(tx: Transaction, changes: Sequence[ConsumerChange]) -> None:
    """Delete consumers that hold nothing any more, each at the generation it was loaded with."""
    rows = []
    for change in changes:
        assert change.before is not None
        assert change.before.id is not None
        rows.append((change.before.id, change.before.generation))
    tx.update(_DELETE_CONSUMERS, sorted(rows))


def write_usages(tx: Transaction, changes: dict[Slot, tuple[int, int]]) -> None:
    """Move running totals from what they were decided on to what they become.

    Raises:
        StaleView: a total is not what it was, so the capacity that was checked may be gone.
    """
    rows = [(slot[0], slot[1], was, becomes) for slot, (was, becomes) in sorted(changes.items())]
    tx.update(_UPDATE_USAGES, rows)
