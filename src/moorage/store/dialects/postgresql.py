"""PostgreSQL, through psycopg 3."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError

from moorage.store.dialects.base import Trouble

MIGRATION_LOCK: Final = 0x6D6F6F72
"""Number of the advisory lock that migrating processes take."""


class PostgreSQL:
    """PostgreSQL 13 or newer."""

    name = "postgresql"
    lock_rows = "FOR NO KEY UPDATE"
    keep_rows = "FOR SHARE"
    begin_picture: tuple[str, ...] = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)

    def writer_options(self) -> Mapping[str, Any]:
        # Every transaction is committed or rolled back where it is run.
        return {"isolation_level": "READ COMMITTED", "pool_reset_on_return": None}

    def reader_options(self) -> Mapping[str, Any]:
        return {
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
            "pool_reset_on_return": None,
        }

    def prepare(self, engine: Engine, *, writes: bool) -> None:
        """Nothing to tell: the server's defaults serve."""

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        yield

    def index_hint(self, index: str) -> str:
        return ""

    def rowset(self, columns: Sequence[str]) -> str:
        fields = ", ".join(f"{column} bigint" for column in columns)
        # An ordinary text parameter: json_to_recordset wants objects, so rows are objects here.
        return f"json_to_recordset(CAST(:rows AS json)) AS d({fields})"

    def rows_parameter(self, columns: Sequence[str], rows: Sequence[Sequence[int]]) -> Any:
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

    def update_from(
        self, *, table: str, columns: Sequence[str], assign: Mapping[str, str], match: str
    ) -> str:
        sets = ", ".join(f"{column} = {value}" for column, value in assign.items())
        return f"UPDATE {table} AS t SET {sets} FROM {self.rowset(columns)} WHERE {match}"

    def joined_ids(self, column: str) -> str:
        return f"string_agg(CAST({column} AS text), ',')"

    def trouble(self, error: DBAPIError) -> Trouble:
        if isinstance(error, IntegrityError):
            return Trouble.CONFLICT
        state = getattr(error.orig, "sqlstate", None) or ""
        if state in ("40001", "40P01", "55P03"):  # serialization, deadlock, lock not available
            return Trouble.CONFLICT
        if state.startswith("53"):  # insufficient resources: disk, memory, connections
            return Trouble.LOST if state == "53300" else Trouble.FULL
        if error.connection_invalidated or isinstance(error, InterfaceError):
            return Trouble.LOST
        if state.startswith(("08", "57P")) or (state in ("25006", "") and _is_operational(error)):
            return Trouble.LOST
        return Trouble.FAULT


def _is_operational(error: DBAPIError) -> bool:
    return type(error.orig).__name__ in ("OperationalError", "InterfaceError")
