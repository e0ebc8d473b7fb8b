"""Documents about one provider, kept until something about it changes."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from moorage.candidates.blocks import BLOCK_BITS, BLOCK_SIZE
from moorage.candidates.snapshot import Snapshot

KEPT_BYTES_MAX: Final = 32 * 2**20
"""Bytes of documents that a process keeps; past that it forgets all and makes them anew."""

ENTRY_BYTES: Final = 300
"""What an entry takes up beside its document, about."""

Dated = tuple[bytes, datetime | None]
"""A document, and when what it tells last changed (naive UTC); None where that is not known."""


class KeptDocuments:
    """Documents by kind and provider, each with the stamp that its provider had.

    Every change of a provider gives it a new stamp, so that an outdated document is never taken.
    Entries of a dict are read and written atomically: no lock is needed.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], tuple[int, Dated]] = {}
        self._bytes = 0

    def take(
        self, snapshot: Snapshot, position: int, kind: str, make: Callable[[], Dated]
    ) -> Dated:
        """The document of a kind about the provider at a position.

        Args:
            make: called only if the document is not known.
        """
        stamp = stamp_of(snapshot, position)
        key = kind, position
        entry = self._entries.get(key)
        if entry is not None and entry[0] == stamp:
            return entry[1]
        made = make()
        self._bytes += len(made[0]) + (ENTRY_BYTES if entry is None else -len(entry[1][0]))
        if self._bytes > KEPT_BYTES_MAX:
            self._entries.clear()
            self._bytes = 0
        self._entries[key] = stamp, made
        return made


def stamp_of(snapshot: Snapshot, position: int) -> int:
    """A number that changes with everything about the provider at a position."""
    block = snapshot.blocks[position >> BLOCK_BITS]
    return int(block.stamps[position & (BLOCK_SIZE - 1)])
