"""Which providers would do equally well for what a search has still to place.

Equal groups over equal providers are then not tried in every order, and choices that leave less
room than is still asked for are seen to lead nowhere.
"""

from collections.abc import Hashable, Sequence
from math import gcd
from typing import Any, Final

from moorage.candidates.layout import Layout
from moorage.candidates.matching import bits_of

SUMS_MAX: Final = 1 << 17
"""Sums of portions that are told apart; beyond, room counts as it is."""

Standing = tuple[Any, ...]
"""The kind of a provider, whether an isolated group has it, which rules bind it, what is left."""

Likeness = tuple[int, ...]
"""A number, and for each contended class the most that can still be filled."""


class Likenesses:
    """Which providers would do equally well for all that is still to be placed.

    Told from what they are and what is left of them. A provider with 5 units left and portions of
    3 to come is like one with 3 left; one that nothing to come can choose is like any other such
    one. If all that can be filled is less than all that is to come, the choices so far lead
    nowhere.
    """

    def __init__(self, layout: Layout, order: Sequence[int]) -> None:
        self._layout = layout
        self._order = order
        places = places_of(layout)
        self._places = places
        found: dict[Hashable, int] = {}
        self.kinds = [
            found.setdefault(
                (
                    tuple(options >> provider & 1 for options in layout.options),
                    tuple(having >> provider & 1 for having in layout.together),
                    places[provider],
                ),
                provider,
            )
            for provider in range(layout.provider_count)
        ]
        """For each provider the first of its kind."""
        self._known: list[dict[Standing, Likeness]] = [{} for _ in range(len(order) + 1)]
        self._numbers: list[dict[Hashable, int]] = [{} for _ in range(len(order) + 1)]
        self._fills: dict[tuple[int, int, int], int] = {}
        self._pending = [
            [
                sum(
                    units
                    for slot in order[depth:]
                    for n, units in layout.needs[slot]
                    if n == number
                )
                for number in range(len(layout.rooms))
            ]
            for depth in range(len(order) + 1)
        ]

    def number(self, depth: int, standing: Standing) -> int:
        """The number of a provider's likeness at a depth."""
        found = self._known[depth].get(standing)
        return (found or self._tell(depth, standing))[0]

    def numbers(self, depth: int, standings: Sequence[Standing]) -> tuple[int, ...] | None:
        """The likenesses of all, ascending: equal ones have equal futures.

        None where there cannot be a place for all that is to come.
        """
        known = self._known[depth]
        found = [known.get(standing) or self._tell(depth, standing) for standing in standings]
        for number, pending in enumerate(self._pending[depth], 1):
            if sum([likeness[number] for likeness in found]) < pending:
                return None
        return tuple(sorted([likeness[0] for likeness in found]))

    def _tell(self, depth: int, standing: Standing) -> Likeness:
        layout = self._layout
        kind, isolated, bound, *left = standing
        choosing = 0
        for slot in self._order[depth:]:
            if (
                layout.options[slot] >> kind & 1
                and not (isolated and layout.suffixed[slot])
                and all(units <= left[number] for number, units in layout.needs[slot])
            ):
                choosing |= 1 << slot
        fills = tuple(self._fill(number, choosing, room) for number, room in enumerate(left))
        of_use: Hashable = None
        if choosing:
            having = tuple(having >> kind & 1 for having in layout.together)
            of_use = choosing, fills, isolated, having
        key = of_use, bound, self._places[kind] if layout.subtrees or not layout.nested else None
        numbers = self._numbers[depth]
        likeness = numbers.setdefault(key, len(numbers)), *fills
        self._known[depth][standing] = likeness
        return likeness

    def _fill(self, number: int, choosing: int, room: int) -> int:
        """The most units of a class that these slots can take of the room together."""
        key = number, choosing, room
        fill = self._fills.get(key)
        if fill is None:
            portions = [
                units
                for slot in bits_of(choosing)
                for needed, units in self._layout.needs[slot]
                if needed == number
            ]
            fill = self._fills[key] = largest_sum(portions, room)
        return fill


def largest_sum(portions: Sequence[int], limit: int) -> int:
    """The largest sum of some of the portions that is not above the limit.

    The limit itself where sums are too many to be told apart.
    """
    whole = sum(portions)
    if whole <= limit:
        return whole
    # In steps of what all portions are multiples of, so that sums are few.
    step = gcd(*portions)
    steps = limit // step
    if steps > SUMS_MAX:
        return steps * step
    mask, sums = (2 << steps) - 1, 1
    for units in portions:
        sums |= (sums << units // step) & mask
    return (sums.bit_length() - 1) * step


def places_of(layout: Layout) -> Sequence[Hashable]:
    """For each provider a value that it shares with those of the same place, if places matter."""
    inner = 0
    for provider, path in enumerate(layout.paths):
        inner |= path & ~(1 << provider)

    def place(provider: int) -> Hashable:
        if not layout.subtrees:
            return None if layout.nested else layout.trees[provider]
        parent = layout.parents[provider]
        if parent < 0 or inner >> provider & 1:
            return False, provider
        return True, parent

    return [place(provider) for provider in range(layout.provider_count)]
