"""SELECTs on one cursor of the ``sqlite3`` module."""

import sqlite3
from collections.abc import Sequence
from typing import Any


class SQLiteReader:
    """One connection of the embedded database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()

    def read(
        self, sql: str, parameters: Sequence[int | str], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        del is_frequent  # the module keeps the statements that it was given last
        return self._cursor.execute(sql, parameters).fetchall()
