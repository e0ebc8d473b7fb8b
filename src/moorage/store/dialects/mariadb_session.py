"""Transactions in as few packets as there are decisions to wait for.

The drivers of MariaDB write values into the text of a statement, so several statements may go in
one packet. That is most of what a statement costs with a driver that is written in Python.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
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
    command: Command | None
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
        for command, parameters, due in orders:
            text = self._word(command, parameters)
            if statements and characters + len(text) > PACKET_CHARACTERS_MAX:
                yield statements
                statements, characters = [], 0
            statements.append(_Statement(text, command))
            if due is not None:
                statements.append(_Statement(_GUARD.format(due=due), None))
            characters += len(text)
        if commit:
            statements.append(_Statement("COMMIT", None))
        if statements:
            yield statements

    def _send(self, statements: Sequence[_Statement]) -> list[Rows]:
        found: list[Rows] = []
        cursor = self._connection.cursor()
        try:
            cursor.execute(";".join([statement.text for statement in statements]))
            for number, (_, command) in enumerate(statements):
                if number:
                    # It raises what the next statement met.
                    cursor.nextset()
                if command is not None:
                    found.append(_fetch(cursor, command))
        except Exception as error:
            if error.args and error.args[0] == _SIGNALLED:
                raise StaleView from error
            raise
        cursor.close()
        return found

    def _word(self, command: Command, parameters: Any) -> str:
        if command.rows:
            names = [parameter for _, parameter, _ in command.pieces if parameter]
            rows = ",".join(
                "(" + ",".join([self._literal(row[name]) for name in names]) + ")"
                for row in parameters
            )
            return command.pieces[0].text + rows
        words = []
        for part, parameter, listed in command.pieces:
            words.append(part)
            if listed:
                members = ",".join(self._literal(member) for member in parameters[parameter])
                words.append(f"IN ({members})")
            elif parameter:
                words.append(self._literal(parameters[parameter]))
        return "".join(words)

    def _literal(self, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, int | float):
            return repr(value)
        if isinstance(value, datetime):
            return f"'{value}'"
        literal = self._connection.literal(value)
        return literal.decode() if isinstance(literal, bytes) else literal


def _fetch(cursor: Any, command: Command) -> Rows:
    if cursor.description is None:
        return ()
    row_type = command.row or command.make_row([column[0] for column in cursor.description])
    return list(map(row_type._make, cursor.fetchall()))
