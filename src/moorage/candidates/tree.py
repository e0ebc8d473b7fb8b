"""Candidates around one anchor: one provider for each slot, chosen step by step.

The choices are made depth first and given out as they are found. A choice is dropped as soon as it
overfills an inventory, breaks the group policy, leaves the common subtree or misses a trait that no
later choice can bring. States that led nowhere are remembered, so that equal groups over equal
providers are not tried in every order.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from moorage.candidates.columns import Mask
from moorage.candidates.groups import Slot
from moorage.candidates.matching import can_isolate, can_pack
from moorage.candidates.snapshot import Snapshot
from moorage.candidates.symmetry import kinds_of


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlan:
    """What holds for every anchor of one request.

    ``subtrees``: positions of the slots whose providers must lie below one of them.
    ``traits_together``: for each trait (or choice of traits) that the providers of the slots in
    ``spread`` must have between them, the providers that have it.
    ``contended``: classes that more than one slot asks for, so that amounts may add up.
    """

    snapshot: Snapshot
    slots: tuple[Slot, ...]
    isolate: bool
    nested: bool
    subtrees: tuple[frozenset[int], ...]
    spread: frozenset[int]
    traits_together: tuple[Mask, ...]
    contended: frozenset[str]


Choice = Mapping[int, int]
"""Position of a slot -> position of the provider that serves it."""


class AnchorSearch:
    """The search around one anchor. Use ``choices`` once."""

    def __init__(self, plan: SearchPlan, options: Sequence[Sequence[int]]) -> None:
        """``options``: for each slot the providers to choose from, at least one."""
        self._plan = plan
        self._options = options
        # The slot with the fewest options first: wrong choices show early.
        self._order = sorted(range(len(options)), key=lambda slot: len(options[slot]))
        self._chosen: dict[int, int] = {}
        self._taken: dict[tuple[int, str], int] = {}
        self._dead: set[Hashable] = set()
        self._rooms: dict[tuple[int, str], int] = {}
        self._paths: dict[int, frozenset[int]] = {}
        self._kinds: Mapping[int, Hashable] | None = None

    def choices(self) -> Iterator[Choice]:
        """Every valid choice of providers. What is given is a view: read it before going on."""
        if self._can_complete(0):
            yield from self._extend(0)

    def _extend(self, depth: int) -> Iterator[Choice]:
        if depth == len(self._order):
            yield self._chosen
            return
        slot = self._order[depth]
        fruitful = False
        for provider in self._options[slot]:
            if not self._place(slot, provider):
                continue
            if self._can_complete(depth + 1):
                for choice in self._extend(depth + 1):
                    fruitful = True
                    yield choice
            self._remove(slot)
        if not fruitful:
            self._dead.add(self._state(depth))

    def _place(self, slot: int, provider: int) -> bool:
        """Choose the provider for the slot, or change nothing where that is not allowed."""
        if not (
            self._has_room(slot, provider)
            and self._keeps_isolated(slot, provider)
            and self._keeps_unnested(slot, provider)
        ):
            return False
        self._chosen[slot] = provider
        for portion in self._plan.slots[slot].portions:
            resource_class = portion.stock.resource_class
            if resource_class in self._plan.contended:
                key = provider, resource_class
                self._taken[key] = self._taken.get(key, 0) + portion.amount
        if self._keeps_subtrees(slot) and self._keeps_traits(slot):
            return True
        self._remove(slot)
        return False

    def _remove(self, slot: int) -> None:
        provider = self._chosen.pop(slot)
        for portion in self._plan.slots[slot].portions:
            key = provider, portion.stock.resource_class
            if key in self._taken:
                self._taken[key] -= portion.amount
                if not self._taken[key]:
                    del self._taken[key]

    def _has_room(self, slot: int, provider: int) -> bool:
        """Whether the amounts of all slots together still fit the provider."""
        for portion in self._plan.slots[slot].portions:
            resource_class = portion.stock.resource_class
            taken = self._taken.get((provider, resource_class), 0)
            # Each portion alone was checked before; only a sum can still be too much.
            if taken and taken + portion.amount > self._room(provider, slot, resource_class):
                return False
        return True

    def _room(self, provider: int, slot: int, resource_class: str) -> int:
        key = provider, resource_class
        room = self._rooms.get(key)
        if room is None:
            portions = self._plan.slots[slot].portions
            stock = next(p.stock for p in portions if p.stock.resource_class == resource_class)
            room = self._rooms[key] = stock.room_at(provider)
        return room

    def _keeps_isolated(self, slot: int, provider: int) -> bool:
        """Whether no other suffixed group has this provider, where that is asked for."""
        if not self._plan.isolate or not self._plan.slots[slot].suffix:
            return True
        return all(
            used != provider or not self._plan.slots[other].suffix
            for other, used in self._chosen.items()
        )

    def _keeps_unnested(self, slot: int, provider: int) -> bool:
        """Whether no other provider of the same tree gives resources, before trees were known."""
        if self._plan.nested or not self._plan.slots[slot].portions:
            return True
        roots = self._plan.snapshot.roots
        return all(
            used == provider or roots[used] != roots[provider] or not self._plan.slots[o].portions
            for o, used in self._chosen.items()
        )

    def _keeps_subtrees(self, slot: int) -> bool:
        return all(
            self._can_share_subtree(together)
            for together in self._plan.subtrees
            if slot in together
        )

    def _can_share_subtree(self, together: frozenset[int]) -> bool:
        """Whether the providers of these slots can still lie below one of them."""
        placed = [self._chosen[slot] for slot in together if slot in self._chosen]
        pending = [slot for slot in together if slot not in self._chosen]
        above_all = frozenset.intersection(*(self._path(provider) for provider in placed))
        for top in above_all:
            if top not in placed and not any(top in self._options[slot] for slot in pending):
                continue
            if all(any(top in self._path(p) for p in self._options[slot]) for slot in pending):
                return True
        return False

    def _path(self, provider: int) -> frozenset[int]:
        path = self._paths.get(provider)
        if path is None:
            path = self._paths[provider] = frozenset(self._plan.snapshot.ancestors_of(provider))
        return path

    def _keeps_traits(self, slot: int) -> bool:
        """Whether every required trait is there, or may come with a later choice."""
        if not self._plan.traits_together or slot not in self._plan.spread:
            return True
        missing = self._missing_traits()
        if not missing:
            return True
        pending = [other for other in self._plan.spread if other not in self._chosen]
        reachable = {p for other in pending for p in self._options[other]}
        masks = self._plan.traits_together
        return all(any(masks[trait][p] for p in reachable) for trait in missing)

    def _missing_traits(self) -> frozenset[int]:
        """The positions of the required traits that no chosen provider has."""
        placed = {self._chosen[slot] for slot in self._plan.spread if slot in self._chosen}
        return frozenset(
            trait
            for trait, having in enumerate(self._plan.traits_together)
            if not any(having[provider] for provider in placed)
        )

    def _can_complete(self, depth: int) -> bool:
        """Whether the remaining slots may still be served; False is certain, True is not."""
        if depth == len(self._order):
            return True
        if self._dead and self._state(depth) in self._dead:
            return False
        if len(self._order) - depth < 2:
            return True
        pending = self._order[depth:]
        return self._can_isolate(pending) and self._can_pack(pending)

    def _can_isolate(self, pending: Sequence[int]) -> bool:
        if not self._plan.isolate:
            return True
        suffixed = [slot for slot in pending if self._plan.slots[slot].suffix]
        used = {p for slot, p in self._chosen.items() if self._plan.slots[slot].suffix}
        return can_isolate([[p for p in self._options[s] if p not in used] for s in suffixed])

    def _can_pack(self, pending: Sequence[int]) -> bool:
        """Whether each contended class has room for what is still to be placed."""
        for resource_class in self._plan.contended:
            amounts, providers = [], dict[int, int]()
            for slot in pending:
                for portion in self._plan.slots[slot].portions:
                    if portion.stock.resource_class == resource_class:
                        amounts.append(portion.amount)
                        providers.update((p, slot) for p in self._options[slot])
            rooms = [
                self._room(p, slot, resource_class) - self._taken.get((p, resource_class), 0)
                for p, slot in providers.items()
            ]
            if not can_pack(amounts, rooms):
                return False
        return True

    def _state(self, depth: int) -> Hashable:
        """All that decides what can follow: two equal states have equal futures."""
        if self._kinds is None:
            plan = self._plan
            self._kinds = kinds_of(
                plan.snapshot, self._options, plan.traits_together, self._rooms_of
            )
        used = {provider: self._use_of(provider) for provider in self._chosen.values()}
        counted = Counter((self._kinds[provider], use) for provider, use in used.items())
        missing = self._missing_traits() if self._plan.traits_together else None
        return depth, frozenset(counted.items()), missing

    def _use_of(self, provider: int) -> Hashable:
        """What the choices so far have made of a provider."""
        plan = self._plan
        serving = [slot for slot, used in self._chosen.items() if used == provider]
        return (
            tuple(self._taken.get((provider, name), 0) for name in plan.contended),
            plan.isolate and any(plan.slots[slot].suffix for slot in serving),
            not plan.nested and any(plan.slots[slot].portions for slot in serving),
            tuple(not together.isdisjoint(serving) for together in plan.subtrees),
        )

    def _rooms_of(self, provider: int) -> Hashable:
        """The room for each contended class that the provider may be asked for."""
        return tuple(
            self._room(provider, slot, name)
            for slot, providers in enumerate(self._options)
            if provider in providers
            for name in self._plan.contended
            if any(p.stock.resource_class == name for p in self._plan.slots[slot].portions)
        )
