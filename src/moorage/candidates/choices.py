"""The choices that a layout allows, found step by step.

Slots are chosen depth first, and choices are given out as they are found. A step is not taken where
it overfills an inventory, breaks the group policy, leaves the common subtree, or leaves a slot or a
trait that no later step can serve. What still leads nowhere is remembered by what it came to, so
that equal groups over equal providers are not tried in every order.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import itemgetter
from typing import Final

from moorage.candidates.arrangements import Rooms, combined
from moorage.candidates.layout import Layout
from moorage.candidates.likeness import Likenesses, Standing
from moorage.candidates.matching import Matching, bits_of
from moorage.domain.refusals import SearchTooHard

DEAD_ENDS_MAX: Final = 200_000
"""Dead ends that one search remembers; past that it forgets them all, at the cost of time."""

PAUSE_STEPS: Final = 200
"""Steps without a choice after which a search pauses, so that easier trees have their turn.

Each pause comes after twice as many steps as the one before.
"""

FREE_STEPS: Final = 100
"""Steps that lead to a choice and cost nothing; a wide tree takes some three for each."""


class Effort:
    """The steps in vain that all searches of one request may take together."""

    def __init__(self, steps_max: int) -> None:
        self._steps_max = steps_max
        self._left = steps_max

    def spend(self, steps: int) -> None:
        """Count these steps.

        Raises:
            SearchTooHard: they are too many, with those before.
        """
        self._left -= steps
        if self._left < 0:
            raise SearchTooHard(self._steps_max)


class ChoiceSearch:
    """The search through one layout. Use ``choices`` once."""

    def __init__(self, layout: Layout, effort: Effort) -> None:
        self._layout = layout
        self._effort = effort
        self._order = search_order(layout)
        self._runs = last_runs(layout, self._order)
        self._places = [self._order.index(slot) for slot in range(len(self._order))]
        slots = range(len(layout.options))
        self._chosen = [-1 for _ in slots]
        self._isolated_used = 0
        self._taken = [[0] * layout.provider_count for _ in layout.rooms]
        self._roomy = roomy_for(layout)
        self._matchings = matchings_of(layout, self._chosen)
        self._matchings_of = [[m for m, who in self._matchings if slot in who] for slot in slots]
        self._subtrees_of = [
            [n for n, who in enumerate(layout.subtrees) if slot in who] for slot in slots
        ]
        self._tops: list[list[int]] = [[-1] for _ in layout.subtrees]
        self._has_top: dict[tuple[int, int, int, int], bool] = {}
        self._missing = [(1 << len(layout.together)) - 1]
        self._reach = reach_after(layout, self._order)
        self._dead: set[Hashable] = set()
        self._likenesses: Likenesses | None = None
        self._standings: list[Standing] = []

    def choices(self) -> Iterator[tuple[int, ...] | None]:
        """Every valid choice once: for each slot, in the order of the plan, its provider.

        None now and then where the search takes long: it has not ended, and may be read on.

        Raises:
            SearchTooHard: the effort is at its end.
        """
        steps, pause_steps = 0, PAUSE_STEPS
        for choice in self._steps():
            if choice is not None:
                if steps > FREE_STEPS:
                    self._effort.spend(steps - FREE_STEPS)
                yield choice
                steps = 0
                continue
            steps += 1
            if steps == pause_steps:
                self._effort.spend(steps)
                yield None
                steps, pause_steps = 0, 2 * pause_steps

    def _steps(self) -> Iterator[tuple[int, ...] | None]:
        """The choices, and None for each step that is taken between them."""
        if not all(matching.complete() for matching, _ in self._matchings):
            return
        order = self._order
        ending, endings = self._last_step()
        untried = [0] * len(order)
        fruitful = [False] * (len(order) + 1)
        failed: list[set[int]] = [set() for _ in order]
        depth = 0
        untried[0] = self._open(0)
        while depth >= 0:
            slot = order[depth]
            if not untried[depth]:
                if not fruitful[depth]:
                    self._note_dead_end(depth)
                depth -= 1
                if depth >= 0:
                    fruitful[depth] |= fruitful[depth + 1]
                    self._close(depth, failed, fruitful=fruitful[depth + 1])
                continue
            if depth == ending:
                for choice in endings():
                    fruitful[depth] = True
                    yield choice
                untried[depth] = 0
                continue
            yield None
            low = untried[depth] & -untried[depth]
            untried[depth] ^= low
            provider = low.bit_length() - 1
            known = failed[depth] and self._likeness(depth, provider) in failed[depth]
            if known or not self._place(depth, slot, provider):
                continue
            if self._is_dead_end(depth + 1):
                self._close(depth, failed, fruitful=False)
            else:
                depth += 1
                fruitful[depth] = False
                failed[depth].clear()
                untried[depth] = self._open(depth)

    def _endings(self) -> Iterator[tuple[int, ...]]:
        """The choices that the last slot completes; nobody behind it can miss out."""
        chosen, last = self._chosen, len(self._order) - 1
        slot = self._order[last]
        for provider in bits_of(self._open(last)):
            if self._keeps_rules(last, slot, provider):
                chosen[slot] = provider
                yield tuple(chosen)
                chosen[slot] = -1
                if self._layout.together:
                    self._missing.pop()

    def _last_step(self) -> tuple[int, Callable[[], Iterator[tuple[int, ...]]]]:
        """The depth from which choices are completed at once, and how."""
        layout, last = self._layout, len(self._order) - 1
        if last > 0 and layout.nested and not (layout.subtrees or layout.together):
            return self._runs[0].start, self._endings_of_runs
        return last, self._endings

    def _endings_of_runs(self) -> Iterator[tuple[int, ...]]:
        """The choices that the last runs of slots complete, in the order of single steps.

        For layouts where slots get into each other's way only by being isolated and by what they
        take.
        """
        before = tuple([self._chosen[slot] for slot in self._order[: self._runs[0].start]])
        in_order_of_slots = itemgetter(*self._places)
        for arrangement in combined([(self._rooms_of(run), len(run)) for run in self._runs]):
            yield in_order_of_slots(before + arrangement)

    def _rooms_of(self, run: range) -> Rooms:
        """Who can serve a run of slots that are alike, and how many of them each."""
        layout, slot = self._layout, self._order[run.start]
        if layout.isolate and layout.suffixed[slot]:
            return [(provider, 1) for provider in bits_of(self._open(run.start))]
        rooms = []
        for provider in bits_of(self._open(run.start)):
            count = len(run)
            for number, amount in layout.needs[slot]:
                left = layout.rooms[number][provider] - self._taken[number][provider]
                count = min(count, left // amount)
            rooms.append((provider, count))
        return rooms

    def _open(self, depth: int) -> int:
        """The providers to try for the slot at a depth: those with room for it."""
        slot = self._order[depth]
        options = self._layout.options[slot]
        for number, amount in self._layout.needs[slot]:
            options &= self._roomy[number][amount]
        if self._layout.isolate and self._layout.suffixed[slot]:
            options &= ~self._isolated_used
        return options

    def _close(self, depth: int, failed: list[set[int]], *, fruitful: bool) -> None:
        """Take back the choice at a depth, and note where one like it needs no try."""
        slot = self._order[depth]
        provider = self._chosen[slot]
        self._remove(slot, provider)
        if not fruitful:
            failed[depth].add(self._likeness(depth, provider))

    def _place(self, depth: int, slot: int, provider: int) -> bool:
        """Choose the provider for the slot, or change nothing where that leads nowhere."""
        for matching in self._matchings_of[slot]:
            if not matching.move(slot, provider):
                return False
        if not self._keeps_rules(depth, slot, provider):
            return False
        self._note(slot, provider)
        return True

    def _keeps_rules(self, depth: int, slot: int, provider: int) -> bool:
        """Whether the choice is allowed beside those before it, whoever competes for what."""
        layout = self._layout
        if not layout.nested and not self._keeps_unnested(slot, provider):
            return False
        subtrees = self._subtrees_of[slot]
        if subtrees and not self._keeps_subtrees(depth, subtrees, provider):
            return False
        # The last of all, since it notes what is missing then.
        return not layout.together or self._keeps_traits(depth, slot, provider)

    def _note(self, slot: int, provider: int) -> None:
        layout = self._layout
        self._chosen[slot] = provider
        for number, amount in layout.needs[slot]:
            self._take(number, provider, amount)
        for number in self._subtrees_of[slot]:
            tops = self._tops[number]
            tops.append(tops[-1] & layout.paths[provider])
        if layout.isolate and layout.suffixed[slot]:
            self._isolated_used |= 1 << provider
        if self._likenesses is not None:
            self._standings[provider] = self._standing(provider)

    def _remove(self, slot: int, provider: int) -> None:
        layout = self._layout
        self._chosen[slot] = -1
        for number, amount in layout.needs[slot]:
            self._take(number, provider, -amount)
        for number in self._subtrees_of[slot]:
            self._tops[number].pop()
        if layout.together:
            self._missing.pop()
        if layout.isolate and layout.suffixed[slot]:
            self._isolated_used &= ~(1 << provider)
        if self._likenesses is not None:
            self._standings[provider] = self._standing(provider)

    def _take(self, number: int, provider: int, amount: int) -> None:
        """Count units of a contended class, and for which portions there is room then."""
        self._taken[number][provider] += amount
        left = self._layout.rooms[number][provider] - self._taken[number][provider]
        roomy, bit = self._roomy[number], 1 << provider
        for portion in roomy:
            if portion <= left:
                roomy[portion] |= bit
            else:
                roomy[portion] &= ~bit

    def _keeps_unnested(self, slot: int, provider: int) -> bool:
        """Whether no other provider of the same tree gives resources, before trees were known."""
        layout = self._layout
        if not layout.gives[slot]:
            return True
        return all(
            used in (-1, provider)
            or not layout.gives[other]
            or layout.trees[used] != layout.trees[provider]
            for other, used in enumerate(self._chosen)
        )

    def _keeps_subtrees(self, depth: int, subtrees: Sequence[int], provider: int) -> bool:
        """Whether the providers that must lie below one of them still can."""
        for number in subtrees:
            above_all = self._tops[number][-1] & self._layout.paths[provider]
            placed = 1 << provider
            for slot in self._layout.subtrees[number]:
                if self._chosen[slot] >= 0:
                    placed |= 1 << self._chosen[slot]
            key = number, depth, above_all, placed & above_all
            known = self._has_top.get(key)
            if known is None:
                known = self._has_top[key] = self._find_top(depth, number, above_all, placed)
            if not known:
                return False
        return True

    def _find_top(self, depth: int, number: int, above_all: int, placed: int) -> bool:
        layout = self._layout
        pending = [s for s in self._order[depth + 1 :] if s in layout.subtrees[number]]
        reachable = placed
        for slot in pending:
            reachable |= layout.options[slot]
        for top in bits_of(above_all & reachable & ((1 << layout.provider_count) - 1)):
            below = sum(1 << p for p, path in enumerate(layout.paths) if path >> top & 1)
            if all(layout.options[slot] & below for slot in pending):
                return True
        return False

    def _keeps_traits(self, depth: int, slot: int, provider: int) -> bool:
        """Whether every trait asked of the spread slots is there, or may come with a later one.

        Notes what is missing then.
        """
        layout = self._layout
        missing = self._missing[-1]
        if slot in layout.spread:
            for trait, having in enumerate(layout.together):
                if having >> provider & 1:
                    missing &= ~(1 << trait)
        if any(not layout.together[trait] & self._reach[depth] for trait in bits_of(missing)):
            return False
        self._missing.append(missing)
        return True

    # Dead ends

    def _note_dead_end(self, depth: int) -> None:
        """Remember what led nowhere; the first time, also get ready to see it coming."""
        if self._likenesses is None:
            self._likenesses = Likenesses(self._layout, self._order)
            self._standings = [self._standing(p) for p in range(self._layout.provider_count)]
        if len(self._dead) >= DEAD_ENDS_MAX:
            self._dead.clear()
        numbers = self._likenesses.numbers(depth, self._standings)
        if numbers is not None:
            self._dead.add((depth, numbers, self._missing[-1]))

    def _is_dead_end(self, depth: int) -> bool:
        if self._likenesses is None:
            return False
        numbers = self._likenesses.numbers(depth, self._standings)
        return numbers is None or (depth, numbers, self._missing[-1]) in self._dead

    def _likeness(self, depth: int, provider: int) -> int:
        """A number that a provider shares with those that would do as well at this depth."""
        assert self._likenesses is not None
        return self._likenesses.number(depth, self._standings[provider])

    def _standing(self, provider: int) -> Standing:
        """What a provider is, and what the choices so far have left of it."""
        layout = self._layout
        assert self._likenesses is not None
        kind = self._likenesses.kinds[provider]
        left = [
            rooms[provider] - taken[provider]
            for rooms, taken in zip(layout.rooms, self._taken, strict=True)
        ]
        bound: tuple[bool, ...] = ()
        if layout.subtrees or not layout.nested:
            serving = [slot for slot, used in enumerate(self._chosen) if used == provider]
            bound = (
                not layout.nested and any(layout.gives[slot] for slot in serving),
                *(not together.isdisjoint(serving) for together in layout.subtrees),
            )
        return (kind, bool(self._isolated_used >> provider & 1), bound, *left)


def last_runs(layout: Layout, order: Sequence[int]) -> Sequence[range]:
    """The last depths in runs: within one slots are alike, and no two have providers in common."""

    def kind(slot: int) -> Hashable:
        return layout.options[slot], layout.needs[slot], layout.isolate and layout.suffixed[slot]

    runs: list[range] = []
    end, taken = len(order), 0
    while end > 0 and not layout.options[order[end - 1]] & taken:
        start = end - 1
        while start > 0 and kind(order[start - 1]) == kind(order[end - 1]):
            start -= 1
        runs.insert(0, range(start, end))
        taken |= layout.options[order[start]]
        end = start
    return runs


def search_order(layout: Layout) -> list[int]:
    """The slots with the fewest options, then with the largest portions first.

    Wrong choices show early, and what is hardest to place finds the most room. Slots with the same
    options stand together: the last few, of which each choice is another order, then have several
    orders among them. Had each of them rivals of its own before it, it would be left one provider.
    """

    def hardness(slot: int) -> tuple[int, int, int, int]:
        options = layout.options[slot]
        largest = max((amount for _, amount in layout.needs[slot]), default=0)
        return options.bit_count(), -largest, options, slot

    return sorted(range(len(layout.options)), key=hardness)


def roomy_for(layout: Layout) -> list[dict[int, int]]:
    """For each contended class and each size of portion the providers with room for one."""
    portions: list[dict[int, int]] = [{} for _ in layout.rooms]
    for needs in layout.needs:
        for number, amount in needs:
            rooms = enumerate(layout.rooms[number])
            portions[number][amount] = sum(1 << at for at, room in rooms if amount <= room)
    return portions


def matchings_of(layout: Layout, chosen: Sequence[int]) -> list[tuple[Matching, frozenset[int]]]:
    """The competitions among slots, with the slots that take part in each.

    Isolated groups compete for whole providers. For a contended class each slot needs at least
    the smallest portion: as many as fit of it is all that a provider can serve.
    """
    found = []
    suffixed = frozenset(slot for slot, has in enumerate(layout.suffixed) if has)
    if layout.isolate and len(suffixed) > 1:
        found.append((suffixed, [1] * layout.provider_count))
    for number, rooms in enumerate(layout.rooms):
        needs = {
            slot: amount
            for slot, portions in enumerate(layout.needs)
            for needed, amount in portions
            if needed == number
        }
        smallest = min(needs.values())
        takes = [max(room, 0) // smallest for room in rooms]
        if min(takes) < len(needs):
            found.append((frozenset(needs), takes))
    return [
        (Matching({slot: layout.options[slot] for slot in who}, takes, chosen), who)
        for who, takes in found
    ]


def reach_after(layout: Layout, order: Sequence[int]) -> list[int]:
    """For each depth the providers that the spread slots behind it may still choose."""
    reach = [0] * len(order)
    after = 0
    for depth in reversed(range(len(order))):
        reach[depth] = after
        if order[depth] in layout.spread:
            after |= layout.options[order[depth]]
    return reach
