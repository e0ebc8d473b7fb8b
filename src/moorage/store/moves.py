"""Rows of moves, and the credits of those that are open."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from moorage.domain.ids import (
    SHARING_TRAIT,
    ConsumerUuid,
    Generation,
    MoveUuid,
    ProviderId,
    ProviderUuid,
)
from moorage.domain.ledger import Slot
from moorage.domain.move import Move, MoveKind, MoveState
from moorage.store.dialects import Rows
from moorage.store.sql import Insert, Load, RowsUpdate, Write, query
from moorage.store.store import Store
from moorage.store.tables import moorage_credits, moorage_moves
from moorage.store.transaction import Transaction

# Asked whether it is NULL, PostgreSQL may go through all open moves by that column's index.
OPEN_MOVES: Final = Load(
    """SELECT m.id, m.uuid, m.kind, m.state, m.consumer, m.hold, m.credited, m.generation,
              m.global_request_id, m.created_at, k.resource_provider_id, k.resource_class_id,
              k.used
       FROM moorage_moves m
       LEFT JOIN moorage_credits k ON k.move = m.uuid
       WHERE m.uuid IN :uuids AND LENGTH(m.open_consumer) > 0
       ORDER BY m.id""",
    moments=("created_at",),
)
_OPEN_OF = Load(
    """SELECT m.uuid FROM moorage_moves m WHERE m.open_consumer IN :uuids
       UNION SELECT m.uuid FROM moorage_moves m WHERE m.open_hold IN :uuids"""
)
_SWAPPED_HOLDS = query(
    """SELECT m.uuid, b.resource_provider_id, b.resource_class_id, b.used
       FROM moorage_moves m
       JOIN allocations b ON b.consumer_id = m.open_hold
       WHERE m.uuid IN :uuids AND m.state = :state
       ORDER BY m.id, b.id""",
    many=("uuids",),
)
_KEPT = Load(
    """SELECT DISTINCT a.resource_provider_id, p.uuid
        FROM moorage_moves m
        JOIN allocations a ON a.consumer_id = m.open_hold
        LEFT JOIN resource_providers p ON p.id = a.resource_provider_id
        WHERE m.uuid IN :uuids"""
)
SHARING: Final = Load(
    f"""SELECT l.resource_provider_id FROM resource_providers p
       JOIN resource_provider_traits l ON l.resource_provider_id = p.id
       JOIN traits n ON n.id = l.trait_id
       WHERE p.uuid IN :uuids AND n.name = '{SHARING_TRAIT}'"""
)
"""Which of some providers share their inventories."""
_INSERT = Insert(
    moorage_moves,
    (
        "uuid",
        "kind",
        "state",
        "consumer",
        "hold",
        "open_consumer",
        "open_hold",
        "credited",
        "generation",
        "global_request_id",
        "project_id",
        "user_id",
        "source",
        "created_at",
        "updated_at",
    ),
)
_INSERT_CREDITS = Insert(
    moorage_credits, ("move", "resource_provider_id", "resource_class_id", "used")
)
_DELETE_CREDITS = Write("DELETE FROM moorage_credits WHERE move IN :moves")
_COLUMNS: Final = ("id", "was", "becomes")
_KEY: Final = {"id": "id"}
_GUARD: Final = {"generation": "was"}
_CHANGED: Final = {
    "generation": "d.becomes",
    "state": ":state",
    "credited": ":credited",
    "updated_at": ":at",
}
_FOLLOW = RowsUpdate("moorage_moves", _COLUMNS, key=_KEY, guard=_GUARD, assign=_CHANGED)
_CLOSE = RowsUpdate(
    "moorage_moves",
    _COLUMNS,
    key=_KEY,
    guard=_GUARD,
    assign={**_CHANGED, "open_consumer": "NULL", "open_hold": "NULL", "due_at": "NULL"},
)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class MoveRow:
    """What becomes of a move in a transaction; ``before`` is None where it begins.

    ``source``: what the hold was given, as readers see it: provider uuid -> class name -> units.
    """

    before: Move | None
    after: Move
    project_id: str | None = None
    user_id: str | None = None
    source: Mapping[str, Mapping[str, int]] | None = None


def load_moves(tx: Transaction, uuids: Collection[MoveUuid]) -> list[Move]:
    """Those of these moves that are open, with their credits.

    Loaded once the providers are locked. Nothing is locked here: each change of a consumer that is
    in a move changes the move's row too, and ``write_moves`` finds that out by the generation.
    """
    if not uuids:
        return []
    return moves_from(tx.load(OPEN_MOVES, {"uuids": sorted(uuids)}))


def moves_from(rows: Rows) -> list[Move]:
    """What ``OPEN_MOVES`` has found."""
    rows_by_id: dict[int, list[Any]] = {}
    for row in rows:
        rows_by_id.setdefault(row.id, []).append(row)
    return [_move(rows) for rows in rows_by_id.values()]


def _move(rows: Sequence[Any]) -> Move:
    first = rows[0]
    credited: dict[Slot, int] = {
        (row.resource_provider_id, row.resource_class_id): int(row.used)
        for row in rows
        if row.used is not None
    }
    return Move(
        id=first.id,
        uuid=MoveUuid(first.uuid),
        state=MoveState(first.state),
        consumer=ConsumerUuid(first.consumer),
        hold=ConsumerUuid(first.hold),
        global_request_id=first.global_request_id,
        opened_at=first.created_at,
        generation=Generation(first.generation),
        credited=bool(first.credited),
        credits=credited,
        kind=MoveKind(first.kind),
    )


def read_swapped_holds(
    store: Store, uuids: Collection[MoveUuid]
) -> dict[MoveUuid, dict[Slot, int]]:
    """What the holds of those of these moves have whose consumers hold nothing yet."""
    holds: dict[MoveUuid, dict[Slot, int]] = {}
    rows = store.read(_SWAPPED_HOLDS, {"uuids": list(uuids), "state": MoveState.SWAPPED.value})
    for row in rows:
        slot = (row.resource_provider_id, row.resource_class_id)
        held = holds.setdefault(row.uuid, {})
        held[slot] = held.get(slot, 0) + row.used
    return holds


def load_kept(
    tx: Transaction, uuids: Collection[MoveUuid]
) -> dict[ProviderId, ProviderUuid | None]:
    """Where the holds of those of these moves are that are open; None: a vanished provider."""
    if not uuids:
        return {}
    rows = tx.load(_KEPT, {"uuids": sorted(uuids)})
    return {row.resource_provider_id: row.uuid for row in rows}


def load_moves_of(tx: Transaction, consumers: Collection[str]) -> list[Move]:
    """The open moves that some consumers are in, with their credits."""
    if not consumers:
        return []
    some = {"uuids": sorted(consumers)}
    return load_moves(tx, {row.uuid for row in tx.load(_OPEN_OF, some)})


def sharing_from(rows: Rows) -> frozenset[ProviderId]:
    """What ``SHARING`` has found."""
    return frozenset(row.resource_provider_id for row in rows)


def write_moves(tx: Transaction, rows: Sequence[MoveRow], *, at: datetime) -> None:
    """Write what becomes of moves, at most one row for each, and their credits.

    Raises:
        StaleView: another transaction changed one of a move's consumers meanwhile.
    """
    # A consumer that leaves one move for another must have left before it can enter.
    _update_moves(tx, [row for row in rows if row.before is not None], at=at)
    tx.insert(_INSERT, [_values(row, at) for row in rows if row.before is None])
    changed = [row for row in rows if _credits_before(row) != row.after.credits]
    outdated = [row.after.uuid for row in changed if _credits_before(row)]
    if outdated:
        tx.write(_DELETE_CREDITS, {"moves": sorted(outdated)})
    tx.insert(_INSERT_CREDITS, [values for row in changed for values in _credits(row.after)])


def _update_moves(tx: Transaction, rows: Iterable[MoveRow], *, at: datetime) -> None:
    alike: dict[tuple[MoveState, bool], list[tuple[int, int, int]]] = {}
    for row in rows:
        before, after = row.before, row.after
        assert before is not None
        assert before.id is not None
        moved = (before.id, before.generation, after.generation)
        alike.setdefault((after.state, after.credited), []).append(moved)
    # Closed ones first, for the same reason; the number of states bounds that of statements.
    for (state, credited), moved_rows in sorted(alike.items(), key=lambda one: one[0][0].is_open):
        update = _FOLLOW if state.is_open else _CLOSE
        tx.update(update, sorted(moved_rows), state=state.value, credited=int(credited), at=at)


def _values(row: MoveRow, at: datetime) -> dict[str, Any]:
    move = row.after
    return {
        "uuid": move.uuid,
        "kind": move.kind.value,
        "state": move.state.value,
        "consumer": move.consumer,
        "hold": move.hold,
        "open_consumer": move.consumer if move.state.is_open else None,
        "open_hold": move.hold if move.state.is_open else None,
        "credited": int(move.credited),
        "generation": move.generation,
        "global_request_id": move.global_request_id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "source": None if row.source is None else _encode(row.source).decode(),
        "created_at": move.opened_at,
        "updated_at": at,
    }


def _credits_before(row: MoveRow) -> Mapping[Slot, int]:
    return {} if row.before is None else row.before.credits


def _credits(move: Move) -> list[dict[str, Any]]:
    return [
        {
            "move": move.uuid,
            "resource_provider_id": provider,
            "resource_class_id": class_id,
            "used": amount,
        }
        for (provider, class_id), amount in move.credits.items()
    ]
