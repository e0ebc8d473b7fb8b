"""What was rendered of providers, kept as long as nothing about them changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from moorage.candidates.columns import IndexArray

if TYPE_CHECKING:
    from moorage.candidates.snapshot import Snapshot

FRAGMENT_BYTES_MAX: Final = 160 * 2**20
"""Bytes that a process keeps: a form of 100,000 hosts; past that it forgets all."""

ENTRY_BYTES: Final = 200
"""What an entry takes up beside its fragment, about."""

Make = Callable[[IndexArray], Sequence[bytes]]
"""Renders providers: one fragment for each position, in their order."""


class FragmentCache:
    """Bytes for each provider and form of rendering, shared by the snapshots of a process.

    A fragment is kept with the stamp that its provider had when it was made. Every change of a
    provider gives it a new stamp, so that an outdated fragment is never taken, whichever snapshot
    asks. Entries of a dict are read and written atomically: no lock is needed.
    """

    def __init__(self) -> None:
        self._forms: dict[Hashable, dict[int, tuple[int, bytes]]] = {}
        # Threads may lose an addition of each other's: the bound need not be exact.
        self._bytes = 0

    def take(
        self, snapshot: "Snapshot", form: Hashable, providers: IndexArray, make: Make
    ) -> list[bytes]:
        """The fragments of these providers in one form, in their order.

        Args:
            form: tells apart what is rendered differently; few values, used again and again.
            make: called once, with the positions of those that have to be rendered now.
        """
        known = self._forms.setdefault(form, {})
        positions = providers.tolist()
        stamps = snapshot.stamps_of(providers)
        entries = list(map(known.get, positions))
        if positions and None not in entries:
            # The usual case, in which nothing is done for each of them by itself.
            kept_with, kept = zip(*cast("list[tuple[int, bytes]]", entries), strict=True)
            if kept_with == tuple(stamps):
                return list(kept)
        fragments = [
            entry[1] if entry is not None and entry[0] == stamp else None
            for entry, stamp in zip(entries, stamps, strict=True)
        ]
        missing = [at for at, fragment in enumerate(fragments) if fragment is None]
        if missing:
            wanted = [positions[at] for at in missing]
            made = make(np.array(wanted, dtype=np.int32))
            self._make_room(known, wanted, made)
            for at, position, fragment in zip(missing, wanted, made, strict=True):
                fragments[at] = fragment
                known[position] = stamps[at], fragment
        return [fragment for fragment in fragments if fragment is not None]

    def _make_room(
        self, known: dict[int, tuple[int, bytes]], positions: Sequence[int], made: Sequence[bytes]
    ) -> None:
        """Count what comes, less what it takes the place of, and forget all if it is too much."""
        outdated = [entry for entry in map(known.get, positions) if entry is not None]
        coming = sum(map(len, made)) + ENTRY_BYTES * len(made)
        leaving = sum(len(entry[1]) for entry in outdated) + ENTRY_BYTES * len(outdated)
        self._bytes += coming - leaving
        if self._bytes > FRAGMENT_BYTES_MAX:
            for one in list(self._forms.values()):
                one.clear()
            self._bytes = coming
