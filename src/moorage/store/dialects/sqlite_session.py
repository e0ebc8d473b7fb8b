"""Transactions on the ``sqlite3`` module's own cursor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from moorage.store.dialects.base import Command, Order, Rows, StaleView


class SQLiteSession:
    """One connection of the embedded database."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def run(
        self, orders: Sequence[Order], *, begin: bool = False, commit: bool = False
    ) -> list[Rows]:
        if begin:
            # A transaction that begins as a reader and writes later cannot wait for the write
            # lock (it would have to fail), so writers take the lock at once.
            self._cursor.execute("BEGIN IMMEDIATE")
        found = [self._run(*order) for order in orders]
        if commit:
            self._cursor.execute("COMMIT")
        return found

    def rollback(self) -> None:
        self._cursor.execute("ROLLBACK")

    def is_open(self) -> bool:
        return True

    def _run(self, command: Command, parameters: Any, due: int | None) -> Rows:
        cursor = self._cursor
        text = _word(command)
        if command.rows:
            return self._insert(command, text, parameters)
        cursor.execute(text, _values(command, parameters))
        if cursor.description is None:
            if due is not None and cursor.rowcount != due:
                raise StaleView
            return ()
        rows = self._fetch(command)
        if command.moments:
            rows = [_with_moments(command.moments, row) for row in rows]
        return rows

    def _insert(self, command: Command, text: str, parameters: Sequence[Any]) -> Rows:
        values = [_values(command, row) for row in parameters]
        if not command.end:
            self._cursor.executemany(text, values)
            return ()
        # The module runs a statement for many rows only where it gives none back.
        rows: list[Any] = []
        for row in values:
            self._cursor.execute(text, row)
            rows += self._fetch(command)
        return rows

    def _fetch(self, command: Command) -> list[Any]:
        cursor = self._cursor
        row_type = command.row or command.make_row([column[0] for column in cursor.description])
        return list(map(row_type._make, cursor.fetchall()))


_TEXTS: dict[Command, str] = {}


def _word(command: Command) -> str:
    text = _TEXTS.get(command)
    if text is None:
        text = "".join(
            part + (("IN (SELECT value FROM json_each(?))" if listed else "?") if parameter else "")
            for part, parameter, listed in command.pieces
        )
        _TEXTS[command] = text
    return text


def _values(command: Command, parameters: Any) -> list[Any]:
    return [_value(parameters[parameter]) for _, parameter, _ in command.pieces if parameter]


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    if isinstance(value, list):
        return msgspec.json.encode(value).decode()
    return value


def _with_moments(moments: Sequence[str], row: Any) -> Any:
    texts = {name: getattr(row, name) for name in moments}
    return row._replace(
        **{name: text and datetime.fromisoformat(text) for name, text in texts.items()}
    )
