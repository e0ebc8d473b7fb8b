"""The keeper: hands out a snapshot that holds every change committed before it was asked."""

import threading
import time
from collections.abc import Sequence
from typing import Final

from moorage.candidates.snapshot import (
    AggregateLink,
    InventoryRow,
    ProviderRow,
    Snapshot,
    TraitLink,
    UsageRow,
)
from moorage.store.journal import GAP_AGE_S_MAX, News, read_news
from moorage.store.pictures import Picture, read_picture, read_usages_of
from moorage.store.sql import UNDATED
from moorage.store.store import Store

USAGE_KIND_PREFIX: Final = "allocation."
"""Journal rows of this kind change nothing but usages and generations."""


class Keeper:
    """The newest snapshot of one process.

    Each call asks the journal for rows past its mark, and for lower ones that have come late
    (row numbers are given out before transactions commit). One thread at a time brings the
    snapshot up to date; the snapshots themselves are immutable and shared.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._mark = 0
        self._gaps: dict[int, float] = {}

    def current(self) -> Snapshot:
        """The providers with all changes that were committed before this call."""
        with self._lock:
            if self._snapshot is None:
                return self._reload()
            news = read_news(self._store, mark=self._mark, gaps=self._gaps)
            if not news:
                self._forget_gaps()
                return self._snapshot
            if all(item.kind.startswith(USAGE_KIND_PREFIX) for item in news):
                return self._follow(self._snapshot, news)
            return self._reload()

    def _reload(self) -> Snapshot:
        picture = read_picture(self._store)
        self._mark = picture.mark
        now = time.monotonic()
        self._gaps = dict.fromkeys(picture.gaps, now)
        self._snapshot = build_snapshot(picture)
        return self._snapshot

    def _follow(self, snapshot: Snapshot, news: Sequence[News]) -> Snapshot:
        """Take over the usages of the providers that these changes touched.

        The usages are read after the journal, so they may hold still newer changes, whose journal
        rows the next call finds: never fewer.
        """
        touched = {provider for item in news for provider in item.providers}
        usages = [UsageRow(*row) for row in read_usages_of(self._store, touched)]
        self._snapshot = snapshot.with_usages(usages)
        self._note_seen([item.id for item in news])
        return self._snapshot

    def _note_seen(self, numbers: Sequence[int]) -> None:
        now = time.monotonic()
        highest = max(self._mark, *numbers)
        for number in range(self._mark + 1, highest):
            self._gaps[number] = now
        for number in numbers:
            self._gaps.pop(number, None)
        self._mark = highest
        self._forget_gaps()

    def _forget_gaps(self) -> None:
        if self._gaps:
            oldest = time.monotonic() - GAP_AGE_S_MAX
            self._gaps = {number: since for number, since in self._gaps.items() if since > oldest}


def build_snapshot(picture: Picture) -> Snapshot:
    """The snapshot of loaded rows."""
    return Snapshot.build(
        [
            ProviderRow(
                id=row[0],
                uuid=row[1],
                name=row[2],
                generation=row[3],
                parent_id=row[4],
                root_id=row[0] if row[5] is None else row[5],
                modified_at=row[6] or UNDATED,
            )
            for row in picture.providers
        ],
        [InventoryRow(*row) for row in picture.inventories],
        [UsageRow(row[0], row[1], int(row[2])) for row in picture.usages],
        [TraitLink(*row) for row in picture.traits],
        [AggregateLink(*row) for row in picture.aggregates],
        class_names=picture.class_names,
        trait_names=picture.trait_names,
    )
