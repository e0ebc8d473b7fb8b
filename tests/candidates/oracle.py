"""What the answer must be: slow, obvious, and written without a look at the search.

Candidates are plain values here: a frozenset of (provider, class, amount) and a frozenset of
(suffix, frozenset of providers), where providers are positions in the forest.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from moorage.candidates.request import CandidatesRequest, GroupPolicy, RequestGroup
from moorage.domain.ids import SHARING_TRAIT
from moorage.domain.provider import ProviderFilter
from moorage.domain.refusals import UnknownResourceClass, UnknownTraits
from tests.candidates.forest import CLASS_NAMES, TRAIT_NAMES, Node, root_of, uuid_of

Placing = tuple[tuple[str, int, int], ...]
"""One way to serve a group: (class, provider, amount); the class is empty where none is asked."""

PlainCandidate = tuple[frozenset[tuple[int, str, int]], frozenset[tuple[str, frozenset[int]]]]


class Oracle:
    """Answers for one forest."""

    def __init__(self, forest: Sequence[Node]) -> None:
        self.forest = forest
        self.everyone = range(len(forest))
        self.roots = [root_of(forest, number) for number in self.everyone]
        self.has_trees = any(node.parent is not None for node in forest)
        self.has_sharing = any(SHARING_TRAIT in node.traits for node in forest)

    # Single facts

    def fits(self, number: int, name: str, amount: int) -> bool:
        node = self.forest[number]
        stock = node.inventories.get(name)
        if stock is None:
            return False
        return (
            node.used.get(name, 0) + amount <= stock.capacity
            and stock.min_unit <= amount <= stock.max_unit
            and amount % stock.step_size == 0
        )

    def in_any(self, number: int, aggregates: frozenset[str]) -> bool:
        return bool(self.forest[number].aggregates & aggregates)

    def in_all(self, number: int, member_of: Sequence[frozenset[str]]) -> bool:
        return all(self.in_any(number, any_of) for any_of in member_of)

    def lends_to(self, number: int, anchor: int) -> bool:
        """Whether a sharing provider serves the tree of another root."""
        node = self.forest[number]
        return SHARING_TRAIT in node.traits and any(
            self.roots[other] == anchor and node.aggregates & self.forest[other].aggregates
            for other in self.everyone
        )

    def below(self, number: int, top: int) -> bool:
        parent = self.forest[number].parent
        return number == top or (parent is not None and self.below(parent, top))

    def find(self, uuid: str) -> int | None:
        return next((n for n in self.everyone if uuid_of(n) == uuid), None)

    def is_anchor(self, number: int, request: CandidatesRequest) -> bool:
        node = self.forest[number]
        return (
            node.parent is None
            and request.root_required <= node.traits
            and not request.root_forbidden & node.traits
        )

    # One group

    def placings(self, group: RequestGroup, anchor: int) -> Iterator[Placing]:
        """Every way to serve the group for the tree of one root."""
        if group.same_provider or not (self.has_trees or self.has_sharing):
            for number in self.everyone:
                if self.serves_whole(number, group, anchor):
                    yield tuple((name, number, amount) for name, amount in group.resources) or (
                        ("", number, 0),
                    )
            return
        if not group.resources:
            return
        choices = [
            [n for n in self.everyone if self.serves_part(n, group, anchor, name, amount)]
            for name, amount in group.resources
        ]
        for chosen in product(*choices):
            together = frozenset().union(*(self.forest[n].traits for n in chosen))
            if all(any_of & together for any_of in group.required_traits):
                yield tuple(
                    (name, number, amount)
                    for (name, amount), number in zip(group.resources, chosen, strict=True)
                )

    def serves_whole(self, number: int, group: RequestGroup, anchor: int) -> bool:
        node = self.forest[number]
        if self.roots[number] != anchor and not self.lends_to(number, anchor):
            return False
        if not all(any_of & node.traits for any_of in group.required_traits):
            return False
        if group.forbidden_traits & node.traits:
            return False
        if not self.in_all(number, group.member_of):
            return False
        if self.in_any(number, group.forbidden_aggregates):
            return False
        if not group.resources:
            return bool(group.required_traits or group.member_of)
        if group.in_tree and self.find(group.in_tree) is None:
            return False
        if group.in_tree and self.roots[number] != self.roots[self.find(group.in_tree) or 0]:
            return False
        return all(self.fits(number, name, amount) for name, amount in group.resources)

    def serves_part(
        self, number: int, group: RequestGroup, anchor: int, name: str, amount: int
    ) -> bool:
        if not self.fits(number, name, amount):
            return False
        if group.forbidden_traits & self.forest[number].traits:
            return False
        if self.in_any(number, group.forbidden_aggregates):
            return False
        if self.in_any(anchor, group.forbidden_aggregates):
            return False
        if group.in_tree:
            inside = self.find(group.in_tree)
            if inside is None or self.roots[inside] != anchor or self.roots[number] != anchor:
                return False
        if self.roots[number] == anchor:
            return self.in_all(number, group.member_of) or self.in_all(anchor, group.member_of)
        return self.lends_to(number, anchor) and self.in_all(number, group.member_of)

    # The whole request

    def check_names(self, request: CandidatesRequest, anchors: Sequence[int]) -> bool:
        """Raise for unknown names; False where the search ends empty before any is seen."""
        for group in request.groups:
            for name, _ in group.resources:
                if name not in CLASS_NAMES.values():
                    raise UnknownResourceClass(name)
            if group.member_of and not any(self.in_all(n, group.member_of) for n in self.everyone):
                return False
            for any_of in (*group.required_traits, group.forbidden_traits):
                check_traits(any_of)
            if group.in_tree and self.find(group.in_tree) is None:
                return False
            if not any(True for anchor in anchors for _ in self.placings(group, anchor)):
                return False
        return True

    def candidates(self, request: CandidatesRequest) -> set[PlainCandidate]:
        """Every candidate, whatever the limit."""
        check_traits(request.root_required)
        check_traits(request.root_forbidden)
        anchors = [number for number in self.everyone if self.is_anchor(number, request)]
        if not anchors or not self.check_names(request, anchors):
            return set()
        return {
            plain(request, placings)
            for anchor in anchors
            for placings in product(*(list(self.placings(g, anchor)) for g in request.groups))
            if self.is_valid(request, placings)
        }

    def is_valid(self, request: CandidatesRequest, placings: Sequence[Placing]) -> bool:
        return (
            self.fits_together(placings)
            and (request.group_policy is not GroupPolicy.ISOLATE or isolated(request, placings))
            and all(self.in_subtree(request, s, placings) for s in request.same_subtrees)
            and (request.nested or self.one_for_each_tree(placings))
        )

    def fits_together(self, placings: Sequence[Placing]) -> bool:
        for (number, name), amount in sums(placings).items():
            node = self.forest[number]
            stock = node.inventories[name]
            if amount > stock.max_unit or node.used.get(name, 0) + amount > stock.capacity:
                return False
        return True

    def in_subtree(
        self, request: CandidatesRequest, suffixes: frozenset[str], placings: Sequence[Placing]
    ) -> bool:
        used = {
            number
            for group, placing in zip(request.groups, placings, strict=True)
            if group.suffix in suffixes
            for _, number, _ in placing
        }
        return any(all(self.below(number, top) for number in used) for top in used)

    def one_for_each_tree(self, placings: Sequence[Placing]) -> bool:
        used = {number for number, _ in sums(placings)}
        return len(used) == len({self.roots[number] for number in used})

    # Beside the candidates

    def summarized(self, request: CandidatesRequest, candidates: set[PlainCandidate]) -> set[int]:
        """The providers that the summaries of these candidates are about."""
        used = {number for resources, _ in candidates for number, _, _ in resources}
        if not request.nested:
            return used
        return {n for n in self.everyone if self.roots[n] in {self.roots[u] for u in used}}

    def filtered(self, wanted: ProviderFilter) -> list[int]:
        """The providers that a listing shows."""
        found = list(self.everyone)
        if wanted.in_tree:
            inside = self.find(wanted.in_tree)
            if inside is None:
                return []
            found = [n for n in found if self.roots[n] == self.roots[inside]]
        for any_of in wanted.required_traits:
            check_traits(any_of)
        if not any(self.has_all(n, wanted.required_traits) for n in self.everyone):
            return []
        check_traits(wanted.forbidden_traits)
        if not any(self.in_all(n, wanted.member_of) for n in self.everyone):
            return []
        for name, _ in wanted.resources:
            if name not in CLASS_NAMES.values():
                raise UnknownResourceClass(name)
        return [n for n in found if self.is_wanted(n, wanted)]

    def has_all(self, number: int, required: Sequence[frozenset[str]]) -> bool:
        return all(any_of & self.forest[number].traits for any_of in required)

    def is_wanted(self, number: int, wanted: ProviderFilter) -> bool:
        return (
            (not wanted.name or wanted.name == f"node-{number}")
            and (not wanted.uuid or wanted.uuid == uuid_of(number))
            and self.has_all(number, wanted.required_traits)
            and not wanted.forbidden_traits & self.forest[number].traits
            and self.in_all(number, wanted.member_of)
            and not self.in_any(number, wanted.forbidden_aggregates)
            and all(self.fits(number, name, amount) for name, amount in wanted.resources)
        )


def check_traits(names: frozenset[str]) -> None:
    unknown = tuple(sorted(names - set(TRAIT_NAMES.values())))
    if unknown:
        raise UnknownTraits(unknown)


def sums(placings: Sequence[Placing]) -> dict[tuple[int, str], int]:
    """(provider, class) -> the amount over all groups."""
    amounts: dict[tuple[int, str], int] = {}
    for placing in placings:
        for name, number, amount in placing:
            if name:
                amounts[number, name] = amounts.get((number, name), 0) + amount
    return amounts


def isolated(request: CandidatesRequest, placings: Sequence[Placing]) -> bool:
    used = [
        placing[0][1]
        for group, placing in zip(request.groups, placings, strict=True)
        if group.same_provider
    ]
    return len(used) == len(set(used))


def plain(request: CandidatesRequest, placings: Sequence[Placing]) -> PlainCandidate:
    return (
        frozenset((number, name, amount) for (number, name), amount in sums(placings).items()),
        frozenset(
            (group.suffix, frozenset(number for _, number, _ in placing))
            for group, placing in zip(request.groups, placings, strict=True)
        ),
    )
