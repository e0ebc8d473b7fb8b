"""SELECTs by the shortest way that the driver has.

What a driver written in Python spends on a SELECT goes mostly to the description of its columns,
which is the same each time.
"""

from collections.abc import Sequence
from typing import Any

from moorage.store.dialects.mariadb_wire import Wire


class WireReader:
    """One connection of PyMySQL, without its cursors."""

    def __init__(self, connection: Any) -> None:
        self._wire = Wire(connection)

    def read(
        self, sql: str, parameters: Sequence[int | str], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        wire = self._wire
        text = sql.replace("?", "%s") % tuple(map(wire.literal, parameters))
        return wire.select(text, sql if is_frequent else None)


class CursorReader:
    """One connection of mysqlclient, or of any PyMySQL, and one cursor that is never closed."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def read(
        self, sql: str, parameters: Sequence[int | str], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        del is_frequent  # nothing is prepared
        cursor = self._cursor
        if any(isinstance(value, str) for value in parameters):
            cursor.execute(sql.replace("?", "%s"), parameters)
        else:
            # Whole numbers need no escaping, and without parameters the driver looks for none.
            cursor.execute(sql.replace("?", "%d") % tuple(parameters))
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows
