"""Transactions on libpq itself, through psycopg's wrapper of it.

psycopg's cursors take more time for a short statement than the server does. What a transaction
sends is known beforehand, text and types, so it needs none of what a cursor does: each statement
is prepared once on a connection and then executed by its name, and statements that wait for no
decision go out together (libpq's pipeline mode).
"""

import select
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from psycopg import pq
from psycopg.errors import lookup

from moorage.store.dialects.base import Command, Order, Rows, StaleView

_BEGIN: Final = Command("BEGIN ISOLATION LEVEL READ COMMITTED")
_COMMIT: Final = Command("COMMIT")
_to_json: Final = msgspec.json.Encoder().encode
_DONE: Final = frozenset((pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK))
_GUARD: Final = (
    "WITH touched AS ({sql} RETURNING 1)"
    " SELECT 1 / CAST(COUNT(*) = ${due} AS integer) AS kept FROM touched"
)
_GUARD_FAILED: Final = "22012"
"""A guarded statement that did not touch as many rows as were due has divided by zero."""

UNPREPARED: Final = "26000"
"""There is no such prepared statement: psycopg itself, or a pooler, had the server forget all."""


class _Worded(NamedTuple):
    """A command's text with numbers for its parameters, and the names these stand for."""

    text: bytes
    names: tuple[str, ...]


class _Shape(NamedTuple):
    """How rows of a command are made: each column's place, and what reads it."""

    make_row: Callable[[list[Any]], Any]
    readers: Sequence[tuple[int, Callable[[bytes], Any]]]


class PostgreSQLSession:
    """One connection of PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self._libpq = connection.pgconn
        self._encoding: str = connection.info.encoding
        self._names: dict[bytes, bytes] = {}
        self._named = 0
        self._shapes: dict[Command, _Shape] = {}
        self._answers = select.poll()
        self._answers.register(self._libpq.socket, select.POLLIN)

    def run(
        self, orders: Sequence[Order], *, begin: bool = False, commit: bool = False
    ) -> list[Rows]:
        work = [Order(_BEGIN), *orders] if begin else list(orders)
        if commit:
            work.append(Order(_COMMIT))
        # Before anything is sent: a value that cannot be sent leaves nothing half done.
        worded = [(_word(order), self._values(order)) for order in work]
        found = [
            self._rows(order.command, result)
            for order, result in zip(work, self._exchange(worded), strict=True)
        ]
        first = int(begin)
        return found[first : first + len(orders)]

    def rollback(self) -> None:
        result = self._libpq.exec_(b"ROLLBACK")
        if result.status not in _DONE:
            raise self._error(result)

    def is_open(self) -> bool:
        # Between transactions a server hardly says anything but that it ends the connection.
        # Whatever it is, what is sent next finds out.
        return not self._answers.poll(0)

    def _values(self, order: Order) -> list[bytes | None]:
        names = _word(order).names
        if order.command.rows:
            return [_to_json(order.parameters)]
        values = [self._encode(order.parameters[name]) for name in names]
        if order.due is not None:
            values.append(b"%d" % order.due)
        return values

    def _exchange(self, work: Sequence[tuple[_Worded, list[bytes | None]]]) -> list[Any]:
        """The results of statements that are sent one behind the other."""
        self._libpq.enter_pipeline_mode()
        # None stands for the result of preparing something.
        expected: list[bytes | None] = []
        prepared: list[bytes] = []
        for (text, _), values in work:
            if text not in self._names:
                self._names[text] = b"moorage_%d" % self._named
                self._named += 1
                prepared.append(text)
                self._libpq.send_prepare(self._names[text], text)
                expected.append(None)
            self._libpq.send_query_prepared(self._names[text], values)
            expected.append(text)
        self._libpq.pipeline_sync()
        self._flush()
        results = []
        failure = None
        for awaited in expected:
            result = self._receive()
            if result is None:
                raise psycopg.OperationalError("the connection was lost")
            self._receive()  # None: this statement has no more
            if result.status not in _DONE:
                # What follows the first that fails is not run.
                failure = failure or result
            elif awaited is not None:
                results.append(result)
        self._receive()  # the answer to the sync
        self._libpq.exit_pipeline_mode()
        if failure is not None:
            # Which of them the server has prepared is not worth finding out.
            for sent in prepared:
                del self._names[sent]
            raise self._error(failure)
        return results

    def _flush(self) -> None:
        while self._libpq.flush():
            either = select.poll()
            either.register(self._libpq.socket, select.POLLIN | select.POLLOUT)
            either.poll()
            # The server reads no more while nobody takes its answers.
            self._libpq.consume_input()

    def _receive(self) -> Any:
        libpq = self._libpq
        while libpq.is_busy():
            self._answers.poll()
            libpq.consume_input()
        return libpq.get_result()

    def _rows(self, command: Command, result: Any) -> Rows:
        if not result.ntuples:
            return ()
        shape = self._shapes.get(command)
        if shape is None:
            shape = self._shapes[command] = self._shape(command, result)
        value_at = result.get_value
        rows = []
        for number in range(result.ntuples):
            row = []
            for place, read in shape.readers:
                value = value_at(number, place)
                row.append(None if value is None else read(value))
            rows.append(shape.make_row(row))
        return rows

    def _shape(self, command: Command, result: Any) -> "_Shape":
        columns = range(result.nfields)
        row_type = command.row or command.make_row(
            [result.fname(place).decode() for place in columns]
        )
        readers = [(place, _READERS.get(result.ftype(place), self._read_text)) for place in columns]
        return _Shape(row_type._make, readers)

    def _read_text(self, value: bytes) -> str:
        return value.decode(self._encoding)

    def _encode(self, value: Any) -> bytes | None:
        if type(value) is str:
            encoded = value.encode(self._encoding)
            if b"\0" in encoded:
                # libpq would take the text as ended there.
                raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
            return encoded
        if type(value) is int:
            return b"%d" % value
        if value is None:
            return None
        if type(value) is list:
            return self._encode(_to_list(value))
        return str(value).encode()

    def _error(self, result: Any) -> Exception:
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        told = result.error_message.decode(self._encoding, "replace")
        if state is None:
            return psycopg.OperationalError(told)
        if state.decode() == _GUARD_FAILED:
            return StaleView()
        if state.decode() == UNPREPARED:
            self._names.clear()
        return _error_class(state.decode())(told)


def _error_class(state: str) -> type[psycopg.Error]:
    try:
        return lookup(state)
    except KeyError:
        return type("UnknownState", (psycopg.DatabaseError,), {"sqlstate": state})


def _to_list(members: list[Any]) -> str:
    """An array as PostgreSQL reads it, of whole numbers or of texts."""
    if members and type(members[0]) is str:
        escaped = [member.replace("\\", "\\\\").replace('"', '\\"') for member in members]
        return '{"' + '","'.join(escaped) + '"}'
    return "{" + ",".join(map(str, members)) + "}"


_READERS: Final[Mapping[int, Callable[[bytes], Any]]] = {
    **dict.fromkeys((20, 21, 23), int),
    **dict.fromkeys((700, 701), float),
    1114: lambda value: datetime.fromisoformat(value.decode()),
}
"""How a value is read, by the number of its type; other types are text."""

_WORDED: Final[dict[tuple[Command, bool], _Worded]] = {}


def _word(order: Order) -> _Worded:
    guarded = order.due is not None
    key = (order.command, guarded)
    found = _WORDED.get(key)
    if found is None:
        numbers: dict[str, int] = {}
        words = []
        for part, parameter, listed in order.command.pieces:
            words.append(part)
            if parameter:
                number = numbers.setdefault(parameter, len(numbers) + 1)
                words.append(f"= ANY (${number})" if listed else f"${number}")
        sql = "".join(words)
        if guarded:
            sql = _GUARD.format(sql=sql, due=len(numbers) + 1)
        found = _WORDED[key] = _Worded(sql.encode(), tuple(numbers))
    return found
