"""SELECTs on libpq itself, through psycopg's wrapper of it.

A cursor of psycopg takes several times as long for a short SELECT as the server and the network
do together. libpq prepares a statement once on a connection and then runs it by its name.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer


class PostgreSQLReader:
    """One connection of PostgreSQL."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._libpq = connection.pgconn
        self._encoding = connection.info.encoding
        self._transformer = Transformer(connection)
        # None is how a site says that a pooler between us and the server forgets statements.
        self._prepares = connection.prepare_threshold is not None
        self._names: dict[str, bytes] = {}

    def read(
        self, sql: str, parameters: Sequence[int | str], *, is_frequent: bool
    ) -> Sequence[tuple[Any, ...]]:
        values = [str(value).encode(self._encoding) for value in parameters]
        name = self._names.get(sql)
        if name is not None:
            result = self._libpq.exec_prepared(name, values)
        elif is_frequent and self._prepares:
            result = self._libpq.exec_prepared(self._prepare(sql), values)
        else:
            result = self._libpq.exec_params(_numbered(sql), values)
        self._check(result)
        if not result.ntuples:
            return ()
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _prepare(self, sql: str) -> bytes:
        name = b"moorage_read_%d" % len(self._names)
        self._check(self._libpq.prepare(name, _numbered(sql)))
        self._names[sql] = name
        return name

    def _check(self, result: pq.abc.PGresult) -> None:
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise psycopg.OperationalError(result.error_message.decode(self._encoding, "replace"))


def _numbered(sql: str) -> bytes:
    """The statement with ``$1``, ``$2`` and so on in the place of each ``?``."""
    numbers = count(1)
    first, *rest = sql.split("?")
    return (first + "".join(f"${next(numbers)}{part}" for part in rest)).encode()
