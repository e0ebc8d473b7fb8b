"""The face that every database shows to the store."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError


class Trouble(Enum):
    """What an error of the database means for the transaction that met it."""

    CONFLICT = "another transaction won; the same work may succeed if it starts anew"
    LOST = "the connection is gone, or the server refuses work for now"
    FULL = "the server cannot store more"
    FAULT = "an error of ours"


class Dialect(Protocol):
    """One kind of database."""

    name: str
    lock_rows: str
    """Clause that keeps found rows from all other writers; empty where writers come one by one."""
    keep_rows: str
    """Clause that keeps found rows from being changed or deleted; others may keep them too."""

    begin_picture: tuple[str, ...]
    """Statements that open a reading transaction in which every SELECT sees the same moment."""

    def writer_options(self) -> Mapping[str, Any]:
        """Arguments of ``create_engine`` for connections that write."""

    def reader_options(self) -> Mapping[str, Any]:
        """Arguments of ``create_engine`` for connections that run one SELECT at a time."""

    def prepare(self, engine: Engine, *, writes: bool) -> None:
        """Register what each new connection of the engine must be told."""

    def turn(self, connection: Connection) -> AbstractContextManager[None]:
        """Wait until no other process migrates, and keep others waiting meanwhile."""

    def index_hint(self, index: str) -> str:
        """What follows a table's name to have its rows found by this index, where that matters."""

    def rowset(self, columns: Sequence[str]) -> str:
        """A derived table of whole numbers named ``d``, read from the parameter ``:rows``.

        The statement's text does not depend on how many rows there are.
        """

    def rows_parameter(self, columns: Sequence[str], rows: Sequence[Sequence[int]]) -> Any:
        """The value of ``:rows`` for these rows."""

    def update_from(
        self, *, table: str, columns: Sequence[str], assign: Mapping[str, str], match: str
    ) -> str:
        """``UPDATE table`` (alias ``t``) from the rowset ``d``: one statement for all rows."""

    def joined_ids(self, column: str) -> str:
        """An aggregate: the row ids of a group as text, with commas between them."""

    def trouble(self, error: DBAPIError) -> Trouble:
        """What an error means."""
