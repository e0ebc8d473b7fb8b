"""Which providers around an anchor are alike, so that swapping them changes nothing.

Sixteen equal physical functions can take three portions in 560 ways that all leave the same future;
the search needs to see only one of them fail.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

from moorage.candidates.columns import Mask
from moorage.candidates.snapshot import Snapshot


def kinds_of(
    snapshot: Snapshot,
    options: Sequence[Sequence[int]],
    traits_together: Sequence[Mask],
    rooms_of: Callable[[int], Hashable],
) -> Mapping[int, Hashable]:
    """For each provider that can be chosen, a value that it shares only with providers like it.

    Two providers are alike if the same slots may choose them, they have the same room, the same
    of the traits that are required together, and the same parent, and nothing is below them.
    """
    slots: dict[int, list[int]] = {}
    for slot, providers in enumerate(options):
        for provider in providers:
            slots.setdefault(provider, []).append(slot)
    inner = {above for provider in slots for above in snapshot.ancestors_of(provider)[1:]}
    return {
        provider: (
            tuple(able),
            rooms_of(provider),
            tuple(bool(having[provider]) for having in traits_together),
            place_of(snapshot, provider, inner),
        )
        for provider, able in slots.items()
    }


def place_of(snapshot: Snapshot, provider: int, inner: set[int]) -> tuple[bool, int]:
    """The parent of a leaf; the provider itself where its place in the tree is its own."""
    parent = int(snapshot.parents[provider])
    if parent < 0 or provider in inner:
        return False, provider
    return True, parent
