"""What the choices around an anchor depend on, without saying which providers they are.

The members of the tree and the sharing providers that serve it are numbered; sets of them are whole
numbers with a bit for each. Anchors that look alike have equal layouts and equal choices.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """One puzzle: a provider for each slot.

    ``options``: for each slot the providers that can serve it alone.
    ``needs``: for each slot, portions of contended classes as (number of the class, units);
    ``rooms``: for each contended class the room of each provider.
    ``suffixed``, ``gives``: for each slot whether its group has a suffix, and asks for resources.
    ``trees``: for each provider a number that it shares with those of its tree.
    ``paths``: for each provider itself and those above it; ``parents``: the one above, or -1.
    ``subtrees``, ``spread`` as in the plan; ``together``: for each trait who has it.
    """

    options: tuple[int, ...]
    needs: tuple[tuple[tuple[int, int], ...], ...]
    rooms: tuple[tuple[int, ...], ...]
    suffixed: tuple[bool, ...]
    gives: tuple[bool, ...]
    trees: tuple[int, ...]
    paths: tuple[int, ...]
    parents: tuple[int, ...]
    isolate: bool
    nested: bool
    subtrees: tuple[frozenset[int], ...]
    spread: frozenset[int]
    together: tuple[int, ...]

    @property
    def provider_count(self) -> int:
        return len(self.trees)
