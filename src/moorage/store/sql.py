"""How statements are written down once and reused: text with named parameters.

Reads are ``query``: SQLAlchemy runs them. What a transaction sends goes to the driver by the
shortest way, and has two kinds: ``Load`` gives rows and ``Write`` changes them. Writes of many
rows are ``Insert``, ``RowsUpdate`` and ``RowsDelete``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, Table, bindparam, text
from sqlalchemy.sql.expression import TextualSelect

from moorage.store.dialects import Command, Dialect, RowsChange

UNDATED: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - the store knows naive UTC only
"""The age of rows that were written without a time."""

NO_INDEXES: Final[Mapping[str, str]] = {}
"""A statement whose rows are found in whatever way the database finds best."""


def moment(value: Any) -> datetime | None:
    """A moment as the driver has it: SQLite keeps moments as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def query(sql: str, *, many: tuple[str, ...] = (), **types: Any) -> TextualSelect:
    """A SELECT; columns named in ``types`` are converted, others come as the driver has them.

    The parameters named in ``many`` are lists, ``:at`` is a moment.
    """
    binds: list[Any] = [bindparam(name, expanding=True) for name in many]
    if ":at" in sql:
        binds.append(bindparam("at", type_=DateTime))
    return text(sql).bindparams(*binds).columns(**types)


class Load:
    """A SELECT in a transaction; a parameter that stands behind ``IN`` is a list.

    Args:
        moments: columns that are points in time.
        indexes: by which index the rows of a table are found, by the name that stands for it in
            braces behind the table. Without, a database chooses by what it believes of its tables,
            which is long out of date where they have just been filled.
    """

    def __init__(
        self,
        sql: str,
        *,
        moments: tuple[str, ...] = (),
        indexes: Mapping[str, str] = NO_INDEXES,
    ) -> None:
        self._sql = sql
        self._moments = moments
        self._indexes = indexes
        self._by_dialect: dict[str, Command] = {}

    def command(self, dialect: Dialect) -> Command:
        found = self._by_dialect.get(dialect.name)
        if found is None:
            found = Command(self._worded(dialect), moments=self._moments)
            self._by_dialect[dialect.name] = found
        return found

    def _worded(self, dialect: Dialect) -> str:
        if not self._indexes:
            return self._sql
        return self._sql.format(
            **{name: dialect.index_hint(index) for name, index in self._indexes.items()}
        )


class RowNumbers:
    """Gives out ``:count`` ids for new rows of a table before the rows are there."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._by_dialect: dict[str, Command | None] = {}

    def are_known_in(self, dialect: Dialect) -> bool:
        """Whether a database knows them before."""
        return self._found(dialect) is not None

    def command(self, dialect: Dialect) -> Command:
        found = self._found(dialect)
        assert found is not None
        return found

    def _found(self, dialect: Dialect) -> Command | None:
        if dialect.name not in self._by_dialect:
            self._by_dialect[dialect.name] = dialect.number_rows(self._table.name)
        return self._by_dialect[dialect.name]


class LockingLoad(Load):
    """A SELECT that takes the rows it finds until the transaction ends.

    ``{hint}`` in its text stands behind the name of the table whose rows are found by ``index``.
    """

    def __init__(
        self,
        sql: str,
        *,
        index: str,
        shared: bool = False,
        moments: tuple[str, ...] = (),
    ) -> None:
        super().__init__(sql, moments=moments, indexes={"hint": index})
        self._shared = shared

    def _worded(self, dialect: Dialect) -> str:
        clause = dialect.keep_rows if self._shared else dialect.lock_rows
        return f"{super()._worded(dialect)} {clause}"


class Write:
    """An UPDATE, DELETE or INSERT; a parameter that stands behind ``IN`` is a list."""

    def __init__(self, sql: str) -> None:
        self._command = Command(sql)

    def command(self, _dialect: Dialect) -> Command:
        return self._command


class Insert:
    """An INSERT of any number of rows into these columns of a table."""

    def __init__(
        self, table: Table, columns: Sequence[str], *, returning: Sequence[str] = ()
    ) -> None:
        """``returning``: columns of the new rows that it gives back, in no order."""
        self._table = table
        self._columns = tuple(columns)
        self._returning = tuple(returning)
        self._by_dialect: dict[str, Command] = {}

    def command(self, dialect: Dialect) -> Command:
        found = self._by_dialect.get(dialect.name)
        if found is None:
            columns = [self._table.c[name] for name in self._columns]
            found = dialect.insert_rows(self._table.name, columns, self._returning)
            self._by_dialect[dialect.name] = found
        return found


class RowsUpdate:
    """One UPDATE of many rows, each guarded by what it was decided on; see ``RowsChange``.

    It must touch them all.
    """

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        *,
        key: Mapping[str, str],
        guard: Mapping[str, str],
        assign: Mapping[str, str],
        real: tuple[str, ...] = (),
        index: str = "PRIMARY",
    ) -> None:
        self._change = RowsChange(table, columns, key, guard, assign, index, real)
        self._by_dialect: dict[str, Command] = {}

    def command(self, dialect: Dialect) -> Command:
        found = self._by_dialect.get(dialect.name)
        if found is None:
            found = self._by_dialect[dialect.name] = dialect.change_rows(self._change)
        return found

    def parameter(self, dialect: Dialect, rows: Sequence[Sequence[float]]) -> Any:
        """The value of the statement's parameter ``:rows``."""
        return dialect.rows_parameter(self._change.columns, rows)


class RowsDelete(RowsUpdate):
    """One DELETE of many rows, each guarded by what it was decided on."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        *,
        key: Mapping[str, str],
        guard: Mapping[str, str],
        index: str = "PRIMARY",
    ) -> None:
        super().__init__(table, columns, key=key, guard=guard, assign={}, index=index)
