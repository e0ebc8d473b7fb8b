"""The store: engines for one database, and how to read from it and write to it."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row, create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from moorage.store.dialects import Dialect, Trouble, dialect_for, trouble_of
from moorage.store.lean import DEFAULT_KEEPING, Keeping, LeanReader
from moorage.store.memory import Memory
from moorage.store.transaction import (
    DEFAULT_PATIENCE,
    Patience,
    Transaction,
    run_read,
    run_transaction,
)

T = TypeVar("T")

CONNECTIONS_MAX: Final = 32
"""Connections that a process opens, where the site does not say."""

POOL_TIMEOUT_S: Final = 10
"""How long a request waits for a free connection before the service says that it is busy."""


class Store:
    """One database.

    Readers run single SELECTs outside transactions, each a consistent view of its own. Writers
    run a function of one transaction, retried as a whole.
    """

    def __init__(
        self,
        *,
        writer: Engine,
        reader: Engine,
        dialect: Dialect,
        patience: Patience,
        keeping: Keeping = DEFAULT_KEEPING,
    ) -> None:
        self.writer = writer
        self.reader = reader
        self.dialect = dialect
        self.memory = Memory()
        self._patience = patience
        self._lean = LeanReader(reader, dialect, keeping)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        connections_max: int = CONNECTIONS_MAX,
        connection_wait_s: int = POOL_TIMEOUT_S,
        recycle_s: int = 3600,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> Self:
        """Open a database by its URL; nothing is asked of it yet.

        Args:
            connections_max: connections that this process opens, half of them for reading and
                half for writing, but one of each at least; 0: as many as it can use.
            connection_wait_s: how long who finds no free connection waits for one, in seconds.
            recycle_s: age after which a connection is replaced, in seconds; -1: never.
        Raises:
            ValueError: no support for this kind of database.
        """
        address = make_url(url)
        dialect = dialect_for(address)
        writers_max = 0 if connections_max == 0 else max(1, connections_max // 2)
        readers_max = 0 if connections_max == 0 else max(1, connections_max - writers_max)
        common: dict[str, Any] = {
            "hide_parameters": True,
            "max_overflow": 0,
            "pool_timeout": connection_wait_s,
            "pool_recycle": recycle_s,
            "pool_use_lifo": True,
        }
        writer = create_engine(
            address, pool_size=writers_max, **{**common, **dialect.writer_options()}
        )
        reader = create_engine(
            address, pool_size=readers_max, **{**common, **dialect.reader_options()}
        )
        dialect.prepare(writer, writes=True)
        dialect.prepare(reader, writes=False)
        keeping = Keeping.within(readers_max, recycle_s=recycle_s)
        # A server that loads the application and forks then must not share our connections.
        store = cls(
            writer=writer, reader=reader, dialect=dialect, patience=patience, keeping=keeping
        )
        os.register_at_fork(after_in_child=store._leave)
        return store

    def run(self, attempt: Callable[[Transaction], T]) -> T:
        """Write: run ``attempt`` in one transaction, from the beginning as often as it takes."""
        return run_transaction(self.writer, self.dialect, self.memory, attempt, self._patience)

    def read(self, what: Executable, parameters: dict[str, Any] | None = None) -> list[Row[Any]]:
        """Read: all rows of one SELECT, as of one moment."""

        def fetch(connection: Connection) -> list[Row[Any]]:
            return list(connection.execute(what, parameters).all())

        return run_read(self.reader, self.dialect, fetch)

    def read_lean(
        self, sql: str, parameters: tuple[int | str, ...], *, is_frequent: bool = False
    ) -> Sequence[tuple[Any, ...]]:
        """Read: all rows of one SELECT as the driver gives them, with the least of overhead.

        Args:
            sql: names tables and columns only, whole numbers, and ``?`` for each parameter.
            is_frequent: the same text is run all the time, so that it is worth preparing.
        """
        return self._lean.read(sql, parameters, is_frequent=is_frequent)

    def read_with(self, read: Callable[[Connection], T]) -> T:
        """Read: whatever a function asks of one connection, each statement by itself."""
        return run_read(self.reader, self.dialect, read)

    def read_picture(self, load: Callable[[Connection], T]) -> T:
        """Read: several SELECTs that all see the same moment."""

        def fetch(connection: Connection) -> T:
            for begin in self.dialect.begin_picture:
                connection.exec_driver_sql(begin)
            try:
                loaded = load(connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # The transaction is still open on it: the connection must not be used again.
                connection.invalidate()
                raise
            return loaded

        return run_read(self.reader, self.dialect, fetch)

    def answers(self) -> bool:
        """Whether the database lets us in now; asked once, not again and again."""
        try:
            with self.reader.connect():
                return True
        except (PoolTimeout, DBAPIError) as error:
            if isinstance(error, DBAPIError) and trouble_of(self.dialect, error) is Trouble.FAULT:
                raise
            return False

    def close(self) -> None:
        """Give all connections back to the database."""
        self._lean.close()
        self.writer.dispose()
        self.reader.dispose()

    def _leave(self) -> None:
        """Forget connections that belong to the parent process, without closing them."""
        self._lean.leave()
        for engine in (self.writer, self.reader):
            engine.dispose(close=False)
