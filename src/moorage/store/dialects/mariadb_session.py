"""Transactions in as few packets as there are decisions to wait for.

The drivers of MariaDB write values into the text of a statement, so several statements may go in
one packet. That is most of what a statement costs with a driver that is written in Python.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from moorage.store.dialects.base import Command, Order, Rows, StaleView

_GUARD: Final = "IF ROW_COUNT() <> {due} THEN SIGNAL SQLSTATE '45000'; END IF"
"""Ends the packet with an error where the statement before it did not touch as many rows."""

_SIGNALLED: Final = 1644
"""The number of that error."""

PACKET_CHARACTERS_MAX: Final = 1_000_000
"""How long the text of several statements gets: well below the servers' smallest limit."""


class _Statement(NamedTuple):
    text: str
    quoted: Sequence[str] = ()
    command: Command | None = None
    """None for what only guards or ends the work."""


class MariaDBSession:
    """One connection of MariaDB, of PyMySQL or mysqlclient.

    The connection is not in autocommit: its first statement begins a transaction.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def run(
        self, orders: Sequence[Order], *, begin: bool = False, commit: bool = False
    ) -> list[Rows]:
        # Nothing says that a transaction begins: the connection is not in autocommit.
        found: list[Rows] = []
        for statements in self._packets(orders, commit=commit):
            found += self._send(statements)
        return found

    def rollback(self) -> None:
        self._connection.rollback()

    def _packets(self, orders: Sequence[Order], *, commit: bool) -> Iterator[list[_Statement]]:
        statements: list[_Statement] = []
        characters = 0
        for order in orders:
            text, quoted = _word(order)
            size = len(text) + sum(map(len, quoted))
            if statements and characters + size > PACKET_CHARACTERS_MAX:
                yield statements
                statements, characters = [], 0
            statements.append(_Statement(text, quoted, order.command))
            if order.due is not None:
                statements.append(_Statement(_GUARD.format(due=order.due)))
            characters += size
        if commit:
            statements.append(_Statement("COMMIT"))
        if statements:
            yield statements

    def _send(self, statements: Sequence[_Statement]) -> list[Rows]:
        found: list[Rows] = []
        cursor = self._connection.cursor()
        try:
            cursor.execute(
                ";".join([statement.text for statement in statements]),
                [value for statement in statements for value in statement.quoted],
            )
            for number, statement in enumerate(statements):
                if number:
                    # It raises what the next statement met.
                    cursor.nextset()
                if statement.command is not None:
                    found.append(_fetch(cursor, statement.command))
        except Exception as error:
            if error.args and error.args[0] == _SIGNALLED:
                raise StaleView from error
            raise
        cursor.close()
        return found


def _word(order: Order) -> tuple[str, list[str]]:
    """The text of a statement with ``%s`` for what the driver has to quote, and those values."""
    quoted: list[str] = []

    def mark(value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, int | float):
            return repr(value)
        quoted.append(str(value))
        return "%s"

    command, parameters, _ = order
    if command.rows:
        names = [parameter for _, parameter, _ in command.pieces if parameter]
        rows = [f"({','.join([mark(row[name]) for name in names])})" for row in parameters]
        return command.pieces[0].text + ",".join(rows) + command.end, quoted
    words = []
    for text, parameter, listed in command.pieces:
        words.append(text.replace("%", "%%"))
        if listed:
            words.append(f"IN ({','.join([mark(member) for member in parameters[parameter]])})")
        elif parameter:
            words.append(mark(parameters[parameter]))
    return "".join(words), quoted


def _fetch(cursor: Any, command: Command) -> Rows:
    if cursor.description is None:
        return ()
    row_type = command.row or command.make_row([column[0] for column in cursor.description])
    return list(map(row_type._make, cursor.fetchall()))
