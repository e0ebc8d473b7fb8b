"""Following the journal: what is new in it, rows with late numbers among that."""

from collections.abc import Callable, Collection, Iterable, Reversible, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, DateTime
from sqlalchemy.sql.expression import TextualSelect

from moorage.store.dialects import Dialect
from moorage.store.sql import query
from moorage.store.store import Store

T = TypeVar("T", bound="Numbered")

GAP_AGE_S_MAX: Final = 120.0
"""A missing row number this old belongs to a transaction that was rolled back."""

LATEST_AT_ONCE: Final = 50_000
"""Rows that a new reader takes together while it looks for numbers that are not there yet."""

NEWEST_GAPS_ASKED: Final = (0, 100, 2_000)
"""How many of the newest gaps are asked for, one after the other, until the count is right."""

_PAST_MARK: Final = (
    "SELECT {columns} FROM moorage_journal j WHERE j.id > {mark} ORDER BY j.id LIMIT {limit}"
)
# Asked for in one condition, both would be looked for in the whole journal: a database goes by an
# index for a range, or for a list, but not for a range or a list.
_AND_LATE: Final = " UNION ALL SELECT {columns} FROM moorage_journal j WHERE {late}"
_AND_COUNT: Final = " UNION ALL SELECT {counted} FROM moorage_journal_counts c"
COUNT_AS_ID: Final = "-1 - COALESCE(SUM(c.written), 0)"
"""In the place of a row's number: below zero, as that never is."""

_COUNT: Final = "SELECT COALESCE(SUM(c.written), 0) FROM moorage_journal_counts c"
_LATEST = query(
    """SELECT j.id, j.at FROM moorage_journal j
       WHERE j.id < :above ORDER BY j.id DESC LIMIT :count""",
    at=DateTime,
)
_OLDEST: Final = "SELECT MIN(j.id) FROM moorage_journal j"


class Numbered(Protocol):
    """What was made of a row of the journal, with the row's number."""

    @property
    def id(self) -> int: ...


class Gaps(Collection[int], Reversible[int], Protocol):
    """Row numbers that may still come, the newest last."""


class Since(NamedTuple):
    """How far a reader has followed the journal.

    ``mark``: the highest number that it knows; ``gaps``: the lower ones that it has not seen.
    ``written``: how many rows had been written, by the database's own count, when it knew all of
    them; None: nobody has asked yet, or it does not count.
    """

    mark: int
    gaps: Gaps
    written: int | None = None


class Found(NamedTuple, Generic[T]):
    """What is new in the journal, in no order.

    ``written``: that of ``Since`` for who knows these rows too, None where it was not asked for.
    ``is_whole``: by the count no row is missing, whether late or trimmed before it was seen.
    """

    rows: Sequence[T]
    written: int | None = None
    is_whole: bool = False


class Answer(NamedTuple, Generic[T]):
    """What one statement found, and the count, as of the same moment, if it was asked for."""

    rows: Sequence[T]
    written: int | None


class Ask(Protocol[T]):
    """Runs one statement: the rows past the mark, those in some gaps, and the count if wanted."""

    def __call__(self, gaps: Collection[int], *, counted: bool) -> Answer[T]: ...


class Columns(NamedTuple):
    """What is read of each row (alias ``j``), and what of all counts (``c``) in the same places."""

    read: str
    counted: str


class NewRows(NamedTuple):
    """A SELECT of the journal's rows past a mark, and of some lower ones, in no order.

    ``parameters`` are those of ``sql`` that follow the mark; ``is_frequent``: the same text is
    used all the time.
    """

    sql: str
    parameters: tuple[str, ...]
    is_frequent: bool


def find_new(ask: Ask[T], since: Since, *, counts: bool, most: int) -> Found[T]:
    """The rows past the mark and those in the gaps; all is as of the last statement asked.

    Most gaps are numbers of transactions that were rolled back, and few. But the nodes of a Galera
    cluster leave each other's numbers out, and so there are hundreds of thousands. Mostly nothing
    comes late, and what does has a high number: where the database counts what is written, gaps
    are asked for only if the count says that a row is missing, and the newest first.

    Args:
        counts: whether the database counts.
        most: more rows past the mark are not wanted; who gets so many has not got all.
    """
    mark, gaps, known = since
    if not counts or not gaps:
        return Found(ask(gaps, counted=False).rows)
    portions = () if known is None else NEWEST_GAPS_ASKED
    found: dict[int, T] = {}
    for asked in (*(some for some in portions if some < len(gaps)), len(gaps)):
        rows, written = ask(tuple(islice(reversed(gaps), asked)), counted=True)
        found.update((row.id, row) for row in rows)
        if known is not None and written == known + len(found):
            return Found(list(found.values()), written, is_whole=True)
        if sum(number > mark for number in found) >= most:
            return Found(list(found.values()))
    return Found(list(found.values()), written)


def new_rows(
    store: Store, columns: Columns, gaps: Collection[int], *, limit: int, counted: bool
) -> NewRows:
    """At most ``limit`` rows past the mark, the first parameter, and those in the gaps.

    ``counted``: and one with the count.
    """
    dialect = store.dialect
    past_mark = dialect.part_of_union(_PAST_MARK)
    late, parameters = dialect.one_of("j.id", gaps) if gaps else ("", ())
    if late and not parameters:
        sql = _written(past_mark, columns, late, limit, counted=counted)
        return NewRows(sql, (), is_frequent=False)
    sql = _new_rows(past_mark, columns, late, limit, counted=counted)
    return NewRows(sql, parameters, is_frequent=True)


def read_new_rows(
    store: Store,
    columns: Columns,
    read: Callable[[Sequence[Any]], T],
    *,
    since: Since,
    most: int,
) -> Found[T]:
    """What is new, by the shortest way; ``read`` makes of a row what is wanted of it."""

    def ask(gaps: Collection[int], *, counted: bool) -> Answer[T]:
        asked = new_rows(store, columns, gaps, limit=most, counted=counted)
        parameters: tuple[int | str, ...] = (since.mark, *asked.parameters)
        rows = store.read_lean(asked.sql, parameters, is_frequent=asked.is_frequent)
        return answer_in(rows, read)

    return find_new(ask, since, counts=store.dialect.count_journal is not None, most=most)


def answer_in(rows: Iterable[Sequence[Any]], read: Callable[[Sequence[Any]], T]) -> Answer[T]:
    """The rows of a statement of ``new_rows``, and the count where it was asked for."""
    found: list[T] = []
    written = None
    for row in rows:
        made = read(row)
        if made.id >= 0:
            found.append(made)
        else:
            written = -1 - made.id
    return Answer(found, written)


def select_new_rows(columns: str) -> TextualSelect:
    """For use in a picture: ``:most`` rows past ``:mark``, and those in ``:gaps``, in no order."""
    given = {"columns": columns, "mark": ":mark", "limit": ":most", "late": "j.id IN :gaps"}
    # As every database knows how to limit one part of a union.
    return query(f"SELECT * FROM ({_PAST_MARK}) n{_AND_LATE}".format(**given), many=("gaps",))


def load_new_rows(
    connection: Connection,
    dialect: Dialect,
    select: TextualSelect,
    read: Callable[[Sequence[Any]], T],
    *,
    since: Since,
    most: int,
) -> Found[T]:
    """What is new within an open picture, by a statement of ``select_new_rows``."""

    def ask(gaps: Collection[int], *, counted: bool) -> Answer[T]:
        asked = {"mark": since.mark, "gaps": list(gaps), "most": most}
        rows = [read(row) for row in connection.execute(select, asked)]
        return Answer(rows, _load_count(connection) if counted else None)

    return find_new(ask, since, counts=dialect.count_journal is not None, most=most)


def load_oldest(connection: Connection) -> int:
    """The lowest row number that there still is; 0 for none."""
    return connection.exec_driver_sql(_OLDEST).scalar_one() or 0


def read_oldest(store: Store) -> int:
    """The same by the shortest way."""
    return store.read_lean(_OLDEST, (), is_frequent=True)[0][0] or 0


def load_since(connection: Connection, dialect: Dialect) -> Since:
    """What whoever reads all that a picture has knows of the journal.

    Numbers are given out before transactions commit, so a lower one may appear later: one that is
    not further below than any row that was written within ``GAP_AGE_S_MAX`` of the newest.
    """
    seen: set[int] = set()
    recent: set[int] = set()
    above, since = 2**63 - 1, datetime.min  # noqa: DTZ901 - the store knows naive UTC only
    while rows := connection.execute(_LATEST, {"above": above, "count": LATEST_AT_ONCE}).all():
        above = rows[-1].id
        if not seen:
            since = rows[0].at - timedelta(seconds=GAP_AGE_S_MAX)
        seen.update(row.id for row in rows)
        recent.update(row.id for row in rows if row.at >= since)
        if rows[-1].at < since:
            break
    counts = dialect.count_journal is not None
    written = _load_count(connection) if counts else None
    if not seen:
        return Since(0, (), written)
    missing = set(range(min(recent), max(seen))) - seen
    return Since(max(seen), sorted(missing), written)


def _load_count(connection: Connection) -> int:
    return int(connection.exec_driver_sql(_COUNT).scalar_one())


def _written(past_mark: str, columns: Columns, late: str, limit: int, *, counted: bool) -> str:
    text = past_mark + (_AND_LATE if late else "") + (_AND_COUNT if counted else "")
    given = {"mark": "?", "limit": limit, "late": late, "counted": columns.counted}
    return text.format(columns=columns.read, **given)


_new_rows = lru_cache(maxsize=32)(_written)
