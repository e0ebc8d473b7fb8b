"""Changes of many rows in one statement, as MariaDB does them with the least work.

Where rows are given as JSON the server makes a table of them first, which takes it longer than all
the rest if there are few. Few rows are written into the conditions instead: beyond some, to look
through all the conditions for each row takes longer.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from moorage.store.dialects.base import Command, RowsChange

FEW_ROWS_MAX: Final = 8
"""More rows than these are given as JSON. (12 cost the same either way, 48 twice as much.)"""

_NAME: Final = re.compile(r"\bd\.(\w+)|:(\w+)")
_to_json: Final = msgspec.json.Encoder().encode


class RowsCommand(Command):
    """A change of any number of rows, which are its parameter ``:rows``."""

    __slots__ = ("_few",)

    def __init__(self, change: RowsChange) -> None:
        super().__init__(_with_json(change))
        self._few = _Few(change)

    def word(self, parameters: Mapping[str, Any], literal: Callable[[Any], str]) -> str:
        """The text of the statement with its values.

        ``literal``: a value as it stands in a statement.
        """
        rows: Sequence[Sequence[float]] = parameters["rows"]
        if len(rows) <= FEW_ROWS_MAX:
            return self._few.word(rows, parameters, literal)
        values = {**parameters, "rows": _to_json(rows).decode()}
        return "".join(
            text + (literal(values[parameter]) if parameter else "")
            for text, parameter, _ in self.pieces
        )


def _with_json(change: RowsChange) -> str:
    fields = ", ".join(
        f"{column} {'DOUBLE' if column in change.real else 'BIGINT'} PATH '$[{place}]'"
        for place, column in enumerate(change.columns)
    )
    # In this order each row is found by its key; the other way round the whole table is
    # scanned and, row by row, locked.
    found = (
        f"JSON_TABLE(:rows, '$[*]' COLUMNS ({fields})) AS d"
        f" STRAIGHT_JOIN {change.table} AS t FORCE INDEX ({change.index}) ON {change.match}"
    )
    if not change.assign:
        return f"DELETE t FROM {found}"
    sets = ", ".join(f"t.{column} = {value}" for column, value in change.assign.items())
    return f"UPDATE {found} SET {sets}"


class _Few:
    """The statement for few rows; its parts are templates for ``str.format``."""

    def __init__(self, change: RowsChange) -> None:
        table = f"{change.table} AS t FORCE INDEX ({change.index})"
        self._begin = f"UPDATE {table} SET " if change.assign else f"DELETE t FROM {table}"
        self._match = _template(change.match, change.columns)
        self._key = _template(change.match_of_key, change.columns)
        self._assign = [
            (f"t.{column} = ", _template(value, change.columns), "d." in value)
            for column, value in change.assign.items()
        ]
        self._parameters = {
            name for value in change.assign.values() for _, name in _NAME.findall(value) if name
        }

    def word(
        self,
        rows: Sequence[Sequence[float]],
        parameters: Mapping[str, Any],
        literal: Callable[[Any], str],
    ) -> str:
        values = {name: literal(parameters[name]) for name in self._parameters}
        sets = ", ".join(
            [
                begin + self._value(value, rows, values, differs=differs)
                for begin, value, differs in self._assign
            ]
        )
        match = " OR ".join([self._match.format(*row) for row in rows])
        return f"{self._begin}{sets} WHERE {match}"

    def _value(
        self,
        value: str,
        rows: Sequence[Sequence[float]],
        values: Mapping[str, str],
        *,
        differs: bool,
    ) -> str:
        if len(rows) == 1 or not differs:
            return value.format(*rows[0], **values)
        # Told apart by their keys, which nothing is assigned to: an assignment sees those before.
        cases = [
            f"WHEN {self._key.format(*row)} THEN {value.format(*row, **values)}" for row in rows
        ]
        return f"CASE {' '.join(cases)} END"


def _template(text: str, columns: Collection[str]) -> str:
    places = {column: place for place, column in enumerate(columns)}
    return _NAME.sub(
        lambda found: f"{{{places[found[1]]}!r}}" if found[1] else f"{{{found[2]}}}", text
    )
