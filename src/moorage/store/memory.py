"""What a process may remember of the database: rows that are never changed or deleted."""

from typing import Final

REMEMBERED_MAX: Final = 50_000
"""Entries of one kind that a process keeps; past that it forgets all and learns anew."""


class Memory:
    """Row ids by name of projects, users and consumer types.

    Placement never deletes or renames one, so an id once committed stays true. Reading and
    writing a dict entry is atomic, so threads share this without a lock.
    """

    def __init__(self) -> None:
        self.projects: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.consumer_types: dict[str, int] = {}


def remember(kind: dict[str, int], found: dict[str, int]) -> None:
    """Add committed entries to one kind of a memory."""
    if len(kind) + len(found) > REMEMBERED_MAX:
        kind.clear()
    kind.update(found)
