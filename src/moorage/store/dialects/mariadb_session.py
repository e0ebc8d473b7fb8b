"""Transactions in as few packets as there are decisions to wait for.

The drivers of MariaDB write values into the text of a statement, so several statements may go in
one packet. That is most of what a statement costs with a driver that is written in Python.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from moorage.store.dialects.base import Command, Order, Rows, StaleView
from moorage.store.dialects.mariadb_wire import Wire, can_be_wired, is_pymysql

_Statement: TypeAlias = tuple[str, Command | None]
"""A text, and its command: None for what only guards or ends the work."""

_GUARD: Final = "IF ROW_COUNT() <> {due} THEN SIGNAL SQLSTATE '45000'; END IF"
"""Ends the packet with an error where the statement before it did not touch as many rows."""

_SIGNALLED: Final = 1644
"""The number of that error."""

PACKET_CHARACTERS_MAX: Final = 1_000_000
"""How long the text of several statements gets: well below the servers' smallest limit."""


class MariaDBSession:
    """One connection of MariaDB, of PyMySQL or mysqlclient.

    The connection is not in autocommit: its first statement begins a transaction.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._channel: Wire | Cursors
        self._channel = Wire(connection) if can_be_wired(connection) else Cursors(connection)

    def run(
        self, orders: Sequence[Order], *, begin: bool = False, commit: bool = False
    ) -> list[Rows]:
        # Nothing says that a transaction begins: the connection is not in autocommit.
        found: list[Rows] = []
        try:
            for statements in self._packets(orders, commit=commit):
                texts = ";".join([text for text, _ in statements])
                found += self._channel.run(texts, [command for _, command in statements])
        except Exception as error:
            if error.args and error.args[0] == _SIGNALLED:
                raise StaleView from error
            raise
        return found

    def rollback(self) -> None:
        self._connection.rollback()

    def _packets(self, orders: Sequence[Order], *, commit: bool) -> Iterator[list[_Statement]]:
        statements: list[_Statement] = []
        characters = 0
        literal = self._channel.literal
        for order in orders:
            text = _word(order, literal)
            if statements and characters + len(text) > PACKET_CHARACTERS_MAX:
                yield statements
                statements, characters = [], 0
            statements.append((text, order.command))
            if order.due is not None:
                statements.append((_GUARD.format(due=order.due), None))
            characters += len(text)
        if commit:
            statements.append(("COMMIT", None))
        if statements:
            yield statements


class Cursors:
    """One connection of mysqlclient, or of any PyMySQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._quote = connection.escape if is_pymysql(connection) else self._quote_in_c

    def literal(self, value: Any) -> str:
        """A value as it stands in a statement."""
        if value is None:
            return "NULL"
        if isinstance(value, int | float):
            return repr(value)
        quoted: str = self._quote(str(value))
        return quoted

    def run(self, sql: str, commands: Sequence[Command | None]) -> list[Rows]:
        """Send statements in one packet; what those found that have a command."""
        found: list[Rows] = []
        cursor = self._connection.cursor()
        cursor.execute(sql)
        for number, command in enumerate(commands):
            if number:
                # It raises what the next statement met.
                cursor.nextset()
            if command is not None:
                found.append(_fetch(cursor, command))
        cursor.close()
        return found

    def _quote_in_c(self, value: str) -> str:
        quoted: bytes = self._connection.literal(value)
        return quoted.decode(self._connection.encoding)


def _word(order: Order, literal: Callable[[Any], str]) -> str:
    """The text of a statement with its values."""
    command, parameters, _ = order
    if command.rows:
        names = [parameter for _, parameter, _ in command.pieces if parameter]
        rows = [f"({','.join([literal(row[name]) for name in names])})" for row in parameters]
        return f"{command.pieces[0].text}{','.join(rows)}{command.end}"
    words = []
    for text, parameter, listed in command.pieces:
        words.append(text)
        if listed:
            words.append(f"IN ({','.join(map(literal, parameters[parameter]))})")
        elif parameter:
            words.append(literal(parameters[parameter]))
    return "".join(words)


def _fetch(cursor: Any, command: Command) -> Rows:
    if cursor.description is None:
        return ()
    row_type = command.row or command.make_row([column[0] for column in cursor.description])
    return list(map(row_type._make, cursor.fetchall()))
