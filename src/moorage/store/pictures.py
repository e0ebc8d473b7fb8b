"""The rows that pictures of the providers are made of."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Connection, DateTime, TextualSelect

from moorage.domain.ids import MoveUuid
from moorage.store.dialects import Dialect
from moorage.store.following import (
    Answer,
    Found,
    Since,
    answer_in,
    find_new,
    load_oldest,
    load_since,
    new_rows,
)
from moorage.store.journal import NEWS_BESIDE_MAX, News, load_news, news_columns, news_in
from moorage.store.sql import moment, query
from moorage.store.store import Store

T = TypeVar("T")

IDS_IN_STATEMENT_MAX: Final = 1_000
"""Row ids that one statement names; drivers have limits."""


FREQUENT_MAX: Final = 4
"""Providers of a claim, or of a few: statements about so many are worth preparing."""

NOBODY: Final = 0
"""The row id of no provider: lists in SQL cannot be empty."""

ROWS_AT_ONCE: Final = 10_000
"""Rows that are taken from a cursor together."""


@dataclass(frozen=True, slots=True)
class Part:
    """A SELECT of all rows of one kind, and the same of some providers."""

    everyone: TextualSelect
    some: TextualSelect

    @classmethod
    def of(cls, sql: str, provider: str, *, end: str = "", **types: Any) -> "Part":
        """``provider`` is the column with the provider's row id."""
        return cls(
            query(f"{sql} {end}", **types),
            query(f"{sql} WHERE {provider} IN :ids {end}", many=("ids",), **types),
        )


_PROVIDERS = Part.of(
    """SELECT p.id, p.uuid, p.name, COALESCE(p.generation, 0) AS generation,
              p.parent_provider_id, COALESCE(p.updated_at, p.created_at) AS modified_at
       FROM resource_providers p""",
    "p.id",
    modified_at=DateTime,
)
_GENERATIONS = query(
    """SELECT p.id, COALESCE(p.generation, 0) AS generation,
              COALESCE(p.updated_at, p.created_at) AS modified_at
       FROM resource_providers p WHERE p.id IN :ids""",
    many=("ids",),
    modified_at=DateTime,
)
_INVENTORIES: Final = """
    SELECT i.resource_provider_id, i.resource_class_id, i.total, i.reserved, i.min_unit,
           i.max_unit, i.step_size, i.allocation_ratio, COALESCE({modified_s}, 0)
    FROM inventories i"""
_USAGES = Part.of(
    "SELECT u.resource_provider_id, u.resource_class_id, u.used FROM moorage_usages u",
    "u.resource_provider_id",
)
_AGGREGATES = Part.of(
    """SELECT l.resource_provider_id, n.uuid FROM resource_provider_aggregates l
       JOIN placement_aggregates n ON n.id = l.aggregate_id""",
    "l.resource_provider_id",
)
_LEAN_USAGES: Final = """SELECT p.id, COALESCE(p.generation, 0),
       COALESCE(p.updated_at, p.created_at), u.resource_class_id, u.used, NULL
  FROM resource_providers p LEFT JOIN moorage_usages u ON u.resource_provider_id = p.id
 WHERE p.id IN ({marks})
UNION ALL {news}"""
_BEFORE_NEWS: Final = "NULL, NULL, NULL, NULL, NULL, "
_OPEN_MOVES = query(
    """SELECT m.uuid, m.global_request_id FROM moorage_moves m
       WHERE m.open_hold IS NOT NULL AND m.global_request_id IS NOT NULL ORDER BY m.id"""
)
_CLASSES = query(
    "SELECT n.id, n.name, COALESCE(n.updated_at, n.created_at) AS modified_at"
    " FROM resource_classes n",
    modified_at=DateTime,
)
_TRAITS = query(
    "SELECT n.id, n.name, COALESCE(n.updated_at, n.created_at) AS modified_at FROM traits n",
    modified_at=DateTime,
)


Rows: TypeAlias = Iterable[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Names:
    """Everything of one kind by its row id: the names, and when each last changed (naive UTC).

    ``ages`` lacks those of which that is not known.
    """

    names: Mapping[int, str]
    ages: Mapping[int, datetime]


@lru_cache(maxsize=8)
def inventories_part(modified_s: str) -> Part:
    """The inventories; when each last changed is a number, as drivers are slow with moments."""
    return Part.of(_INVENTORIES.format(modified_s=modified_s), "i.resource_provider_id")


@lru_cache(maxsize=8)
def traits_part(joined_ids: str) -> Part:
    """The traits of each provider that has some, as one row: there are many for each."""
    return Part.of(
        f"""SELECT l.resource_provider_id, {joined_ids} AS trait_ids
            FROM resource_provider_traits l""",
        "l.resource_provider_id",
        end="GROUP BY l.resource_provider_id",
    )


@dataclass(frozen=True, slots=True)
class ProviderRows:
    """All rows of some providers, or of all, in the column order of the statements above.

    They come from cursors: each kind is read once, while the picture is open. Traits are a row
    for each provider, with their ids as text.
    """

    providers: Rows
    inventories: Rows
    usages: Rows
    traits: Rows
    aggregates: Rows


class Picture:
    """An open picture: whatever is loaded from it is of one moment."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def since(self) -> Since:
        """How far whoever reads all of this picture has followed the journal."""
        return load_since(self._connection, self._dialect)

    def oldest(self) -> int:
        """The number of the first row that the journal still has, 0 for none."""
        return load_oldest(self._connection)

    def news(self, since: Since) -> Found[News]:
        """What is new in the journal."""
        return load_news(self._connection, self._dialect, since)

    def everyone(self) -> ProviderRows:
        """The rows of all providers."""
        return self._rows(lambda part: self._all(part.everyone))

    def some(self, providers: Collection[int]) -> ProviderRows:
        """The rows of some providers, by their row ids."""
        return self._rows(lambda part: self._of(part.some, providers))

    def usages_of(self, providers: Collection[int]) -> tuple[Rows, Rows]:
        """What claims change: the running totals of some providers, and their generations."""
        return self._of(_USAGES.some, providers), self._of(_GENERATIONS, providers)

    def open_moves(self) -> Iterator[tuple[MoveUuid, str]]:
        """The open moves that were begun with a global request id, and that id; oldest first."""
        return ((row[0], row[1]) for row in self._all(_OPEN_MOVES))

    def classes(self) -> Names:
        """Every resource class."""
        return self._names(_CLASSES)

    def traits(self) -> Names:
        """Every trait."""
        return self._names(_TRAITS)

    def _names(self, what: TextualSelect) -> Names:
        rows = list(self._all(what))
        return Names(
            {row[0]: row[1] for row in rows},
            {row[0]: row[2] for row in rows if row[2] is not None},
        )

    def _rows(self, load: Callable[[Part], Rows]) -> ProviderRows:
        modified_s = self._dialect.seconds("COALESCE(i.updated_at, i.created_at)")
        return ProviderRows(
            providers=load(_PROVIDERS),
            inventories=load(inventories_part(modified_s)),
            usages=load(_USAGES),
            traits=load(traits_part(self._dialect.joined_ids("l.trait_id"))),
            aggregates=load(_AGGREGATES),
        )

    def _all(self, what: TextualSelect) -> Iterator[Sequence[Any]]:
        # Streamed: drivers of servers would hold the whole table in memory otherwise.
        result = self._connection.execute(
            what, execution_options={"stream_results": True, "max_row_buffer": ROWS_AT_ONCE}
        )
        while rows := result.fetchmany(ROWS_AT_ONCE):
            yield from rows

    def _of(self, what: TextualSelect, providers: Collection[int]) -> Iterator[Sequence[Any]]:
        ids = sorted(providers)
        for first in range(0, len(ids), IDS_IN_STATEMENT_MAX):
            some = {"ids": ids[first : first + IDS_IN_STATEMENT_MAX]}
            yield from self._connection.execute(what, some)


def read_picture(store: Store, read: Callable[[Picture], T]) -> T:
    """Read from a picture: all that is loaded is of one moment."""
    return store.read_picture(lambda connection: read(Picture(connection, store.dialect)))


@dataclass(frozen=True, slots=True)
class Usages:
    """What claims change of some providers, and what the journal had to say at that moment.

    ``totals``: provider id, class id, used; ``generations``: provider id, generation, age.
    """

    totals: Sequence[Sequence[Any]]
    generations: Sequence[Sequence[Any]]
    news: Found[News]


def read_usages(store: Store, providers: Collection[int], since: Since) -> Usages:
    """Running totals and generations of some providers, and the news.

    Of the rows past the mark there are at most ``NEWS_BESIDE_MAX``. All is of one moment, as it is
    one statement. Every claim makes every process read this: it goes to the driver by the shortest
    way.
    """
    wanted = tuple(providers) or (NOBODY,)
    totals: list[Sequence[Any]] = []
    generations: dict[int, Sequence[Any]] = {}

    def ask(gaps: Collection[int], *, counted: bool) -> Answer[News]:
        asked = new_rows(
            store,
            news_columns(store.dialect, _BEFORE_NEWS),
            gaps,
            limit=NEWS_BESIDE_MAX,
            counted=counted,
        )
        rows = store.read_lean(
            _LEAN_USAGES.format(marks=",".join("?" * len(wanted)), news=asked.sql),
            (*wanted, since.mark, *asked.parameters),
            is_frequent=asked.is_frequent and len(wanted) <= FREQUENT_MAX,
        )
        told = [row for row in rows if row[5] is None]
        totals[:] = [(row[0], row[3], row[4]) for row in told if row[3] is not None]
        generations.clear()
        generations.update((row[0], (row[0], row[1], moment(row[2]))) for row in told)
        return answer_in([row[5:] for row in rows if row[5] is not None], news_in)

    counts = store.dialect.count_journal is not None
    news = find_new(ask, since, counts=counts, most=NEWS_BESIDE_MAX)
    return Usages(totals, list(generations.values()), news)
