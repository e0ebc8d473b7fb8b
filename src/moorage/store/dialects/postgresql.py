"""PostgreSQL, through psycopg 3."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy import BigInteger, Column, Connection, DateTime, Engine, Float, Integer, event
from sqlalchemy.types import TypeEngine

from moorage.store.dialects.base import (
    Command,
    Reader,
    RowsChange,
    Session,
    Trouble,
    bound_connecting,
    is_integrity_error,
    returning_clause,
)
from moorage.store.dialects.postgresql_reader import PostgreSQLReader
from moorage.store.dialects.postgresql_session import UNPREPARED, PostgreSQLSession

MIGRATION_LOCK: Final = 0x6D6F6F72
"""Number of the advisory lock that migrating processes take."""

_PLANNING: Final = "; ".join(
    f"SET {name} = {value}"
    for name, value in {
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
    }.items()
)
"""What a transaction sends finds its rows by keys, all of it, and is short.

Left to itself the server plans most of it anew each time, since it takes a list of unknown length
for a long one; and as long as it has not counted a growing table (once a minute at best) it reads
that from end to end.
"""


class PostgreSQL:
    """PostgreSQL 13 or newer."""

    name = "postgresql"
    has_server = True
    lock_rows = "FOR NO KEY UPDATE"
    keep_rows = "FOR SHARE"
    count_journal: Command | None = None
    begin_picture: tuple[str, ...] = (
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        # A picture may be of whole tables.
        "SET LOCAL enable_seqscan = on",
    )

    def writer_options(self) -> Mapping[str, Any]:
        # Every transaction is committed or rolled back where it is run.
        return {"isolation_level": "READ COMMITTED", "pool_reset_on_return": None}

    def reader_options(self) -> Mapping[str, Any]:
        return {
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
            "pool_reset_on_return": None,
        }

    def open_reader(self, connection: Any) -> Reader:
        return PostgreSQLReader(connection)

    def prepare(self, engine: Engine, *, writes: bool) -> None:
        bound_connecting(engine)
        event.listen(engine, "connect", _plan_once if writes else _plan_by_keys)

    def open_session(self, connection: Any) -> Session:
        return PostgreSQLSession(connection)

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        yield

    def index_hint(self, index: str) -> str:
        return ""

    def change_rows(self, change: RowsChange) -> Command:
        fields = ", ".join(
            f"{column} {'double precision' if column in change.real else 'bigint'}"
            for column in change.columns
        )
        # An ordinary text parameter: json_to_recordset wants objects, so rows are objects here.
        given = f"json_to_recordset(CAST(:rows AS json)) AS d({fields})"
        if not change.assign:
            return Command(f"DELETE FROM {change.table} AS t USING {given} WHERE {change.match}")
        sets = ", ".join(f"{column} = {value}" for column, value in change.assign.items())
        return Command(f"UPDATE {change.table} AS t SET {sets} FROM {given} WHERE {change.match}")

    def rows_parameter(self, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
        return (
            "["
            + ",".join(
                "{"
                + ",".join(
                    f'"{column}":{value}' for column, value in zip(columns, row, strict=True)
                )
                + "}"
                for row in rows
            )
            + "]"
        )

    def insert_rows(
        self, table: str, columns: Sequence[Column[Any]], returning: Sequence[str]
    ) -> Command:
        names = ", ".join(column.name for column in columns)
        fields = ", ".join(f"{one.name} {_plain_type(one.type)}" for one in columns)
        return Command(
            f"INSERT INTO {table} ({names})"
            f" SELECT {names} FROM json_to_recordset(CAST(:rows AS json)) AS d({fields})"
            f"{returning_clause(returning)}",
            rows=True,
        )

    def number_rows(self, table: str) -> Command:
        # Nothing (NULL) where somebody has taken the sequence from the column.
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        return Command(
            f"SELECT nextval({sequence}) AS id FROM generate_series(1, CAST(:count AS integer))"
        )

    def part_of_union(self, select: str) -> str:
        return f"({select})"

    def joined_ids(self, column: str) -> str:
        return f"string_agg(CAST({column} AS text), ',')"

    def in_one(self, columns: Sequence[str]) -> str:
        return f"CONCAT_WS(' ', {', '.join(columns)})"

    def one_of(self, column: str, numbers: Collection[int]) -> tuple[str, tuple[str, ...]]:
        return f"{column} = ANY(CAST(? AS bigint[]))", ("{" + ",".join(map(str, numbers)) + "}",)

    def seconds(self, moment: str) -> str:
        return f"CAST(FLOOR(EXTRACT(EPOCH FROM {moment})) AS BIGINT)"

    def as_kept(self, moment: datetime) -> datetime:
        return moment

    def trouble(self, error: BaseException, *, lost: bool) -> Trouble:
        if is_integrity_error(error):
            return Trouble.CONFLICT
        state = getattr(error, "sqlstate", None) or ""
        if state in ("40001", "40P01", "55P03", UNPREPARED):  # serialization, deadlock, no lock
            return Trouble.CONFLICT
        if state.startswith("53"):  # insufficient resources: disk, memory, connections
            return Trouble.LOST if state == "53300" else Trouble.FULL
        if state in ("22021", "22P05"):  # not in the encoding of the database
            return Trouble.UNFIT
        if lost or isinstance(error, psycopg.InterfaceError):
            return Trouble.LOST
        unnamed = not state and type(error) is psycopg.OperationalError
        if unnamed or state == "25006" or state.startswith(("08", "57P")):
            return Trouble.LOST
        return Trouble.FAULT


def _plan_once(connection: Any, _record: Any) -> None:
    """Have each statement of a writer planned once on a connection, and never to read a table."""
    connection.execute(_PLANNING)
    connection.commit()


def _plan_by_keys(connection: Any, _record: Any) -> None:
    """Have no SELECT that stands alone read a whole table: all of them find their rows by keys.

    As long as the server has not counted the growing journal, it takes a third of it for news.
    """
    connection.execute("SET enable_seqscan = off; SET jit = off")
    connection.commit()


def _plain_type(kind: TypeEngine[Any]) -> str:
    """A type that holds the values of a column as they are: a text is not cut to its length."""
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Integer):
        return "integer"
    if isinstance(kind, Float):
        return "double precision"
    if isinstance(kind, DateTime):
        return "timestamp"
    return "text"
