"""Statements and their rows over PyMySQL's connection, without its cursors.

A driver in Python takes longer over a statement than the server does, most of it to describe
columns that are always the same: here a statement's columns are read once on a connection, and
passed over where they are described in the same bytes again. What is not everyday (errors, texts
that need quoting, lost connections) is left to PyMySQL.
"""

# ruff: noqa: SLF001 - its public face is the cursors; what is used of it is looked for first

import re
import select
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from pymysql import err
from pymysql.constants import COMMAND, CR, FIELD_TYPE

from moorage.store.dialects.base import Command, Rows

_NEEDS_QUOTING: Final = re.compile(r"""[\0\\\n\r\032"']""")
_LONG_PACKET: Final = 0xFFFFFF
_OK, _NULL, _LOCAL_FILE, _EOF, _ERROR = 0x00, 0xFB, 0xFB, 0xFE, 0xFF
_EOF_BYTES_MAX: Final = 9
_BINARY: Final = 63
"""The number of the character set of what is no text."""

RECEIVED_BYTES: Final = 1 << 16
"""How much is taken from the socket together, if it has arrived."""

_USED: Final = ("_execute_command", "_force_close", "_sock", "_read_timeout", "_write_timeout")
_NUMBERS: Final[dict[int, Callable[[bytes], Any]]] = {
    **dict.fromkeys(
        (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG),
        int,
    ),
    **dict.fromkeys((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE), float),
}
_TEXTS: Final = frozenset(
    (
        FIELD_TYPE.BLOB,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB,
        FIELD_TYPE.STRING,
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.VARCHAR,
    )
)
_LITERALS: Final[Mapping[type, Callable[[Any], str]]] = {
    int: repr,
    bool: repr,
    float: repr,
    type(None): lambda _: "NULL",
    datetime: lambda moment: f"'{moment}'",
}
"""How values are written that need no quoting."""


class _Columns(NamedTuple):
    make_row: Callable[[list[Any]], Any]
    readers: tuple[Callable[[bytes], Any], ...]
    described: bytes
    """How the server describes them, but for the end of it."""


def is_pymysql(connection: Any) -> bool:
    """Whether a driver's connection is PyMySQL's."""
    return any(kind.__module__.startswith("pymysql.") for kind in type(connection).__mro__)


def can_be_wired(connection: Any) -> bool:
    """Whether a driver's connection is a PyMySQL as we know it."""
    if not (is_pymysql(connection) and all(hasattr(connection, name) for name in _USED)):
        return False
    # It sets the socket's timeout anew for each packet where these differ.
    return bool(connection._read_timeout == connection._write_timeout)


class Wire:
    """One connection of PyMySQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._encoding: str = connection.encoding
        self._columns: dict[tuple[Command | str | None, int], _Columns] = {}
        self._arrived = bytearray()
        self._place = 0
        self._answers = select.poll()
        self._answers.register(connection._sock, select.POLLIN)

    def is_open(self) -> bool:
        """Whether the server has not ended the connection, as far as is seen without asking."""
        return not self._answers.poll(0)

    def literal(self, value: Any) -> str:
        """A value as it stands in a statement."""
        plain = _LITERALS.get(type(value))
        if plain is not None:
            return plain(value)
        value = str(value)
        if _NEEDS_QUOTING.search(value):
            quoted: str = self._connection.escape(value)
            return quoted
        return f"'{value}'"

    def run(self, sql: str, commands: Sequence[Command | None]) -> list[Rows]:
        """Send statements in one packet; what those found that give rows.

        Args:
            commands: for each answer that is expected; None: one without rows.
        Raises:
            MySQLError: of the first that failed; those behind it were not run.
        """
        self._send(sql)
        try:
            found = [(command, self._result(command)) for command in commands]
        except err.MySQLError:
            raise
        except BaseException:
            # Nobody knows where in the answer we stopped.
            self._connection._force_close()
            raise
        return [rows for command, rows in found if command is not None]

    def select(self, sql: str, known_as: str | None) -> Rows:
        """The rows of one SELECT as tuples.

        Args:
            known_as: what all statements with its columns, and no others, have in common, so that
                the columns need be read once only; None: they are read each time.
        Raises:
            MySQLError: it failed.
        """
        self._send(sql)
        try:
            return self._result(known_as)
        except err.MySQLError:
            raise
        except BaseException:
            self._connection._force_close()
            raise

    def _send(self, sql: str) -> None:
        self._connection._execute_command(COMMAND.COM_QUERY, sql.encode(self._encoding))
        self._arrived.clear()
        self._place = 0

    def _result(self, known_as: Command | str | None) -> Rows:
        began = self._place
        self._await(began + 4)
        # The packets of an answer are numbered, and the numbers are part of what is compared.
        known = (known_as, self._arrived[began + 3])
        columns = self._columns.get(known)
        if columns is not None and self._arrived.startswith(columns.described, began):
            self._place = began + len(columns.described)
        else:
            packet = self._packet()
            kind = packet[0]
            if kind == _OK:
                if known_as is not None:
                    raise RuntimeError("there are no rows where some were to be given")
                return ()
            if kind == _LOCAL_FILE:
                raise RuntimeError("the server asks for a file, which no statement of ours does")
            count, _ = _number(packet, 0)
            packets = [self._packet() for _ in range(count)]
            described = bytes(self._arrived[began : self._place])
            columns = self._read_columns(known_as, packets, described)
            if known_as is not None:
                self._columns[known] = columns
        self._find_packet()  # the end of the descriptions
        return self._rows(columns)

    def _rows(self, columns: _Columns) -> Rows:
        make, readers = columns.make_row, columns.readers
        rows: list[Any] = []
        while True:
            packet = self._packet()
            if packet[0] == _EOF and len(packet) < _EOF_BYTES_MAX:
                return rows
            row: list[Any] = []
            place = 0
            for read in readers:
                size = packet[place]
                place += 1
                if size == _NULL:
                    row.append(None)
                    continue
                if size > _NULL:
                    size, place = _number(packet, place - 1)
                row.append(read(packet[place : place + size]))
                place += size
            rows.append(make(row))

    def _read_columns(
        self, known_as: Command | str | None, packets: Sequence[bytes], described: bytes
    ) -> _Columns:
        names, readers = [], []
        for packet in packets:
            place = 0
            for _ in range(4):  # catalog, database, table, and the table's own name
                size, place = _number(packet, place)
                place += size
            size, place = _number(packet, place)
            names.append(packet[place : place + size].decode(self._encoding))
            place += size
            size, place = _number(packet, place)
            charset, kind = struct.unpack_from("<HxxxxB", packet, place + size + 1)
            readers.append(self._reader(kind, charset))
        make_row = known_as.make_row(names)._make if isinstance(known_as, Command) else tuple
        return _Columns(make_row, tuple(readers), described)

    def _reader(self, kind: int, charset: int) -> Callable[[bytes], Any]:
        if kind in _NUMBERS:
            return _NUMBERS[kind]
        encoding = self._encoding
        if kind in _TEXTS:
            return bytes if charset == _BINARY else lambda value: value.decode(encoding)
        decode = self._connection.decoders.get(kind, str)
        return lambda value: decode(value.decode(encoding))

    def _packet(self) -> bytes:
        start, end = self._find_packet()
        packet = bytes(self._arrived[start:end])
        while end - start == _LONG_PACKET:
            start, end = self._find_packet()
            packet += self._arrived[start:end]
        if packet[0] == _ERROR:
            err.raise_mysql_exception(packet)
        return packet

    def _find_packet(self) -> tuple[int, int]:
        """Where the next packet begins and ends in what has arrived, which it waits for."""
        start = self._place + 4
        arrived = self._arrived
        if len(arrived) < start:
            self._await(start)
        end = start + (arrived[start - 4] | arrived[start - 3] << 8 | arrived[start - 2] << 16)
        if len(arrived) < end:
            self._await(end)
        self._place = end
        return start, end

    def _await(self, end: int) -> None:
        while (missing := end - len(self._arrived)) > 0:
            try:
                received = self._connection._sock.recv(max(missing, RECEIVED_BYTES))
            except OSError as error:
                raise self._lost(str(error)) from error
            if not received:
                raise self._lost("the server has ended it")
            self._arrived += received

    def _lost(self, reason: str) -> Exception:
        self._connection._force_close()
        error: Exception = err.OperationalError(CR.CR_SERVER_LOST, f"Lost connection ({reason})")
        return error


def _number(packet: bytes, place: int) -> tuple[int, int]:
    """A number of the length that its first byte says, and the place behind it."""
    first = packet[place]
    if first < _NULL:
        return first, place + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    end = place + 1 + size
    return int.from_bytes(packet[place + 1 : end], "little"), end
