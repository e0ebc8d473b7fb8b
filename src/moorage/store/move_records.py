"""Rows of moves as they are read, and what orders and their steps write into them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import DateTime
from sqlalchemy.sql.expression import TextualSelect

from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderUuid
from moorage.domain.made_claim import Placing, Resources
from moorage.domain.move import MoveEvent, MoveKind, MoveState
from moorage.domain.move_record import MoveFilter, MoveOutcome, MovePlan, MoveRecord
from moorage.store.sql import Load, Write, query
from moorage.store.store import Store
from moorage.store.transaction import Transaction

_MOMENTS: Final = ("deadline", "due_at", "created_at", "updated_at")
_COLUMNS: Final = """SELECT m.id, m.uuid, m.kind, m.state, m.consumer, m.hold, m.generation,
       m.global_request_id, m.project_id, m.user_id, m.source, m.digest, m.request, m.destination,
       m.alternates, m.tried, m.last_step, m.step_generation, m.deadline, m.due_at, m.outcome,
       m.created_at, m.updated_at
  FROM moorage_moves m"""


def _query(condition: str) -> TextualSelect:
    return query(
        f"{_COLUMNS} {condition}",
        deadline=DateTime,
        due_at=DateTime,
        created_at=DateTime,
        updated_at=DateTime,
    )


_READ: Final = _query("WHERE m.uuid = :uuid")
_LOAD: Final = Load(f"{_COLUMNS} WHERE m.uuid = :uuid", moments=_MOMENTS)
_DUE: Final = _query("WHERE m.due_at <= :at ORDER BY m.due_at, m.id LIMIT :most")
_LEFT: Final = _query(
    f"""WHERE m.state = '{MoveState.SWAPPED}' AND m.kind <> '{MoveKind.OBSERVED}'
        ORDER BY m.id LIMIT :most"""
)
_OPEN_OF: Final = _query("WHERE m.open_consumer = :consumer OR m.open_hold = :consumer")
_KNOWN: Final = Load("SELECT m.uuid FROM moorage_moves m WHERE m.uuid IN :uuids")
_CONDITIONS: Final = {
    "consumer": "m.consumer = :consumer",
    "project_id": "m.project_id = :project_id",
    "kind": "m.kind = :kind",
    "state": "m.state = :state",
    "after": "m.id > :after",
    "open": "m.open_consumer IS NOT NULL",
    "over": "m.open_consumer IS NULL",
}
_WRITE_ORDER: Final = Write(
    """UPDATE moorage_moves
       SET digest = :digest, request = :request, deadline = :deadline, due_at = :deadline
       WHERE uuid = :uuid"""
)
_WRITE_PLAN: Final = Write(
    """UPDATE moorage_moves
       SET destination = :destination, alternates = :alternates, tried = :tried
       WHERE uuid = :uuid"""
)
_WRITE_STEP: Final = Write(
    """UPDATE moorage_moves
       SET last_step = :step, step_generation = :generation, outcome = :outcome
       WHERE uuid = :uuid AND generation = :generation"""
)
_WRITE_OUTCOME: Final = Write("UPDATE moorage_moves SET outcome = :outcome WHERE uuid = :uuid")
_TELL: Final = Write(
    "UPDATE moorage_moves SET due_at = NULL WHERE uuid = :uuid AND due_at IS NOT NULL"
)
_encode = msgspec.json.Encoder().encode
_decode_source = msgspec.json.Decoder(Resources).decode
_decode_search = msgspec.json.Decoder(dict[str, Any]).decode
_decode_destination = msgspec.json.Decoder(Placing).decode
_decode_alternates = msgspec.json.Decoder(tuple[Placing, ...]).decode
_decode_tried = msgspec.json.Decoder(tuple[ProviderUuid, ...]).decode
_decode_outcome = msgspec.json.Decoder(MoveOutcome).decode


def read_move(store: Store, uuid: str) -> MoveRecord | None:
    """A move by its uuid, None if there is none."""
    rows = store.read(_READ, {"uuid": uuid})
    return _record(rows[0]) if rows else None


def load_move(tx: Transaction, uuid: str) -> MoveRecord | None:
    """The same in a transaction; nothing is locked, its generation guards it."""
    rows = tx.load(_LOAD, {"uuid": uuid})
    return _record(rows[0]) if rows else None


def load_known(tx: Transaction, uuids: Collection[MoveUuid]) -> frozenset[MoveUuid]:
    """Those of these uuids that are of moves, open or over."""
    return frozenset(MoveUuid(row.uuid) for row in tx.load(_KNOWN, {"uuids": sorted(uuids)}))


def read_open_move(store: Store, consumer: str) -> MoveRecord | None:
    """The open move that a consumer is in, as the one that moves or as its hold."""
    rows = store.read(_OPEN_OF, {"consumer": consumer})
    return _record(rows[0]) if rows else None


def read_due_moves(store: Store, *, at: datetime, most: int) -> list[MoveRecord]:
    """Open moves whose deadline is over and was not told yet, the longest overdue first."""
    return [_record(row) for row in store.read(_DUE, {"at": at, "most": most})]


def read_left_moves(store: Store, *, most: int) -> list[MoveRecord]:
    """Open moves that were ordered and whose consumers hold nothing any more, oldest first."""
    return [_record(row) for row in store.read(_LEFT, {"most": most})]


def read_moves(
    store: Store, wanted: MoveFilter, *, after: int | None, most: int
) -> list[MoveRecord]:
    """The moves for which every part of a filter holds, oldest first.

    Args:
        after: only moves with a higher row id.
    """
    values: dict[str, Any] = {
        "consumer": wanted.consumer,
        "project_id": wanted.project_id,
        "kind": wanted.kind and wanted.kind.value,
        "state": wanted.state and wanted.state.value,
        "after": after,
    }
    given = {name: value for name, value in values.items() if value is not None}
    flags = {True: ("open",), False: ("over",), None: ()}[wanted.is_open]
    return [
        _record(row) for row in store.read(_list_query((*given, *flags)), {**given, "most": most})
    ]


@lru_cache(maxsize=128)
def _list_query(names: tuple[str, ...]) -> TextualSelect:
    conditions = " AND ".join(_CONDITIONS[name] for name in names)
    where = f"WHERE {conditions}" if conditions else ""
    return _query(f"{where} ORDER BY m.id LIMIT :most")


def write_order(
    tx: Transaction,
    uuid: MoveUuid,
    *,
    digest: str,
    search: Mapping[str, Any],
    deadline: datetime | None,
) -> None:
    """Note what a move's order says, in the transaction that opens it."""
    values = {
        "uuid": uuid,
        "digest": digest,
        "request": _encode(search).decode(),
        "deadline": deadline,
    }
    tx.write(_WRITE_ORDER, values, rows=1)


def write_plan(tx: Transaction, uuid: MoveUuid, plan: MovePlan) -> None:
    """Note where a move goes; its row is locked by now."""
    values = {
        "uuid": uuid,
        "destination": _encode(plan.destination).decode(),
        "alternates": _encode(plan.alternates).decode(),
        "tried": _encode(plan.tried).decode(),
    }
    # No guard: another destination may be the same one, and some databases count changes only.
    tx.write(_WRITE_PLAN, values)


def write_step(
    tx: Transaction,
    uuid: MoveUuid,
    *,
    step: MoveEvent,
    generation: Generation,
    outcome: MoveOutcome | None = None,
) -> None:
    """Note which step has led a move to a generation."""
    values = {
        "uuid": uuid,
        "step": step.value,
        "generation": generation,
        "outcome": None if outcome is None else _encode(outcome).decode(),
    }
    tx.write(_WRITE_STEP, values, rows=1)


def write_outcome(tx: Transaction, uuid: MoveUuid, outcome: MoveOutcome) -> None:
    """Note how a move, which is locked by now, came to its end."""
    tx.write(_WRITE_OUTCOME, {"uuid": uuid, "outcome": _encode(outcome).decode()}, rows=1)


def write_told(tx: Transaction, uuid: MoveUuid) -> None:
    """Note that a move's deadline is told; the view is stale if it has been."""
    tx.write(_TELL, {"uuid": uuid}, rows=1)


def _record(row: Any) -> MoveRecord:
    return MoveRecord(
        id=row.id,
        uuid=MoveUuid(row.uuid),
        kind=MoveKind(row.kind),
        state=MoveState(row.state),
        consumer=ConsumerUuid(row.consumer),
        hold=ConsumerUuid(row.hold),
        generation=Generation(row.generation),
        global_request_id=row.global_request_id,
        project_id=row.project_id,
        user_id=row.user_id,
        source={} if row.source is None else _decode_source(row.source),
        digest=row.digest,
        search=None if row.request is None else _decode_search(row.request),
        plan=_plan(row),
        last_step=row.last_step,
        step_generation=row.step_generation,
        deadline=row.deadline,
        due_at=row.due_at,
        outcome=None if row.outcome is None else _decode_outcome(row.outcome),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _plan(row: Any) -> MovePlan | None:
    if row.destination is None:
        return None
    return MovePlan(
        destination=_decode_destination(row.destination),
        alternates=_decode_alternates(row.alternates),
        tried=_decode_tried(row.tried),
    )
