"""MariaDB, alone or as a Galera cluster, through PyMySQL (or mysqlclient where a site has it)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

from pymysql.constants import CLIENT
from sqlalchemy import Column, Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from moorage.store.dialects.base import (
    Command,
    Reader,
    RowsChange,
    Session,
    Trouble,
    bound_connecting,
    is_integrity_error,
    returning_clause,
    written_out,
)
from moorage.store.dialects.mariadb_reader import CursorReader, WireReader
from moorage.store.dialects.mariadb_rows import RowsCommand
from moorage.store.dialects.mariadb_session import MariaDBSession
from moorage.store.dialects.mariadb_wire import can_be_wired

_CONFLICT: Final = frozenset(
    (
        1050,  # the table exists: another process migrates, on another node of the cluster
        1060,  # so does the column
        1061,  # so does the index
        1684,  # it is being made there at this moment
        1020,  # the record has changed since it was read
        1205,  # lock wait timeout
        1213,  # deadlock; on Galera also a failed certification
    )
)
_LOST: Final = frozenset(
    (
        1040,  # too many connections
        1047,  # Galera: the node is not ready
        1053,  # shutdown in progress
        1290,  # read only
        1836,  # read only
        1927,  # connection was killed
        2002,
        2003,
        2006,
        2013,
        2014,
        2045,
        2055,
        4031,
    )
)
_FULL: Final = frozenset((1021, 1114, 3, 28))
_UNFIT: Final = 1366
"""Incorrect string value: one beyond the first plane of Unicode, where the tables are utf8mb3."""

_INCOMPARABLE: Final = 1267
"""Illegal mix of collations: such a value is compared to a column, or (our fault) two columns."""


_COUNT_JOURNAL: Final = Command(
    # Of all that commit at the same moment, some on one server have to take turns.
    """INSERT INTO moorage_journal_counts (slot, written)
       VALUES (CRC32(CONCAT(@@hostname, @@port)) % 60000 * 32 + CONNECTION_ID() % 32, :rows)
       ON DUPLICATE KEY UPDATE written = written + :rows"""
)
MIGRATION_LOCK: Final = "moorage_migration"
MIGRATION_WAIT_S: Final = 300


class MariaDB:
    """MariaDB 10.11 or newer."""

    name = "mariadb"
    has_server = True
    lock_rows = "FOR UPDATE"
    keep_rows = "LOCK IN SHARE MODE"
    # Galera's nodes, and pairs that replicate each other, leave each other's numbers out.
    count_journal: Command | None = _COUNT_JOURNAL
    begin_picture: tuple[str, ...] = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def writer_options(self) -> Mapping[str, Any]:
        # Row locks without gap locks: a claim locks its providers, not the space between them.
        return {
            "isolation_level": "READ COMMITTED",
            "pool_reset_on_return": None,
            "connect_args": {"client_flag": CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS},
        }

    def reader_options(self) -> Mapping[str, Any]:
        return {
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
            "pool_reset_on_return": None,
        }

    def open_reader(self, connection: Any) -> Reader:
        return WireReader(connection) if can_be_wired(connection) else CursorReader(connection)

    def prepare(self, engine: Engine, *, writes: bool) -> None:
        bound_connecting(engine)
        event.listen(engine, "connect", _tell_connection)

    def open_session(self, connection: Any) -> Session:
        return MariaDBSession(connection)

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql(f"SELECT GET_LOCK('{MIGRATION_LOCK}', {MIGRATION_WAIT_S})")
        try:
            yield
        finally:
            # A connection that broke in the middle has given the lock back already.
            with suppress(SQLAlchemyError):
                connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{MIGRATION_LOCK}')")

    def index_hint(self, index: str) -> str:
        # A locking read locks what it scans, so it must not choose to scan a small table.
        return f"FORCE INDEX ({index})"

    def change_rows(self, change: RowsChange) -> Command:
        return RowsCommand(change)

    def rows_parameter(self, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> Any:
        # How they are written depends on how many there are.
        return rows

    def insert_rows(
        self, table: str, columns: Sequence[Column[Any]], returning: Sequence[str]
    ) -> Command:
        names = ", ".join(f"`{column.name}`" for column in columns)
        marks = ", ".join(f":{column.name}" for column in columns)
        return Command(
            f"INSERT INTO {table} ({names}) VALUES {marks}",
            rows=True,
            end=returning_clause(returning),
        )

    def number_rows(self, table: str) -> None:
        return None

    def part_of_union(self, select: str) -> str:
        return f"({select})"

    def joined_ids(self, column: str) -> str:
        return f"GROUP_CONCAT({column})"

    def in_one(self, columns: Sequence[str]) -> str:
        return f"CONCAT_WS(' ', {', '.join(columns)})"

    def one_of(self, column: str, numbers: Collection[int]) -> tuple[str, tuple[str, ...]]:
        return written_out(column, numbers)

    def seconds(self, moment: str) -> str:
        return f"TIMESTAMPDIFF(SECOND, '1970-01-01', {moment})"

    def as_kept(self, moment: datetime) -> datetime:
        return moment.replace(microsecond=0)

    def trouble(self, error: BaseException, *, lost: bool) -> Trouble:
        if is_integrity_error(error):
            return Trouble.CONFLICT
        arguments = error.args
        code = arguments[0] if arguments and isinstance(arguments[0], int) else 0
        if code in _CONFLICT:
            return Trouble.CONFLICT
        if code in _FULL:
            return Trouble.FULL
        if code == _UNFIT or (code == _INCOMPARABLE and "COERCIBLE" in str(arguments[1])):
            return Trouble.UNFIT
        if code in _LOST or lost:
            return Trouble.LOST
        return Trouble.FAULT


def _tell_connection(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SET SESSION sql_mode = 'TRADITIONAL,NO_AUTO_VALUE_ON_ZERO'")
    cursor.execute("SET SESSION innodb_lock_wait_timeout = 10")
    # On Galera a read waits until this node has applied what any node had committed before.
    cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
    row = cursor.fetchone()
    if row and row[1] == "ON":
        cursor.execute("SET SESSION wsrep_sync_wait = 1")
    cursor.close()
