"""The shortest way to the driver, for what is asked on every request."""

import time
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import PoolProxiedConnection

from moorage.store.dialects import Dialect
from moorage.store.transaction import run_read

KEPT_S_MAX: Final = 600.0
"""How long a connection is kept before it goes back to the pool, where it may be replaced."""


class LeanReader:
    """Runs single SELECTs on connections that stay checked out of the reader's pool.

    One for each thread that reads at the same time, so mostly one. Whatever goes wrong, the
    statement is run again in the usual way, which knows about lost connections.
    """

    def __init__(self, reader: Engine, dialect: Dialect) -> None:
        self._reader = reader
        self._dialect = dialect
        self._marker = "?" if reader.dialect.paramstyle == "qmark" else "%s"
        self._error: type[Exception] = reader.dialect.loaded_dbapi.Error
        # A list as a stack: appending and popping are atomic.
        self._idle: list[tuple[float, PoolProxiedConnection]] = []
        self._foreign: list[tuple[float, PoolProxiedConnection]] = []

    def read(self, sql: str, parameters: tuple[int, ...]) -> list[tuple[Any, ...]]:
        """All rows of a SELECT with ``?`` for each parameter.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        statement = sql if self._marker == "?" else sql.replace("?", self._marker)
        try:
            since, connection = self._idle.pop()
        except IndexError:
            return self._read_anew(statement, parameters)
        try:
            cursor = connection.cursor()
            cursor.execute(statement, parameters)
            rows = cursor.fetchall()
            cursor.close()
        except self._error:
            connection.invalidate()
            return self._read_anew(statement, parameters)
        if time.monotonic() - since < KEPT_S_MAX:
            self._idle.append((since, connection))
        else:
            connection.close()
        return list(rows)

    def _read_anew(self, statement: str, parameters: tuple[int, ...]) -> list[tuple[Any, ...]]:
        """Read in the usual way, and keep a connection for the next time."""

        def fetch(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.exec_driver_sql(statement, parameters)]

        rows = run_read(self._reader, self._dialect, fetch)
        if not self._idle:
            self._idle.append((time.monotonic(), self._reader.raw_connection()))
        return rows

    def close(self) -> None:
        """Give the kept connections back to the pool."""
        while self._idle:
            self._idle.pop()[1].close()

    def leave(self) -> None:
        """Never use again, nor close, what belongs to the parent of this process."""
        self._foreign += self._idle
        self._idle = []
