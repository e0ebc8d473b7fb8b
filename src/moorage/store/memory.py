"""What a process may remember of the database: rows that are never changed or deleted."""

from datetime import datetime
from typing import Final, TypeVar

from moorage.domain.ids import ResourceClassId

T = TypeVar("T")

REMEMBERED_MAX: Final = 50_000
"""Entries of one kind that a process keeps; past that it forgets all and learns anew."""


class Memory:
    """Row ids by name: of projects, users, consumer types, aggregates, standard classes and traits.

    Nobody deletes or renames one, so an id once committed stays true. Reading and writing a dict
    entry is atomic, so threads share this without a lock.
    """

    def __init__(self) -> None:
        self.projects: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.consumer_types: dict[str, int] = {}
        self.aggregates: dict[str, int] = {}
        self.classes: dict[str, ResourceClassId] = {}
        self.traits: dict[str, tuple[int, datetime | None]] = {}


def remember(kind: dict[str, T], found: dict[str, T]) -> None:
    """Add committed entries to one kind of a memory."""
    if len(kind) + len(found) > REMEMBERED_MAX:
        kind.clear()
    kind.update(found)
