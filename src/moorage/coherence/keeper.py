"""The keeper: hands out a snapshot that holds every change committed before it was asked."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from moorage.candidates.changes import with_changes
from moorage.candidates.rows import (
    AggregateLink,
    GenerationRow,
    InventoryRow,
    ProviderRow,
    Rows,
    TraitLink,
    UsageRow,
)
from moorage.candidates.snapshot import Snapshot
from moorage.store.journal import GAP_AGE_S_MAX, NEWS_MAX, RECOUNT_KIND, News, read_news
from moorage.store.pictures import Picture, ProviderRows, read_picture
from moorage.store.sql import UNDATED
from moorage.store.store import Store

USAGE_KIND_PREFIX: Final = "allocation."
"""Journal rows of this kind change nothing but usages and generations."""

NAME_KIND_PREFIXES: Final = ("class.", "trait.")
"""Journal rows of these kinds change nothing but the names that exist."""

FOLLOWED_MIN: Final = 5_000
FOLLOWED_PART_MAX: Final = 4
"""More changed providers than this, and than one in so many of all, are not worth following."""


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
        self._looks_begun = 0
        self._look_done = 0
        self._snapshot: Snapshot | None = None
        self._mark = 0
        self._gaps: dict[int, float] = {}

    def current(self) -> Snapshot:
        """The providers with all changes that were committed before this call."""
        # A look that begins from now on will do, whoever takes it: those who wait while one
        # thread looks share the next look.
        wanted = self._looks_begun + 1
        with self._lock:
            if self._snapshot is None or self._look_done < wanted:
                self._looks_begun += 1
                self._snapshot = self._look()
                self._look_done = self._looks_begun
            return self._snapshot

    def _look(self) -> Snapshot:
        snapshot = self._snapshot
        if snapshot is None or snapshot.is_worn:
            return self._load()
        self._forget_gaps()
        if not read_news(self._store, mark=self._mark, gaps=self._gaps):
            return snapshot
        return self._follow(snapshot) or self._load()

    def _load(self) -> Snapshot:
        """All providers, and where in the journal they are."""

        def read(picture: Picture) -> tuple[int, set[int], Snapshot]:
            mark, gaps = picture.mark()
            names = picture.class_names(), picture.trait_names()
            return mark, gaps, Snapshot.build(rows_from(picture.everyone(), *names))

        mark, gaps, snapshot = read_picture(self._store, read)
        self._mark = mark
        self._gaps = dict.fromkeys(gaps, time.monotonic())
        return snapshot

    def _follow(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot with what is new in the journal; None where it cannot be followed."""

        def read(picture: Picture) -> tuple[Sequence[News], Snapshot | None]:
            news = picture.news(mark=self._mark, gaps=self._gaps)
            if not self._reaches_back(picture, news) or not can_follow(snapshot, news):
                return news, None
            return news, follow(snapshot, picture, news)

        news, followed = read_picture(self._store, read)
        if followed is not None:
            self._note_seen([item.id for item in news])
        return followed

    def _reaches_back(self, picture: Picture, news: Sequence[News]) -> bool:
        """Whether the journal still has all rows past the mark.

        Its newest row is never trimmed, so that a trimmed journal shows as a gap.
        """
        first = next((item.id for item in news if item.id > self._mark), self._mark + 1)
        return first == self._mark + 1 or picture.oldest() <= self._mark + 1

    def _note_seen(self, numbers: Sequence[int]) -> None:
        now = time.monotonic()
        highest = max([self._mark, *numbers])
        for number in range(self._mark + 1, highest):
            self._gaps[number] = now
        for number in numbers:
            self._gaps.pop(number, None)
        self._mark = highest

    def _forget_gaps(self) -> None:
        if self._gaps:
            oldest = time.monotonic() - GAP_AGE_S_MAX
            self._gaps = {number: since for number, since in self._gaps.items() if since > oldest}


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
        mentioned = used if item.kind.startswith(USAGE_KIND_PREFIX) else changed
        mentioned.update(item.providers)
    if used - changed:
        usages, generations = picture.usages_of(used - changed)
        snapshot = snapshot.with_usages(map(usage_row, usages), map(generation_row, generations))
    renamed = any(item.kind.startswith(NAME_KIND_PREFIXES) for item in news)
    if not changed and not renamed:
        return snapshot
    loaded = rows_from(picture.some(changed), snapshot.class_names, snapshot.trait_names)
    inventories, traits = list(loaded.inventories), list(loaded.traits)
    # Names may come without a word in the journal: a newer release adds standard ones.
    classes, names = snapshot.class_names, snapshot.trait_names
    if (
        renamed
        or any(row.class_id not in classes for row in inventories)
        or any(link.trait_id not in names for link in traits)
    ):
        classes, names = picture.class_names(), picture.trait_names()
    rows = Rows(
        providers=loaded.providers,
        inventories=inventories,
        usages=loaded.usages,
        traits=traits,
        aggregates=loaded.aggregates,
        class_names=classes,
        trait_names=names,
    )
    return with_changes(snapshot, changed, rows)


def rows_from(
    loaded: ProviderRows, class_names: Mapping[int, str], trait_names: Mapping[int, str]
) -> Rows:
    """Loaded rows as the snapshot reads them; they still come one by one."""
    return Rows(
        providers=map(provider_row, loaded.providers),
        inventories=map(InventoryRow._make, loaded.inventories),
        usages=map(usage_row, loaded.usages),
        traits=map(TraitLink._make, loaded.traits),
        aggregates=map(AggregateLink._make, loaded.aggregates),
        class_names=class_names,
        trait_names=trait_names,
    )


def provider_row(row: tuple[Any, ...]) -> ProviderRow:
    return ProviderRow(row[0], row[1], row[2], row[3], row[4], row[5] or UNDATED)


def generation_row(row: tuple[Any, ...]) -> GenerationRow:
    return GenerationRow(row[0], row[1], row[2] or UNDATED)


def usage_row(row: tuple[Any, ...]) -> UsageRow:
    # Totals come as decimal numbers from some databases.
    return UsageRow(row[0], row[1], int(row[2]))
