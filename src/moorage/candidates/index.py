"""A lookup that never changes and is cheaply followed by one with a few changes."""

from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", int, str)

RECENT_MAX: Final = 1_024
RECENT_PART_MAX: Final = 32
"""Changes are kept apart until they are this many, or one in so many of all."""


class Index(Generic[Key]):
    """Key -> position."""

    __slots__ = ("_base", "_recent")

    def __init__(
        self, base: Mapping[Key, int], recent: Mapping[Key, int | None] | None = None
    ) -> None:
        self._base: Mapping[Key, int] = base
        self._recent: Mapping[Key, int | None] = recent or {}

    def get(self, key: Key) -> int | None:
        """The position of a key, None where there is none."""
        if key in self._recent:
            return self._recent[key]
        return self._base.get(key)

    def with_changes(self, added: Mapping[Key, int], gone: Iterable[Key]) -> "Index[Key]":
        """The lookup that follows; this one stays as it is."""
        recent: dict[Key, int | None] = {**self._recent, **dict.fromkeys(gone), **added}
        if len(recent) <= max(RECENT_MAX, len(self._base) // RECENT_PART_MAX):
            return Index(self._base, recent)
        base = dict(self._base)
        for key, position in recent.items():
            if position is None:
                base.pop(key, None)
            else:
                base[key] = position
        return Index(base)
