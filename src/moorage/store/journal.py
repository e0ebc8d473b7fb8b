"""The journal: one row for each change, written in the change's own transaction."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, DateTime
from sqlalchemy.sql.expression import TextualSelect

from moorage.domain.ids import MoveUuid, ProviderId
from moorage.domain.origin import Origin
from moorage.store.sql import Insert, query
from moorage.store.store import Store
from moorage.store.tables import moorage_journal
from moorage.store.transaction import Transaction

CREDIT_KIND: Final = "allocation.credit"
"""What is taken off the sum of what some owner's consumers hold has changed."""

MOVE_KIND_PREFIX: Final = "move."
MOVE_BEGIN_KIND: Final = "move.begin"
MOVE_END_KINDS: Final = ("move.confirm", "move.revert", "move.fail", "move.abandon")

RECOUNT_KIND: Final = "usages.recount"
"""All running totals may have changed: no list of providers says which."""

GAP_AGE_S_MAX: Final = 120.0
"""A missing row number this old belongs to a transaction that was rolled back."""

_INSERT = Insert(
    moorage_journal,
    (
        "at",
        "kind",
        "subject",
        "providers",
        "before",
        "after",
        "request_id",
        "global_request_id",
        "project_id",
        "user_id",
        "move",
    ),
)
NEWS_BESIDE_MAX: Final = 200
"""Rows of news that come beside totals."""

NEWS_MAX: Final = 20_000
"""Rows of news that one look takes; who finds so many reads all providers anew."""

LATEST_AT_ONCE: Final = 50_000
"""Rows that a new reader takes together while it looks for numbers that are not there yet."""

NUMBERS_MAX: Final = 1_000
"""Row numbers that one statement names; drivers have limits."""

# As one column: some drivers take longer over a column's description than over its values.
_COLUMNS: Final = ("j.id", "j.kind", "j.request_id", "j.providers")
_PAST_MARK: Final = (
    "SELECT {columns} FROM moorage_journal j WHERE j.id > {mark} ORDER BY j.id LIMIT {limit}"
)
# Asked for in one condition, both would be looked for in the whole journal: a database goes by an
# index for a range, or for a list, but not for a range or a list.
_PAST_MARK_OR_LATE: Final = (
    f"SELECT * FROM ({_PAST_MARK}) n"
    " UNION ALL SELECT {columns} FROM moorage_journal j WHERE {late}"
)


def select_new_rows(columns: str) -> TextualSelect:
    """For use in a picture: ``:most`` rows past ``:mark``, and those in ``:gaps``, in no order."""
    given = {"columns": columns, "mark": ":mark", "limit": ":most", "late": "j.id IN :gaps"}
    return query(_PAST_MARK_OR_LATE.format(**given), many=("gaps",))


_NEWS = select_new_rows("j.id, j.kind, j.request_id, j.providers")
_MOVE_NEWS = query(
    """SELECT j.kind, j.move, j.global_request_id FROM moorage_journal j
       WHERE j.id IN :numbers AND j.move IS NOT NULL ORDER BY j.id""",
    many=("numbers",),
)
_LATEST = query(
    """SELECT j.id, j.at FROM moorage_journal j
       WHERE j.id < :above ORDER BY j.id DESC LIMIT :count""",
    at=DateTime,
)
_OLDEST: Final = "SELECT MIN(j.id) FROM moorage_journal j"
_decode_ids = msgspec.json.Decoder(tuple[int, ...]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: what kind, of what, on which providers, from what to what.

    ``before`` and ``after`` are values that JSON can hold, None where there was or is nothing;
    ``move`` is the move that it belongs to.
    """

    kind: str
    subject: str
    providers: tuple[ProviderId, ...]
    before: Any = None
    after: Any = None
    move: MoveUuid | None = None


def write_journal(tx: Transaction, entries: Iterable[Entry], origin: Origin) -> None:
    """Record changes that one request makes, in their order."""
    tx.insert(_INSERT, [_row(entry, origin) for entry in entries])


def write_journals(tx: Transaction, entries: Iterable[tuple[Entry, Origin]]) -> None:
    """Record changes of several requests that share the transaction."""
    tx.insert(_INSERT, [_row(entry, origin) for entry, origin in entries])


def _row(entry: Entry, origin: Origin) -> dict[str, Any]:
    return {
        "at": origin.at,
        "kind": entry.kind,
        "subject": entry.subject,
        "providers": _encode(entry.providers).decode(),
        "before": None if entry.before is None else _encode(entry.before).decode(),
        "after": None if entry.after is None else _encode(entry.after).decode(),
        "request_id": origin.request_id,
        "global_request_id": origin.global_request_id,
        "project_id": origin.project_id,
        "user_id": origin.user_id,
        "move": entry.move,
    }


@dataclass(frozen=True, slots=True)
class News:
    """A journal row as far as the pictures of the providers care."""

    id: int
    kind: str
    request_id: str
    providers: tuple[int, ...]


class NewRows(NamedTuple):
    """A SELECT of the journal's rows past a mark, and of some lower ones, in no order.

    ``parameters`` are those of ``sql`` that follow the mark; ``is_frequent``: the same text is
    used all the time.
    """

    sql: str
    parameters: tuple[str, ...]
    is_frequent: bool


def new_rows(store: Store, columns: str, *, gaps: Collection[int], limit: int) -> NewRows:
    """At most ``limit`` rows past the mark, the first parameter, and those in the gaps."""
    if not gaps:
        return NewRows(_new_rows(columns, "", limit), (), is_frequent=True)
    late, parameters = store.dialect.one_of("j.id", gaps)
    if parameters:
        return NewRows(_new_rows(columns, late, limit), parameters, is_frequent=True)
    return NewRows(_written(columns, late, limit), (), is_frequent=False)


def read_new_rows(
    store: Store, columns: str, *, mark: int, gaps: Collection[int], most: int
) -> Sequence[Sequence[Any]]:
    """At most ``most`` rows past a mark, and those in the gaps, by the shortest way."""
    asked = new_rows(store, columns, gaps=gaps, limit=most)
    return store.read_lean(asked.sql, (mark, *asked.parameters), is_frequent=asked.is_frequent)


def news_columns(store: Store) -> str:
    """The columns of ``new_rows`` that ``news_in`` reads."""
    return _news_columns(store.dialect.in_one)


@lru_cache(maxsize=8)
def _news_columns(in_one: Callable[[Sequence[str]], str]) -> str:
    return f"{in_one(_COLUMNS)} AS news"


def read_news(store: Store, *, mark: int, gaps: Collection[int]) -> list[News]:
    """The rows past a mark, and those with the given lower numbers that have come late.

    At most ``NEWS_MAX`` past the mark. Every read of the service begins with this, mostly to learn
    that there is nothing new: it goes to the driver by the shortest way.
    """
    found = read_new_rows(store, news_columns(store), mark=mark, gaps=gaps, most=NEWS_MAX)
    return [news_in(row[0]) for row in found]


def _written(columns: str, late: str, limit: int) -> str:
    text = _PAST_MARK_OR_LATE if late else _PAST_MARK
    return text.format(columns=columns, mark="?", late=late, limit=limit)


_new_rows = lru_cache(maxsize=32)(_written)


def news_in(row: str) -> News:
    """What a row says that comes as one text."""
    number, kind, request_id, providers = row.split(" ")
    return News(int(number), kind, request_id, _decode_ids(providers))


class MoveNews(NamedTuple):
    """A journal row about a move, as far as it tells when the move begins and ends."""

    kind: str
    move: MoveUuid
    global_request_id: str | None


def read_move_news(store: Store, numbers: Collection[int]) -> list[MoveNews]:
    """The rows about moves with these numbers, in the order of their numbers."""
    found: list[MoveNews] = []
    ordered = sorted(numbers)
    for first in range(0, len(ordered), NUMBERS_MAX):
        some = {"numbers": ordered[first : first + NUMBERS_MAX]}
        rows = store.read(_MOVE_NEWS, some)
        found.extend(MoveNews(row.kind, row.move, row.global_request_id) for row in rows)
    return found


def load_news(connection: Connection, *, mark: int, gaps: Collection[int]) -> list[News]:
    """The same within an open picture."""
    rows = connection.execute(_NEWS, {"mark": mark, "gaps": list(gaps), "most": NEWS_MAX})
    return [News(row.id, row.kind, row.request_id, _decode_ids(row.providers)) for row in rows]


def load_oldest(connection: Connection) -> int:
    """The lowest row number that there still is; 0 for none."""
    return connection.exec_driver_sql(_OLDEST).scalar_one() or 0


def read_oldest(store: Store) -> int:
    """The same by the shortest way."""
    return store.read_lean(_OLDEST, (), is_frequent=True)[0][0] or 0


def load_mark(connection: Connection) -> tuple[int, set[int]]:
    """The highest row number of a picture, and the numbers below it that are not there yet.

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
    if not seen:
        return 0, set()
    return max(seen), set(range(min(recent), max(seen))) - seen
