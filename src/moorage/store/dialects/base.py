"""The face that every database shows to the store."""

import re
from collections import namedtuple
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from sqlalchemy import Column, Connection, Engine, event
from sqlalchemy.exc import DBAPIError

CONNECT_S_MAX: Final = 10
"""How long an attempt to connect to a server may take, where the site's URL does not say."""

_GIVES_ROWS: Final = re.compile(r"\A\s*(SELECT|WITH)\b|\bRETURNING\b")
_PARAMETER: Final = re.compile(r"(\bIN\s+)?(?<![:\w]):([a-z_]+)")


class Trouble(Enum):
    """What an error of the database means for the transaction that met it."""

    CONFLICT = "another transaction won; the same work may succeed if it starts anew"
    LOST = "the connection is gone, or the server refuses work for now"
    FULL = "the server cannot store more"
    UNFIT = "a text has characters that the tables cannot hold"
    FAULT = "an error of ours"


class Piece(NamedTuple):
    """Text of a statement up to its next parameter, and that parameter ("" at the end)."""

    text: str
    parameter: str
    listed: bool
    """The parameter is a list and stands behind ``IN``, which is left out of the text."""


class Command:
    """A statement with named parameters, written down once.

    ``rows``: its parameters are a list of mappings, one for each row that it inserts; ``end``
    stands behind them.
    ``moments``: columns of its result that are points in time.
    """

    __slots__ = ("end", "gives_rows", "moments", "pieces", "row", "rows", "sql")

    def __init__(
        self, sql: str, *, moments: tuple[str, ...] = (), rows: bool = False, end: str = ""
    ) -> None:
        self.sql = sql
        self.end = end
        self.rows = rows
        self.moments = moments
        self.gives_rows = _GIVES_ROWS.search(f"{sql}{end}") is not None
        self.pieces = tuple(_split(sql))
        self.row: Any = None

    def make_row(self, columns: Sequence[str]) -> Any:
        """The type of a row of the result: a tuple whose fields have names."""
        if self.row is None:
            self.row = namedtuple("Row", columns)  # type: ignore[misc]
        return self.row


def _split(sql: str) -> list[Piece]:
    pieces = []
    start = 0
    for found in _PARAMETER.finditer(sql):
        pieces.append(Piece(sql[start : found.start()], found[2], found[1] is not None))
        start = found.end()
    return [*pieces, Piece(sql[start:], "", listed=False)]


@dataclass(frozen=True)
class RowsChange:
    """One UPDATE or DELETE of many rows of a table, each found by its key and guarded.

    ``columns``: the numbers that each row is given by, whole ones but for those in ``real``.
    ``key`` and ``guard``: columns of the table, and which of those numbers they have to be; the
    columns of the key are unique together, and what ``index`` is made of.
    ``assign``: what columns become; an expression has a number as ``d.<column>``, and parameters.
    Nothing assigned: the rows are deleted.
    """

    table: str
    columns: Sequence[str]
    key: Mapping[str, str]
    guard: Mapping[str, str]
    assign: Mapping[str, str]
    index: str
    real: Collection[str]

    @property
    def match(self) -> str:
        """The condition on a row of the table (alias ``t``) and one of those given (``d``)."""
        return _matched([*self.key.items(), *self.guard.items()])

    @property
    def match_of_key(self) -> str:
        """The same, whatever the guard says."""
        return _matched([*self.key.items()])


def _matched(pairs: Collection[tuple[str, str]]) -> str:
    return " AND ".join(f"t.{column} = d.{given}" for column, given in pairs)


class StaleView(Exception):
    """A guarded statement found that the data it was decided on has changed."""


class Order(NamedTuple):
    """A command to be sent, with the values of its parameters by name.

    ``due``: how many rows it has to touch, None where that does not matter.
    """

    command: Command
    parameters: Any = None
    due: int | None = None


Rows: TypeAlias = Sequence[Any]
"""What an order found; nothing where it is no SELECT and returns nothing."""


class Session(Protocol):
    """A driver's connection that one transaction at a time has for itself."""

    def run(
        self, orders: Sequence[Order], *, begin: bool = False, commit: bool = False
    ) -> list[Rows]:
        """Send orders, together as far as the driver can, and wait for what they find.

        Args:
            begin: the transaction begins with them.
            commit: it is committed after them, unless one of them fails.
        Raises:
            StaleView: one did not touch as many rows as were due.
            Exception: the driver's error of the first that failed.
        """

    def rollback(self) -> None:
        """Undo the transaction."""

    def is_open(self) -> bool:
        """Whether the server has not ended the connection, as far as is seen without asking it.

        False where that cannot be seen.
        """


class Reader(Protocol):
    """A driver's connection in autocommit that runs one SELECT after the other."""

    def read(
        self, sql: str, parameters: Sequence[int | str], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        """All rows of a SELECT, as the driver has them.

        Args:
            sql: with ``?`` for each parameter, and no other question or percent mark.
            is_frequent: the same text is run all the time, so that it is worth preparing.
        Raises:
            Exception: the driver's error; the connection should then not be used again.
        """


class Dialect(Protocol):
    """One kind of database."""

    name: str
    has_server: bool
    """Whether something has to run, perhaps elsewhere, before it can be reached."""
    lock_rows: str
    """Clause that keeps found rows from all other writers; empty where writers come one by one."""
    keep_rows: str
    """Clause that keeps found rows from being changed or deleted; others may keep them too."""

    count_journal: Command | None
    """Adds ``:rows`` to what was ever written to the journal, where that has to be counted: row
    numbers are left out all the time there. It is the last of its transaction."""

    begin_picture: tuple[str, ...]
    """Statements that open a reading transaction in which every SELECT sees the same moment."""

    def writer_options(self) -> Mapping[str, Any]:
        """Arguments of ``create_engine`` for connections that write."""

    def reader_options(self) -> Mapping[str, Any]:
        """Arguments of ``create_engine`` for connections that run one SELECT at a time."""

    def open_reader(self, connection: Any) -> Reader:
        """The shortest way to read on a driver's connection that nobody else uses meanwhile."""

    def prepare(self, engine: Engine, *, writes: bool) -> None:
        """Register what each new connection of the engine must be told."""

    def open_session(self, connection: Any) -> Session:
        """A session on a driver's connection that is used for nothing else meanwhile."""

    def turn(self, connection: Connection) -> AbstractContextManager[None]:
        """Wait until no other process migrates, and keep others waiting meanwhile."""

    def index_hint(self, index: str) -> str:
        """What follows a table's name to have its rows found by this index, where that matters."""

    def change_rows(self, change: RowsChange) -> Command:
        """One statement for all rows, which are its parameter ``:rows``."""

    def rows_parameter(self, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> Any:
        """The value of ``:rows`` for these rows."""

    def insert_rows(
        self, table: str, columns: Sequence[Column[Any]], returning: Sequence[str]
    ) -> Command:
        """An INSERT of any number of rows; its parameters are named after the columns.

        ``returning``: columns of the new rows that it gives back, in no order.
        """

    def number_rows(self, table: str) -> Command | None:
        """A SELECT of ``:count`` numbers that are given out for new rows' ``id``, and not again.

        None where rows get their numbers when they are inserted, and not before.
        """

    def part_of_union(self, select: str) -> str:
        """A SELECT with an order and a limit of its own, as it stands before ``UNION ALL``."""

    def joined_ids(self, column: str) -> str:
        """An aggregate: the row ids of a group as text, with commas between them."""

    def in_one(self, columns: Sequence[str]) -> str:
        """An expression: columns as one text, with a space between each and the next."""

    def one_of(self, column: str, numbers: Collection[int]) -> tuple[str, tuple[str, ...]]:
        """A condition: the column is one of these numbers; and the values of its parameters.

        Where statements can be prepared, its text does not depend on the numbers.
        """

    def seconds(self, moment: str) -> str:
        """An expression: a point in time as whole seconds since 1970, cut and not rounded."""

    def as_kept(self, moment: datetime) -> datetime:
        """A point in time as it is in the columns of Placement's tables."""

    def trouble(self, error: BaseException, *, lost: bool) -> Trouble:
        """What an error of the driver means; ``lost``: it broke the connection."""


def returning_clause(columns: Sequence[str]) -> str:
    """What ends an INSERT that gives back columns of its new rows; nothing for none."""
    return f" RETURNING {', '.join(columns)}" if columns else ""


def written_out(column: str, numbers: Collection[int]) -> tuple[str, tuple[str, ...]]:
    """``one_of`` with the numbers in the text."""
    return f"{column} IN ({','.join(map(str, numbers))})", ()


def trouble_of(dialect: Dialect, error: DBAPIError) -> Trouble:
    """What an error of the driver means that SQLAlchemy has wrapped."""
    assert error.orig is not None
    return dialect.trouble(error.orig, lost=error.connection_invalidated)


def bound_connecting(engine: Engine) -> None:
    """Let no thread wait for minutes where a server is unreachable without a word."""

    def bound(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters.setdefault("connect_timeout", CONNECT_S_MAX)

    event.listen(engine, "do_connect", bound)


def is_integrity_error(error: BaseException) -> bool:
    """Whether an error has the class that drivers have for broken keys, whichever driver."""
    return any(kind.__name__ == "IntegrityError" for kind in type(error).__mro__)
