"""SQLite: embedded, one writer at a time, several readers beside it (write-ahead log)."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Connection, Engine, event

from moorage.store.dialects.base import (
    Command,
    Reader,
    RowsChange,
    Session,
    Trouble,
    is_integrity_error,
    returning_clause,
    written_out,
)
from moorage.store.dialects.sqlite_reader import SQLiteReader
from moorage.store.dialects.sqlite_session import SQLiteSession

BUSY_TIMEOUT_MS: Final = 5_000
"""How long one attempt waits for the write lock before the retry loop hears of it."""


class SQLite:
    """The embedded default."""

    name = "sqlite"
    has_server = False
    lock_rows = ""
    keep_rows = ""
    count_journal: Command | None = None
    begin_picture: tuple[str, ...] = ("BEGIN",)

    def writer_options(self) -> Mapping[str, Any]:
        return {"connect_args": {"check_same_thread": False}}

    def reader_options(self) -> Mapping[str, Any]:
        return {
            "connect_args": {"check_same_thread": False},
            "isolation_level": "AUTOCOMMIT",
        }

    def open_reader(self, connection: Any) -> Reader:
        return SQLiteReader(connection)

    def prepare(self, engine: Engine, *, writes: bool) -> None:
        event.listen(engine, "connect", _tell_connection)
        if writes:
            # A transaction that begins as a reader and writes later cannot wait for the write
            # lock (it would have to fail), so writers take the lock at once.
            event.listen(engine, "begin", _begin_immediate)
            event.listen(engine, "invalidate", _let_go)

    def open_session(self, connection: Any) -> Session:
        return SQLiteSession(connection)

    def turn(self, connection: Connection) -> AbstractContextManager[None]:
        """Nothing to do: the transaction holds the write lock since it began."""
        return nullcontext()

    def index_hint(self, index: str) -> str:
        return ""

    def change_rows(self, change: RowsChange) -> Command:
        fields = ", ".join(
            f"json_extract(value, '$[{place}]') AS {column}"
            for place, column in enumerate(change.columns)
        )
        given = f"(SELECT {fields} FROM json_each(:rows)) AS d"
        if not change.assign:
            found = f"SELECT t.rowid FROM {given} JOIN {change.table} AS t ON {change.match}"
            return Command(f"DELETE FROM {change.table} WHERE rowid IN ({found})")
        sets = ", ".join(f"{column} = {value}" for column, value in change.assign.items())
        return Command(f"UPDATE {change.table} AS t SET {sets} FROM {given} WHERE {change.match}")

    def rows_parameter(self, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
        return msgspec.json.encode(rows).decode()

    def insert_rows(
        self, table: str, columns: Sequence[Column[Any]], returning: Sequence[str]
    ) -> Command:
        names = [column.name for column in columns]
        marks = ", ".join(f":{name}" for name in names)
        end = returning_clause(returning)
        return Command(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}){end}", rows=True, end=end
        )

    def number_rows(self, table: str) -> None:
        return None

    def part_of_union(self, select: str) -> str:
        return f"SELECT * FROM ({select})"

    def joined_ids(self, column: str) -> str:
        return f"group_concat({column})"

    def in_one(self, columns: Sequence[str]) -> str:
        return " || ' ' || ".join(columns)

    def one_of(self, column: str, numbers: Collection[int]) -> tuple[str, tuple[str, ...]]:
        return written_out(column, numbers)

    def seconds(self, moment: str) -> str:
        return f"CAST(strftime('%s', SUBSTR({moment}, 1, 19)) AS INTEGER)"

    def as_kept(self, moment: datetime) -> datetime:
        return moment

    def trouble(self, error: BaseException, *, lost: bool) -> Trouble:
        if is_integrity_error(error):
            return Trouble.CONFLICT
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return Trouble.CONFLICT
        if code.startswith("SQLITE_FULL"):
            return Trouble.FULL
        if code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
            return Trouble.LOST
        return Trouble.FAULT


def _tell_connection(connection: Any, _record: Any) -> None:
    # The driver's own habit of opening transactions is off: SQLAlchemy's "begin" event does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _let_go(connection: Any, _record: Any, _error: Any) -> None:
    # A cursor that somebody still refers to, a kept exception for one, keeps a closed connection
    # open, and with it the write lock that all others wait for.
    with suppress(sqlite3.Error):
        connection.rollback()
