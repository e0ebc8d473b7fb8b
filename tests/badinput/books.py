"""A picture of every table but the runner's heartbeat, to see that nothing has moved."""

from typing import Any

import sqlalchemy

HEARTBEAT = "moorage_leaders"


class Books:
    """Reads a database behind the service's back."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url)
        self._tables = sqlalchemy.MetaData()
        self._tables.reflect(self._engine)

    def dump(self) -> dict[str, list[Any]]:
        """All rows of these tables, by table."""
        with self._engine.connect() as connection:
            return {
                name: sorted(map(repr, connection.execute(table.select()).all()))
                for name, table in self._tables.tables.items()
                if name != HEARTBEAT
            }

    def close(self) -> None:
        self._engine.dispose()
