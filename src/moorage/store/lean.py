"""The shortest way to the driver, for what is asked on every request."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from moorage.store.dialects import Dialect, Reader
from moorage.store.transaction import run_read

KEPT_S_MAX: Final = 600.0
"""How long a connection is kept before it goes back to the pool, where it may be replaced."""

KEPT_MAX: Final = 4
"""Connections that are kept at a time: other readers draw on the same pool."""


class Keeping(NamedTuple):
    """How many connections are kept at hand, and for how many seconds each."""

    count_max: int
    age_s_max: float

    @classmethod
    def within(cls, readers_max: int, *, recycle_s: int) -> Self:
        """What leaves one of a pool's connections for others (0: it has no end), and none too old.

        ``recycle_s``: the age at which the pool replaces a connection; below 0: never.
        """
        count_max = KEPT_MAX if readers_max == 0 else min(KEPT_MAX, readers_max - 1)
        return cls(count_max, KEPT_S_MAX if recycle_s < 0 else min(KEPT_S_MAX, recycle_s))


DEFAULT_KEEPING: Final = Keeping(KEPT_MAX, KEPT_S_MAX)

_READER: Final = "moorage_reader"
"""Where a connection of the pool has its reader, for as long as it lives."""


class _Kept(NamedTuple):
    """A connection that is kept, and since when, in seconds of a monotonic clock."""

    since_s: float
    connection: PoolProxiedConnection
    reader: Reader


class LeanReader:
    """Runs single SELECTs on connections that stay checked out of the reader's pool.

    One for each thread that reads at the same time, so mostly one. Whatever goes wrong, the
    statement is run again in the usual way, which knows about lost connections.
    """

    def __init__(self, reader: Engine, dialect: Dialect, keeping: Keeping) -> None:
        self._reader = reader
        self._keeping = keeping
        self._dialect = dialect
        self._marker = "?" if reader.dialect.paramstyle == "qmark" else "%s"
        self._error: type[Exception] = reader.dialect.loaded_dbapi.Error
        # A list as a stack: appending and popping are atomic.
        self._idle: list[_Kept] = []
        self._foreign: list[_Kept] = []

    def read(
        self, sql: str, parameters: tuple[int | str, ...], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        """All rows of a SELECT with ``?`` for each parameter.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._read_anew(sql, parameters)
        if time.monotonic() - kept.since_s >= self._keeping.age_s_max:
            # It may have lain here for hours: the pool knows whether it is still to be used.
            kept.connection.close()
            return self._read_anew(sql, parameters)
        try:
            rows = kept.reader.read(sql, parameters, is_frequent=is_frequent)
        except self._error:
            kept.connection.invalidate()
            return self._read_anew(sql, parameters)
        self._put_back(kept)
        return rows

    def _read_anew(self, sql: str, parameters: tuple[int | str, ...]) -> Sequence[tuple[Any, ...]]:
        """Read in the usual way, and keep a connection for the next time."""
        statement = sql if self._marker == "?" else sql.replace("?", self._marker)

        def fetch(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.exec_driver_sql(statement, parameters)]

        rows = run_read(self._reader, self._dialect, fetch)
        if self._keeping.count_max and not self._idle:
            self._keep_one()
        return rows

    def _keep_one(self) -> None:
        """Keep a connection for the next time, if there is one to be had at once.

        The answer is there already: nothing may be waited for or go wrong for the sake of it.
        """
        pool = cast("QueuePool", self._reader.pool)
        if pool.checkedin():
            with suppress(self._error, PoolTimeout):
                self._put_back(self._open())

    def _open(self) -> _Kept:
        connection = self._reader.raw_connection()
        reader = connection.info.get(_READER)
        if reader is None:
            reader = self._dialect.open_reader(connection.driver_connection)
            connection.info[_READER] = reader
        return _Kept(time.monotonic(), connection, reader)

    def _put_back(self, kept: _Kept) -> None:
        if len(self._idle) < self._keeping.count_max:
            self._idle.append(kept)
        else:
            kept.connection.close()

    def close(self) -> None:
        """Give the kept connections back to the pool."""
        while self._idle:
            self._idle.pop().connection.close()

    def leave(self) -> None:
        """Never use again, nor close, what belongs to the parent of this process."""
        self._foreign += self._idle
        self._idle = []
