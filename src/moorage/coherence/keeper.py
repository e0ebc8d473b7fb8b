"""The keeper: hands out a snapshot that holds every change committed before it was asked."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from moorage.candidates.changes import with_changes
from moorage.candidates.rows import (
    AggregateLink,
    GenerationRow,
    InventoryRow,
    ProviderRow,
    Rows,
    TraitLinks,
    UsageRow,
)
from moorage.candidates.snapshot import Snapshot
from moorage.coherence.looks import Looks
from moorage.coherence.open_moves import OpenMoves
from moorage.coherence.watermark import START, Watermark
from moorage.domain.ids import MoveUuid
from moorage.store.following import Found, Since, read_oldest
from moorage.store.journal import (
    MOVE_KIND_PREFIX,
    NEWS_BESIDE_MAX,
    NEWS_MAX,
    RECOUNT_KIND,
    News,
    Totals,
    read_move_news,
    read_news,
)
from moorage.store.pictures import Names, Picture, ProviderRows, read_picture, read_usages
from moorage.store.sql import UNDATED
from moorage.store.store import Store

USAGE_KIND_PREFIXES: Final = ("allocation.", "claim.", "lease.", MOVE_KIND_PREFIX)
"""Journal rows of these kinds change nothing but usages and generations."""

NAME_KIND_PREFIXES: Final = ("class.", "trait.")
"""Journal rows of these kinds change nothing but the names that exist."""

FOLLOWED_MIN: Final = 5_000
FOLLOWED_PART_MAX: Final = 4
"""More changed providers than this, and than one in so many of all, are not worth following."""


CLAIM_LOOKS_MAX: Final = 3
"""Looks in which the providers of a few claims, and of newer ones with them, should be known."""

CLAIMED_MAX: Final = 200
"""Providers whose totals are read without opening a picture."""

LoadedRow = Sequence[Any]


class Keeper:
    """The newest snapshot of one process.

    Each call asks the journal for rows past its mark, and for lower ones that have come late
    (row numbers are given out before transactions commit). What they touched is loaded, in one
    picture with the journal itself, and makes the next snapshot. One thread at a time does that;
    the snapshots themselves are immutable and shared.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._looks = Looks(self._take_look)
        self._snapshot: Snapshot | None = None
        self._seen = Watermark(START, now_s=0.0)
        self._moves = OpenMoves()

    def moves_begun_with(self, global_request_id: str | None) -> Collection[MoveUuid]:
        """The open moves that a request with this id began, as of the newest snapshot."""
        return self._moves.begun_with(global_request_id)

    def current(self) -> Snapshot:
        """The providers with all changes that were committed before this call."""
        return self._looks.share()

    def read_anew(self, untrue: Snapshot) -> Snapshot:
        """All the providers as the database has them, after a snapshot was found to be untrue.

        The journal tells what this service changes; what somebody else has changed, only the rows
        themselves can tell. Whoever else found the same snapshot untrue shares the reading.
        """
        with self._lock:
            if self._snapshot is None or self._snapshot is untrue:
                self._snapshot = self._load()
            return self._snapshot

    @property
    def latest(self) -> Snapshot | None:
        """The snapshot that was handed out last, which may be outdated; None before the first."""
        return self._snapshot

    def _take_look(self) -> Snapshot:
        with self._lock:
            self._snapshot = self._look()
            return self._snapshot

    def _look(self) -> Snapshot:
        snapshot = self._snapshot
        if snapshot is None:
            return self._load()
        news = read_news(self._store, self._seen.since)
        if not news.rows:
            self._seen.note((), written=news.written, now_s=time.monotonic())
            return snapshot
        return (
            self._follow_told(snapshot, news)
            or self._follow_claims(snapshot, news)
            or self._follow(snapshot)
            or self._load()
        )

    def _load(self) -> Snapshot:
        """All providers, and where in the journal they are."""

        def read(picture: Picture) -> tuple[Since, OpenMoves, Snapshot]:
            since = picture.since()
            names = picture.classes(), picture.traits()
            moves = OpenMoves(picture.open_moves())
            return since, moves, Snapshot.build(rows_from(picture.everyone(), *names))

        since, self._moves, snapshot = read_picture(self._store, read)
        self._seen = Watermark(since, now_s=time.monotonic())
        return snapshot

    def _follow_told(self, snapshot: Snapshot, found: Found[News]) -> Snapshot | None:
        """The snapshot with the totals that the news tell; None where they do not tell all."""
        totals = told_totals(found.rows)
        if totals is None or not self._reaches_back(found, lambda: read_oldest(self._store)):
            return None
        self._note(found)
        return with_told(snapshot, totals)

    def _follow_claims(self, snapshot: Snapshot, found: Found[News]) -> Snapshot | None:
        """The snapshot with what some claims have changed; None where that is not all there is.

        Totals are read after the journal, so that they may be newer than it. They come with what
        the journal has by then: if a newer request bears on these providers and on others, the
        others are read as well. All else that is newer is for the next look, which reads what is
        in part here already once more: a total is the same however often it is read.
        """
        news = found.rows
        numbers = {item.id for item in news}
        touched = {provider for item in news for provider in item.providers}
        for _ in range(CLAIM_LOOKS_MAX):
            if len(touched) > CLAIMED_MAX or not are_claims(news):
                return None
            ahead = self._seen.ahead(numbers, written=found.written)
            told = read_usages(self._store, touched, ahead)
            newer = bearing_on(touched, told.news.rows)
            if len(told.news.rows) >= NEWS_BESIDE_MAX or not are_claims(newer):
                return None
            others = {provider for item in newer for provider in item.providers} - touched
            if not others:
                if not self._reaches_back(found, lambda: read_oldest(self._store)):
                    return None
                self._note(found)
                return with_usages(snapshot, told.totals, told.generations)
            touched |= others
        return None

    def _follow(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot with what is new in the journal; None where it cannot be followed."""

        def read(picture: Picture) -> tuple[Found[News], Snapshot | None]:
            found = picture.news(self._seen.since)
            reaches_back = self._reaches_back(found, picture.oldest)
            if not reaches_back or not can_follow(snapshot, found.rows):
                return found, None
            return found, follow(snapshot, picture, found.rows)

        found, followed = read_picture(self._store, read)
        if followed is None or followed.is_worn:
            return None
        self._note(found)
        return followed

    def _note(self, found: Found[News]) -> None:
        """Note that these news are taken in, and take in what they say of moves."""
        self._follow_moves(found.rows)
        numbers = {item.id for item in found.rows}
        self._seen.note(numbers, written=found.written, now_s=time.monotonic())

    def _follow_moves(self, news: Sequence[News]) -> None:
        """Take in which moves have begun or ended; nothing is read where none has."""
        numbers = [item.id for item in news if item.kind.startswith(MOVE_KIND_PREFIX)]
        if numbers:
            self._moves.follow(read_move_news(self._store, numbers))

    def _reaches_back(self, found: Found[News], oldest: Callable[[], int]) -> bool:
        """Whether the journal still had all rows past the mark when the news were read.

        Its newest row is never trimmed, so that a trimmed journal shows as a gap; so does a row
        that is late. Where rows are counted, the count has told.

        Args:
            oldest: tells the lowest number that the journal has; asked only if it matters.
        """
        mark = self._seen.since.mark
        first = min((item.id for item in found.rows if item.id > mark), default=mark + 1)
        return found.is_whole or first == mark + 1 or oldest() <= mark + 1


def told_totals(news: Sequence[News]) -> Collection[Totals] | None:
    """The last totals that the news tell of each provider; None where they do not tell all.

    The later ones are those of the higher generation, as only who has a provider's lock raises
    it; the nodes of a cluster give out row numbers in another order.
    """
    if len(news) >= NEWS_MAX or not are_claims(news):
        return None
    last: dict[int, Totals] = {}
    for item in news:
        if item.providers and item.totals is None:
            return None
        for totals in item.totals or ():
            known = last.get(totals.provider)
            if known is None or known.generation < totals.generation:
                last[totals.provider] = totals
    return last.values()


def with_told(snapshot: Snapshot, told: Iterable[Totals]) -> Snapshot:
    """The snapshot with those of the totals that are newer than its own."""
    newer = [
        totals
        for totals in told
        if (at := snapshot.positions_by_id.get(totals.provider)) is not None
        and snapshot.generation_of(at) < totals.generation
    ]
    return snapshot.with_usages(
        [
            UsageRow(totals.provider, class_id, used)
            for totals in newer
            for class_id, used in totals.used
        ],
        [GenerationRow(totals.provider, totals.generation, totals.at) for totals in newer],
    )


def bearing_on(providers: Collection[int], news: Sequence[News]) -> Sequence[News]:
    """The news of all requests that bear on some of these providers, on others with them.

    A request is in a snapshot as a whole or not at all.
    """
    near, requests, found, left = set(providers), set[str](), list[News](), list(news)
    while True:
        new = [
            item
            for item in left
            if item.request_id in requests or not near.isdisjoint(item.providers)
        ]
        if not new:
            return found
        found += new
        near.update(provider for item in new for provider in item.providers)
        requests.update(item.request_id for item in new)
        seen = {item.id for item in new}
        left = [item for item in left if item.id not in seen]


def are_claims(news: Iterable[News]) -> bool:
    """Whether the news are of nothing but claims."""
    return all(item.kind.startswith(USAGE_KIND_PREFIXES) for item in news)


def can_follow(snapshot: Snapshot, news: Sequence[News]) -> bool:
    """Whether the news say what they changed, and little enough of it."""
    if len(news) >= NEWS_MAX or any(item.kind == RECOUNT_KIND for item in news):
        return False
    touched = {provider for item in news for provider in item.providers}
    return len(touched) <= max(FOLLOWED_MIN, len(snapshot) // FOLLOWED_PART_MAX)


def follow(snapshot: Snapshot, picture: Picture, news: Sequence[News]) -> Snapshot:
    """The snapshot with the providers that the news are about as they are in the picture."""
    used, changed = set[int](), set[int]()
    for item in news:
        mentioned = used if item.kind.startswith(USAGE_KIND_PREFIXES) else changed
        mentioned.update(item.providers)
    if used - changed:
        snapshot = with_usages(snapshot, *picture.usages_of(used - changed))
    renamed = any(item.kind.startswith(NAME_KIND_PREFIXES) for item in news)
    if not changed and not renamed:
        return snapshot
    loaded = picture.some(changed)
    inventories, links = list(loaded.inventories), list(loaded.traits)
    loaded = replace(loaded, inventories=inventories, traits=links)
    classes = Names(snapshot.class_names, snapshot.class_ages)
    traits = Names(snapshot.trait_names, snapshot.trait_ages)
    # Names may come without a word in the journal, where others than we have written them.
    if (
        renamed
        or any(row[1] not in classes.names for row in inventories)
        or any(key not in traits.names for _, text in links for key in map(int, text.split(",")))
    ):
        classes, traits = picture.classes(), picture.traits()
    return with_changes(snapshot, changed, rows_from(loaded, classes, traits))


def with_usages(
    snapshot: Snapshot, usages: Iterable[LoadedRow], generations: Iterable[LoadedRow]
) -> Snapshot:
    """The snapshot with loaded totals and generations."""
    return snapshot.with_usages(map(usage_row, usages), map(generation_row, generations))


def rows_from(loaded: ProviderRows, classes: Names, traits: Names) -> Rows:
    """Loaded rows as the snapshot reads them; they still come one by one."""
    return Rows(
        providers=map(provider_row, loaded.providers),
        inventories=map(InventoryRow._make, loaded.inventories),
        usages=map(usage_row, loaded.usages),
        traits=trait_links(loaded.traits),
        aggregates=map(AggregateLink._make, loaded.aggregates),
        class_names=classes.names,
        trait_names=traits.names,
        class_ages=classes.ages,
        trait_ages=traits.ages,
    )


def trait_links(rows: Iterable[LoadedRow]) -> Iterable[TraitLinks]:
    """The traits of providers; hosts of one model have the same text."""
    known: dict[str, tuple[int, ...]] = {}
    for provider_id, text in rows:
        trait_ids = known.get(text)
        if trait_ids is None:
            trait_ids = known[text] = tuple(map(int, text.split(",")))
        yield TraitLinks(provider_id, trait_ids)


def provider_row(row: LoadedRow) -> ProviderRow:
    return ProviderRow(row[0], row[1], row[2], row[3], row[4], row[5] or UNDATED)


def generation_row(row: LoadedRow) -> GenerationRow:
    return GenerationRow(row[0], row[1], row[2] or UNDATED)


def usage_row(row: LoadedRow) -> UsageRow:
    # Totals come as decimal numbers from some databases.
    return UsageRow(row[0], row[1], int(row[2]))
