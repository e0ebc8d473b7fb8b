"""What the sharing providers can do for the slots of one plan.

Sets of lenders that can do the same are of one kind, so that the trees of a hundred pools that are
alike are solved together.
"""

from collections.abc import Hashable, Sequence

import numpy as np

from moorage.candidates.columns import IndexArray, Mask, tell_apart
from moorage.candidates.eligible import rooms_at
from moorage.candidates.groups import Plan

NOBODY = 0
"""The number of the empty set of lenders, and of its kind."""


class Lenders:
    """The lenders of a plan by the numbers of the snapshot's sets; those of no use are left out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sharing = plan.snapshot.sharing
        self._able = self._find_able()
        self.any = bool(self._able)
        """Whether any slot can be served by a lender at all."""
        self._useful: dict[int, tuple[int, ...]] = {NOBODY: ()}
        self._kinds: dict[int, int] = {NOBODY: NOBODY}
        self._numbers: dict[Hashable, int] = {(): NOBODY}
        self._serves: list[frozenset[int]] = [frozenset()]
        self._own: dict[int, Hashable] | None = None

    def _find_able(self) -> dict[int, frozenset[int]]:
        """Each sharing provider with the slots that it can serve; only those that can any."""
        serving: dict[int, set[int]] = {}
        if self._sharing.size:
            for number, slot in enumerate(self._plan.slots):
                if slot.lend is not None:
                    for lender in self._sharing[slot.lend.at(self._sharing)].tolist():
                        serving.setdefault(lender, set()).add(number)
        return {lender: frozenset(slots) for lender, slots in serving.items()}

    def sets_of(self, roots: IndexArray) -> IndexArray:
        """For each root the number of the set that serves it."""
        if not self.any:
            return np.zeros(roots.size, dtype=np.int32)
        numbers: IndexArray = self._plan.snapshot.lending.sets().numbers[roots]
        return numbers

    def kinds_of(self, sets: IndexArray) -> IndexArray:
        """For each of these sets the number of its kind: those of one kind can do the same."""
        if not self.any:
            return sets
        distinct, which = tell_apart(sets)
        return np.array([self._kind(n) for n in distinct], dtype=np.int32)[which]

    def serve(self, slot: int, kinds: IndexArray) -> Mask:
        """For each of these kinds whether one of its lenders can serve the slot."""
        table = np.array([slot in served for served in self._serves], dtype=np.bool_)
        found: Mask = table[kinds]
        return found

    def useful(self, number: int) -> tuple[int, ...]:
        """The lenders of a set that can serve some slot, ascending; as many as others of a kind."""
        found = self._useful.get(number)
        if found is None:
            members = self._plan.snapshot.lending.sets().lenders[number]
            found = self._useful[number] = tuple(
                sorted(lender for lender in members if lender in self._able)
            )
        return found

    def able(self, slot: int, number: int) -> list[bool]:
        """For each useful lender of a set whether it can serve the slot."""
        return [slot in self._able[lender] for lender in self.useful(number)]

    def rows(self, sets: Sequence[int] | IndexArray) -> IndexArray:
        """The useful lenders of some sets of one kind, a row for each."""
        distinct, which = tell_apart(np.asarray(sets))
        lenders = [self.useful(number) for number in distinct]
        return np.array(lenders, dtype=np.int32).reshape(len(lenders), -1)[which]

    def trees(self, number: int) -> tuple[int, ...]:
        """For each useful lender of a set a number that it shares with those of its tree."""
        numbers: dict[int, int] = {}
        roots = self._plan.snapshot.roots
        return tuple(
            numbers.setdefault(int(roots[lender]), len(numbers)) for lender in self.useful(number)
        )

    def paths(self, number: int) -> tuple[frozenset[int], ...]:
        """For each useful lender of a set itself and those above it, as places among them."""
        places = {lender: place for place, lender in enumerate(self.useful(number))}
        above = self._plan.snapshot.ancestors_of
        return tuple(
            frozenset(places[one] for one in above(lender) if one in places) for lender in places
        )

    def _kind(self, number: int) -> int:
        kind = self._kinds.get(number)
        if kind is None:
            if self._own is None:
                self._own = self._describe()
            useful = self.useful(number)
            alike: Hashable = ()
            if useful:
                each = tuple([self._own[lender] for lender in useful])
                links = (self.trees(number), self.paths(number)) if len(useful) > 1 else ()
                alike = each, links
            kind = self._numbers.setdefault(alike, len(self._numbers))
            if kind == len(self._serves):
                self._serves.append(frozenset().union(*(self._able[lender] for lender in useful)))
            self._kinds[number] = kind
        return kind

    def _describe(self) -> dict[int, Hashable]:
        """For each lender a value that it shares with those that can do the same by themselves."""
        plan, snapshot = self._plan, self._plan.snapshot
        lenders = np.array(list(self._able), dtype=np.int32)
        rooms = [
            np.minimum(rooms_at(snapshot, class_id, lenders), min(asked, 2**62)).tolist()
            for class_id, asked in plan.contended.items()
        ]
        sets = snapshot.trait_sets[lenders]
        having = [table[sets].tolist() for table in plan.together]
        columns = self._able.values(), *rooms, *having
        return dict(zip(self._able, zip(*columns, strict=True), strict=True))
