"""How statements are written down once and reused: text with typed parameters and columns."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, TextClause, bindparam, text
from sqlalchemy.sql.expression import TextualSelect

from moorage.store.transaction import Transaction

UNDATED: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - the store knows naive UTC only
"""The age of rows that were written without a time."""


def statement(sql: str, *, many: tuple[str, ...] = ()) -> TextClause:
    """A statement; the parameters named in ``many`` are lists, ``:at`` is a moment."""
    binds: list[Any] = [bindparam(name, expanding=True) for name in many]
    if ":at" in sql:
        binds.append(bindparam("at", type_=DateTime))
    return text(sql).bindparams(*binds)


class LockingQuery:
    """A SELECT that takes the rows it finds until the transaction ends.

    ``{hint}`` in its text stands behind the name of the table whose rows are found by ``index``.
    """

    def __init__(self, sql: str, *, index: str, many: tuple[str, ...] = (), **types: Any) -> None:
        self._sql = sql
        self._index = index
        self._many = many
        self._types = types
        self._by_dialect: dict[tuple[str, bool], TextualSelect] = {}

    def locking(self, tx: Transaction) -> TextualSelect:
        """The statement that keeps all other writers from the rows."""
        return self._on(tx, exclusive=True)

    def keeping(self, tx: Transaction) -> TextualSelect:
        """The statement that keeps the rows as they are; others may keep them too."""
        return self._on(tx, exclusive=False)

    def _on(self, tx: Transaction, *, exclusive: bool) -> TextualSelect:
        dialect = tx.dialect
        found = self._by_dialect.get((dialect.name, exclusive))
        if found is None:
            clause = dialect.lock_rows if exclusive else dialect.keep_rows
            sql = self._sql.format(hint=dialect.index_hint(self._index))
            found = query(f"{sql} {clause}", many=self._many, **self._types)
            self._by_dialect[dialect.name, exclusive] = found
        return found


def query(sql: str, *, many: tuple[str, ...] = (), **types: Any) -> TextualSelect:
    """A SELECT; columns named in ``types`` are converted, others come as the driver has them."""
    return statement(sql, many=many).columns(**types)


class RowsUpdate:
    """One UPDATE of many rows, each guarded by what it was decided on.

    The statement's text does not depend on how many rows there are, and it must touch them all.
    """

    def __init__(
        self, table: str, columns: Sequence[str], *, assign: Mapping[str, str], match: str
    ) -> None:
        self._table = table
        self._columns = columns
        self._assign = assign
        self._match = match
        self._by_dialect: dict[str, TextClause] = {}

    def run(self, tx: Transaction, rows: Sequence[Sequence[int]], **parameters: Any) -> None:
        """Update the rows, in their order as far as the database keeps to one.

        Raises:
            StaleView: a row was not as it was decided on.
        """
        if not rows:
            return
        dialect = tx.dialect
        update = self._by_dialect.get(dialect.name)
        if update is None:
            update = self._by_dialect[dialect.name] = statement(
                dialect.update_from(
                    table=self._table,
                    columns=self._columns,
                    assign=self._assign,
                    match=self._match,
                )
            )
        values = {"rows": dialect.rows_parameter(self._columns, rows), **parameters}
        tx.write_exactly(update, values, rows=len(rows))
