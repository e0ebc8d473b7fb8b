"""The journal: one row for each change, written in the change's own transaction."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from moorage.domain.ids import MoveUuid, ProviderId, ResourceClassId
from moorage.domain.origin import Origin
from moorage.store.dialects import Dialect
from moorage.store.following import (
    COUNT_AS_ID,
    Columns,
    Found,
    Since,
    load_new_rows,
    read_new_rows,
    select_new_rows,
)
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
        "totals",
    ),
)
NEWS_BESIDE_MAX: Final = 200
"""Rows of news that come beside totals."""

NEWS_MAX: Final = 20_000
"""Rows of news that one look takes; who finds so many reads all providers anew."""

NUMBERS_MAX: Final = 1_000
"""Row numbers that one statement names; drivers have limits."""

# As one column: some drivers take longer over a column's description than over its values.
_COLUMNS: Final = (
    "j.id",
    "j.kind",
    "j.request_id",
    "j.providers",
    "COALESCE(j.totals, '')",
)
_NEWS = select_new_rows(", ".join(_COLUMNS[:-1]))
_MOVE_NEWS = query(
    """SELECT j.kind, j.move, j.global_request_id FROM moorage_journal j
       WHERE j.id IN :numbers AND j.move IS NOT NULL ORDER BY j.id""",
    many=("numbers",),
)
_decode_ids = msgspec.json.Decoder(tuple[int, ...]).decode
_encode = msgspec.json.Encoder().encode


class Totals(NamedTuple):
    """All running totals of a provider as a transaction leaves them, with its new generation.

    ``at``: when that was (naive UTC); ``used``: pairs of class and amount.
    """

    provider: ProviderId
    generation: int
    at: datetime
    used: tuple[tuple[ResourceClassId, int], ...]


_decode_totals = msgspec.json.Decoder(tuple[Totals, ...]).decode


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
    write_journals(tx, [(entry, origin) for entry in entries])


def write_journals(
    tx: Transaction, entries: Iterable[tuple[Entry, Origin]], totals: Iterable[Totals] = ()
) -> None:
    """Record changes of several requests that share the transaction.

    ``totals``: those of the providers whose generations rise with it. Readers tell by these which
    of two totals is the later one, so that of the others nothing can be told.
    """
    kept = tx.dialect.as_kept
    told = {one.provider: _encode(one._replace(at=kept(one.at))).decode() for one in totals}
    rows = [_row(entry, origin, told) for entry, origin in entries]
    tx.insert(_INSERT, rows)
    tx.journaled += len(rows)


def _row(entry: Entry, origin: Origin, told: Mapping[ProviderId, str]) -> dict[str, Any]:
    totals = [told[one] for one in entry.providers if one in told]
    tells_all = bool(totals) and len(totals) == len(entry.providers)
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
        "totals": f"[{','.join(totals)}]" if tells_all else None,
    }


@dataclass(frozen=True, slots=True)
class News:
    """A journal row as far as the pictures of the providers care.

    ``totals``: those of all its providers. None where it does not tell them, or was read within a
    picture.
    """

    id: int
    kind: str
    request_id: str
    providers: tuple[int, ...]
    totals: tuple[Totals, ...] | None = None


def news_columns(dialect: Dialect, before: str = "") -> Columns:
    """What ``news_in`` reads; ``before``: columns before it, with a comma behind each."""
    return _news_columns(dialect.in_one, before)


@lru_cache(maxsize=8)
def _news_columns(in_one: Callable[[Sequence[str]], str], before: str) -> Columns:
    news = f"{before}{in_one(_COLUMNS)} AS news"
    return Columns(news, f"{before}CONCAT({COUNT_AS_ID}, ' - - [] ')")


def read_news(store: Store, since: Since) -> Found[News]:
    """What is new, at most ``NEWS_MAX`` rows of it past the mark.

    Every read of the service begins with this, mostly to learn that there is nothing new: it goes
    to the driver by the shortest way.
    """
    return read_new_rows(store, news_columns(store.dialect), news_in, since=since, most=NEWS_MAX)


def news_in(row: Sequence[Any]) -> News:
    """What a row says whose first column is all of ``news_columns`` as one text."""
    number, kind, request_id, providers, totals = row[0].split(" ")
    return News(
        int(number),
        kind,
        request_id,
        _decode_ids(providers),
        _decode_totals(totals) if totals else None,
    )


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


def load_news(connection: Connection, dialect: Dialect, since: Since) -> Found[News]:
    """The same within an open picture."""
    return load_new_rows(connection, dialect, _NEWS, _news_of, since=since, most=NEWS_MAX)


def _news_of(row: Sequence[Any]) -> News:
    return News(row[0], row[1], row[2], _decode_ids(row[3]))
