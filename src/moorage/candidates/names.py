"""Check that the names in a request exist."""

from collections.abc import Iterable

from moorage.candidates.snapshot import Snapshot
from moorage.domain.refusals import UnknownResourceClass, UnknownTraits


def check_classes(snapshot: Snapshot, names: Iterable[str]) -> None:
    """Refuse the first resource class that does not exist.

    Raises:
        UnknownResourceClass: no resource class has this name.
    """
    for name in names:
        if name not in snapshot.class_ids:
            raise UnknownResourceClass(name)


def check_traits(snapshot: Snapshot, names: Iterable[str]) -> None:
    """Refuse traits that do not exist, all of them together.

    Raises:
        UnknownTraits: with the unknown names in name order.
    """
    unknown = sorted(name for name in names if name not in snapshot.trait_ids)
    if unknown:
        raise UnknownTraits(tuple(unknown))
