"""Rows of moves and credits as heals and undos change them: whole, and guarded."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from moorage.domain.ledger import Slot
from moorage.store.sql import Insert, Load, Write
from moorage.store.tables import moorage_credits, moorage_moves
from moorage.store.transaction import Transaction
from moorage.store.undo import Row, packed, unpacked

_MOVE_COLUMNS: Final = tuple(column.name for column in moorage_moves.columns)
_CREDIT_COLUMNS: Final = tuple(column.name for column in moorage_credits.columns)
_MOVES: Final = Load(
    f"SELECT {', '.join(f'm.{name}' for name in _MOVE_COLUMNS)} FROM moorage_moves m"
    " WHERE m.uuid IN :uuids"
)
_CREDITS: Final = Load(
    f"SELECT {', '.join(f'k.{name}' for name in _CREDIT_COLUMNS)} FROM moorage_credits k"
    " WHERE k.move IN :uuids ORDER BY k.move, k.resource_provider_id, k.resource_class_id"
)
_OVERWRITE_MOVE: Final = Write(
    f"""UPDATE moorage_moves
        SET {", ".join(f"{name} = :{name}" for name in _MOVE_COLUMNS if name != "id")}
        WHERE id = :id AND generation = :was"""
)
_RAISE_MOVE: Final = Write(
    """UPDATE moorage_moves SET generation = :becomes, updated_at = :at
       WHERE uuid = :uuid AND generation = :was"""
)
_DROP_CREDITS: Final = Write("DELETE FROM moorage_credits WHERE move = :move")
_INSERT_CREDITS: Final = Insert(moorage_credits, _CREDIT_COLUMNS)


def load_raw_moves(tx: Transaction, uuids: Collection[str]) -> dict[str, Row]:
    """The rows of moves as the driver has them."""
    found = tx.load(_MOVES, {"uuids": sorted(uuids)}) if uuids else ()
    return {row.uuid: packed(row._asdict()) for row in found}


def load_raw_credits(tx: Transaction, uuids: Collection[str]) -> dict[str, list[Row]]:
    """The credits of moves as the driver has them."""
    credited: dict[str, list[Row]] = {uuid: [] for uuid in uuids}
    for row in tx.load(_CREDITS, {"uuids": sorted(uuids)}) if uuids else ():
        credited[row.move].append(packed(row._asdict()))
    return credited


def raise_move(tx: Transaction, uuid: str, *, was: int, becomes: int, at: datetime) -> None:
    """Give an open move a new generation, from the one it was loaded with.

    Raises:
        StaleView: it is not at that one any more.
    """
    tx.write(_RAISE_MOVE, {"uuid": uuid, "was": was, "becomes": becomes, "at": at}, rows=1)


def write_credits(
    tx: Transaction, move: str, *, was: Sequence[Row], becomes: Mapping[Slot, int]
) -> None:
    """Replace the credits of a move; the move is raised, or their providers are locked.

    Raises:
        StaleView: they are not what they were loaded as.
    """
    rows = [
        {
            "move": move,
            "resource_provider_id": slot[0],
            "resource_class_id": slot[1],
            "used": amount,
        }
        for slot, amount in sorted(becomes.items())
    ]
    _replace_credits(tx, move, was=was, rows=rows)


def restore_move(tx: Transaction, *, now: Row, before: Row) -> None:
    """Make a move's row what it was, to the byte.

    Raises:
        StaleView: the row is not what it was loaded as.
    """
    tx.write(_OVERWRITE_MOVE, unpacked(before) | {"was": now["generation"]}, rows=1)


def restore_credits(
    tx: Transaction, move: str, *, now: Sequence[Row], before: Sequence[Row]
) -> None:
    """Make the credits of a move what they were.

    Raises:
        StaleView: they are not what they were loaded as.
    """
    _replace_credits(tx, move, was=now, rows=[unpacked(row) for row in before])


def _replace_credits(
    tx: Transaction, move: str, *, was: Sequence[Row], rows: Sequence[Row]
) -> None:
    if was:
        tx.write(_DROP_CREDITS, {"move": move}, rows=len(was))
    tx.insert(_INSERT_CREDITS, list(rows))
