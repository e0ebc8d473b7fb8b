"""What was rendered of providers, kept as long as nothing about them changes."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.blocks import BLOCK_SIZE, Block
from moorage.candidates.columns import AmountArray, IndexArray

if TYPE_CHECKING:
    from moorage.candidates.snapshot import Snapshot

FRAGMENT_BYTES_MAX: Final = 160 * 2**20
"""Bytes that a process keeps: a form of 100,000 hosts; past that it forgets all."""

ENTRY_BYTES: Final = 50
"""What an entry takes up beside its fragment, about."""

Make = Callable[[IndexArray], Sequence[bytes]]
"""Renders providers: one fragment for each position, in their order."""

Fragments = NDArray[Any]
"""Objects: a fragment for each of some providers, None where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """The fragments of a block's providers in one form, by their offset; they are written to.

    ``stamps``: which each provider had when its fragment was made; 0, which none has, for none.
    """

    stamps: AmountArray = field(default_factory=lambda: np.zeros(BLOCK_SIZE, dtype=np.int64))
    fragments: Fragments = field(default_factory=lambda: np.full(BLOCK_SIZE, None, dtype=object))


class FragmentCache:
    """Bytes for each provider and form of rendering, shared by the snapshots of a process.

    A fragment is kept with the stamp that its provider had when it was made. Every change of a
    provider gives it a new stamp, so that an outdated fragment is never taken, whichever snapshot
    asks. A fragment and its stamp are read and written together, under the lock.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._shelves: dict[tuple[Hashable, int], Shelf] = {}
        self._bytes = 0

    def take(
        self, snapshot: "Snapshot", form: Hashable, providers: IndexArray, make: Make
    ) -> list[bytes]:
        """The fragments of these providers in one form, in their order.

        Args:
            form: tells apart what is rendered differently; few values, used again and again.
            make: called with the positions of those that have to be rendered now, block by block.
        """
        taken = np.empty(providers.size, dtype=object)
        for block, inside, offsets in snapshot.split(providers):
            taken[inside] = self._take_from(block, form, offsets, make)
        fragments: list[bytes] = taken.tolist()
        return fragments

    def _take_from(
        self, block: Block, form: Hashable, offsets: IndexArray, make: Make
    ) -> Fragments:
        """The fragments of a block's providers."""
        stamps = block.stamps[offsets]
        with self._lock:
            shelf = self._shelf(form, block)
            fragments: Fragments = shelf.fragments[offsets]
            missing = (shelf.stamps[offsets] != stamps).nonzero()[0]
        if missing.size:
            wanted = offsets[missing]
            made = make(wanted + block.first)
            fragments[missing] = made
            with self._lock:
                self._make_room(shelf, wanted, made)
                # Not the same where all had to be forgotten.
                shelf = self._shelf(form, block)
                shelf.fragments[wanted] = made
                shelf.stamps[wanted] = stamps[missing]
        return fragments

    def _shelf(self, form: Hashable, block: Block) -> Shelf:
        """Where the block's fragments of a form are; for one thread at a time."""
        key = form, block.first
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = Shelf()
        return shelf

    def _make_room(self, shelf: Shelf, offsets: IndexArray, made: Sequence[bytes]) -> None:
        """Count what comes, less what it takes the place of, and forget all if it is too much."""
        outdated = [old for old in shelf.fragments[offsets].tolist() if old is not None]
        coming = sum(map(len, made)) + ENTRY_BYTES * len(made)
        leaving = sum(map(len, outdated)) + ENTRY_BYTES * len(outdated)
        self._bytes += coming - leaving
        if self._bytes > FRAGMENT_BYTES_MAX:
            self._shelves.clear()
            self._bytes = coming
