"""Transactions in as few packets as there are decisions to wait for.

The drivers of MariaDB write values into the text of a statement, so several statements may go in
one packet. That is most of what a statement costs with a driver that is written in Python.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from moorage.store.dialects.base import Command, Order, Rows, StaleView
from moorage.store.dialects.mariadb_rows import RowsCommand
from moorage.store.dialects.mariadb_wire import Wire, can_be_wired, is_pymysql

_GUARD: Final = "IF ROW_COUNT() <> {due} THEN SIGNAL SQLSTATE '45000'; END IF"
"""Ends the packet with an error where the statement before it did not touch as many rows."""

_COMPOUND: Final = "BEGIN NOT ATOMIC {statements}; END"
"""One statement made of several; the first that fails ends it.

Of several statements side by side the server sends each answer by itself, and we wake up for each:
that took both sides almost as long as the work itself.
"""

_SIGNALLED: Final = 1644
"""The number of that error."""

PACKET_CHARACTERS_MAX: Final = 1_000_000
"""How long the text of several statements gets: well below the servers' smallest limit."""


class _Packet(NamedTuple):
    """What goes out together: the commands in it, its text, and whom each answer is for.

    None stands for an answer without rows.
    """

    commands: Sequence[Command]
    text: str
    answers: Sequence[Command | None]


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
            for packet in self._packets(orders, commit=commit):
                rows = iter(self._channel.run(packet.text, packet.answers))
                found += [next(rows) if one.gives_rows else () for one in packet.commands]
        except Exception as error:
            if error.args and error.args[0] == _SIGNALLED:
                raise StaleView from error
            raise
        return found

    def rollback(self) -> None:
        self._connection.rollback()

    def is_open(self) -> bool:
        return self._channel.is_open()

    def _packets(self, orders: Sequence[Order], *, commit: bool) -> Iterator[_Packet]:
        commands: list[Command] = []
        statements: list[str] = []
        characters = 0
        literal = self._channel.literal
        for order in orders:
            text = _word(order, literal)
            if statements and characters + len(text) > PACKET_CHARACTERS_MAX:
                yield _pack(commands, statements)
                commands, statements, characters = [], [], 0
            commands.append(order.command)
            statements.append(text)
            if order.due is not None:
                statements.append(_GUARD.format(due=order.due))
            characters += len(text)
        if commit:
            statements.append("COMMIT")
        if statements:
            yield _pack(commands, statements)


def _pack(commands: Sequence[Command], statements: Sequence[str]) -> _Packet:
    giving = [command for command in commands if command.gives_rows]
    if len(giving) == len(statements):
        return _Packet(commands, ";".join(statements), giving)
    if len(statements) == 1:
        return _Packet(commands, statements[0], (None,))
    text = _COMPOUND.format(statements=";".join(statements))
    return _Packet(commands, text, [*giving, None])


class Cursors:
    """One connection of mysqlclient, or of any PyMySQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._quote = connection.escape if is_pymysql(connection) else self._quote_in_c

    def is_open(self) -> bool:
        """Whether nothing is known against it: a driver in C does not show its socket."""
        return False

    def literal(self, value: Any) -> str:
        """A value as it stands in a statement."""
        if value is None:
            return "NULL"
        if isinstance(value, int | float):
            return repr(value)
        quoted: str = self._quote(str(value))
        return quoted

    def run(self, sql: str, commands: Sequence[Command | None]) -> list[Rows]:
        """Send statements in one packet; what those found that give rows.

        ``commands``: for each answer that is expected; None: one without rows.
        """
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
    if isinstance(command, RowsCommand):
        return command.word(parameters, literal)
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
    row_type = command.row or command.make_row([column[0] for column in cursor.description])
    return list(map(row_type._make, cursor.fetchall()))
