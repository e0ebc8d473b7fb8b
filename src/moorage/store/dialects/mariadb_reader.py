"""SELECTs on one cursor that is never closed.

What a driver written in Python spends on a SELECT goes mostly to the description of its columns:
statements that are run all the time have few of them.
"""

from collections.abc import Sequence
from typing import Any


class MariaDBReader:
    """One connection of MariaDB, of PyMySQL or mysqlclient."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def read(
        self, sql: str, parameters: Sequence[int | str], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        del is_frequent  # the protocol's prepared statements are not spoken by these drivers
        cursor = self._cursor
        if any(isinstance(value, str) for value in parameters):
            cursor.execute(sql.replace("?", "%s"), parameters)
        else:
            # Whole numbers need no escaping, and without parameters the driver looks for none.
            cursor.execute(sql.replace("?", "%d") % tuple(parameters))
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows
