"""Why no tree serves a request: how many roots each constraint leaves, one after the other."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from moorage.candidates.anchors import Anchors
from moorage.candidates.columns import Mask, Stock
from moorage.candidates.groups import (
    anchors_allowed,
    make_plan,
    roots_at,
    stands_alone,
)
from moorage.candidates.labels import covering
from moorage.candidates.names import check_classes, check_traits
from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.candidates.snapshot import Snapshot
from moorage.domain.explanation import Explanation, Step


def explain(
    snapshot: Snapshot, request: CandidatesRequest, *, within: Mask | None = None
) -> Explanation:
    """Apply the constraints of a request one after the other, and count what is left.

    A root is left as long as some provider of its tree, or one that lends to it, meets all
    constraints of a group so far; the last step, ``together``, is the search itself.

    Args:
        within: the positions that may be anchors, as the relation of a gang has it; None: any.
    Raises:
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
    """
    check_traits(snapshot, request.root_required | request.root_forbidden)
    for group in request.groups:
        check_classes(snapshot, (name for name, _ in group.resources))
        check_traits(snapshot, group.forbidden_traits.union(*group.required_traits))
    count = _Count(snapshot)
    total = int(count.left.sum())
    count.of_request(request, within)
    for group in request.groups:
        count.of_group(group)
    found = roots_found(snapshot, request, within)
    count.note("together", None, "all groups at once", found)
    return Explanation(total, tuple(count.steps))


def roots_found(snapshot: Snapshot, request: CandidatesRequest, within: Mask | None) -> Mask:
    """The roots around which the search finds a candidate."""
    found = np.zeros(len(snapshot), dtype=np.bool_)
    plan = make_plan(snapshot, request, within=within)
    if plan is None:
        return found
    for anchor in Anchors(plan).in_order():
        if anchor.solution.has_any():
            found[anchor.root] = True
    return found


class _Count:
    """The roots that are left, and the steps so far."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._everyone = np.arange(len(snapshot), dtype=np.int32)
        self.left = (snapshot.parents < 0) & snapshot.alive
        self.steps: list[Step] = []

    def note(self, constraint: str, group: str | None, asked: str, passing: Mask) -> None:
        """Take away the roots that do not pass."""
        before = int(self.left.sum())
        self.left &= passing
        left = int(self.left.sum())
        self.steps.append(Step(constraint, group, asked, before - left, left))

    def of_request(self, request: CandidatesRequest, within: Mask | None) -> None:
        """The constraints on the roots themselves."""
        snapshot = self._snapshot
        if within is not None:
            self.note("relation", None, "roots of the others", within)
        if request.trees_used is not None:
            allowed = roots_at(snapshot, request.trees_used)
            self.note("trees_used", None, f"{len(request.trees_used)} given", allowed)
        if request.trees_avoided:
            allowed = ~roots_at(snapshot, request.trees_avoided)
            self.note("trees_avoided", None, f"{len(request.trees_avoided)} given", allowed)
        for name, required, forbidden in (
            ("root_required", request.root_required, frozenset[str]()),
            ("root_forbidden", frozenset[str](), request.root_forbidden),
        ):
            if required or forbidden:
                part = CandidatesRequest((), root_required=required, root_forbidden=forbidden)
                table = anchors_allowed(snapshot, part)
                assert table is not None
                asked = ",".join(sorted(required | forbidden))
                self.note(name, None, asked, table[snapshot.trait_sets])

    def of_group(self, group: RequestGroup) -> None:
        """The constraints of one group, on the providers that may serve it."""
        snapshot = self._snapshot
        bound = _tree_of(snapshot, group)
        spread = not stands_alone(snapshot, group)
        useful = np.zeros_like(snapshot.alive)
        useful_lent = np.zeros_like(snapshot.alive)
        for classes in ([one] for one in group.resources) if spread else (list(group.resources),):
            own = snapshot.alive.copy()
            lent = snapshot.alive.copy()
            if bound is not None:
                own &= bound
                # A spread group that is bound to a tree gets nothing from sharing providers.
                lent = np.zeros_like(lent) if spread else lent & bound
                self.note("in_tree", group.suffix, str(group.in_tree), self._served(own, lent))
            for name, asked, passing, passing_lent in self._qualities(group, spread=spread):
                own &= passing
                lent &= passing_lent
                self.note(name, group.suffix, asked, self._served(own, lent))
            for name, asked, passing in self._amounts(classes):
                own &= passing
                lent &= passing
                self.note(name, group.suffix, asked, self._served(own, lent))
            useful |= own
            useful_lent |= lent
        if spread:
            # Any of those that serve a part of the group may have the trait.
            for asked, having in self._required(group):
                passing = self._served(useful & having, useful_lent & having)
                self.note("required", group.suffix, asked, passing)

    def _required(self, group: RequestGroup) -> Iterator[tuple[str, Mask]]:
        """For each set of traits of which one is required: its names, and who has one."""
        snapshot = self._snapshot
        for any_of in group.required_traits:
            table = covering(snapshot.traits, [snapshot.trait_labels(any_of)])
            yield ",".join(sorted(any_of)), table[snapshot.trait_sets]

    def _served(self, own: Mask, lent: Mask) -> Mask:
        """The roots with such a provider in their tree, or such a lender."""
        snapshot = self._snapshot
        served = np.zeros(len(snapshot), dtype=np.bool_)
        served[snapshot.roots[own]] = True
        if snapshot.sharing.size:
            sets = snapshot.lending.sets()
            able = np.array([bool(lent[list(them)].any()) for them in sets.lenders], dtype=np.bool_)
            served |= able[sets.numbers]
        return served

    def _qualities(
        self, group: RequestGroup, *, spread: bool
    ) -> Iterator[tuple[str, str, Mask, Mask]]:
        """Aggregates and traits: the name, what is asked, who passes in the tree, which lenders."""
        snapshot = self._snapshot
        sets, roots = snapshot.aggregate_sets, snapshot.roots
        for aggregates in group.member_of:
            table = covering(snapshot.aggregates, [snapshot.known_aggregates(aggregates)])
            members = table[sets]
            spanning = members | table[sets[roots]] if spread else members
            yield "member_of", ",".join(sorted(aggregates)), spanning, members
        if group.forbidden_aggregates:
            labels = snapshot.known_aggregates(group.forbidden_aggregates)
            table = ~snapshot.aggregates.having_any(labels)
            outside = table[sets]
            spanning = outside & table[sets[roots]] if spread else outside
            asked = ",".join(sorted(group.forbidden_aggregates))
            yield "member_of", f"!in:{asked}", spanning, outside
        if not spread:
            for asked, having in self._required(group):
                yield "required", asked, having, having
        if group.forbidden_traits:
            labels = snapshot.trait_labels(group.forbidden_traits)
            lacking = ~snapshot.traits.having_any(labels)[snapshot.trait_sets]
            asked = ",".join(f"!{name}" for name in sorted(group.forbidden_traits))
            yield "required", asked, lacking, lacking

    def _amounts(self, asked: Sequence[tuple[str, int]]) -> Iterator[tuple[str, str, Mask]]:
        """For each class: who has it, who gives it out so, who has so much, who has it free."""
        for name, amount in asked:
            words = f"{name}:{amount}"
            yield "inventory", words, self._rows(name, lambda stock: stock.providers >= 0)
            yield "units", words, self._rows(name, _gives_out(amount))
            yield "capacity", words, self._rows(name, _holds(amount))
            yield "free", words, self._rows(name, _has_free(amount))

    def _rows(self, name: str, passes: Callable[[Stock], Mask]) -> Mask:
        """The positions whose inventory of the class passes."""
        snapshot = self._snapshot
        mask = np.zeros(len(snapshot), dtype=np.bool_)
        for block in snapshot.blocks:
            stock = block.stocks.get(snapshot.class_ids[name])
            if stock is not None:
                mask[block.first + stock.providers[passes(stock)]] = True
        return mask


def _gives_out(amount: int) -> Callable[[Stock], Mask]:
    return lambda stock: (
        (stock.min_units <= amount) & (stock.max_units >= amount) & (amount % stock.step_sizes == 0)
    )


def _holds(amount: int) -> Callable[[Stock], Mask]:
    return lambda stock: stock.capacities >= amount


def _has_free(amount: int) -> Callable[[Stock], Mask]:
    return lambda stock: stock.capacities - stock.used >= amount


def _tree_of(snapshot: Snapshot, group: RequestGroup) -> Mask | None:
    """The providers of the only tree that the group may be served from; None: any may.

    To a group without resources its tree does not matter if there is such a tree, as in Placement.
    """
    if not group.in_tree:
        return None
    member = snapshot.positions.get(group.in_tree)
    if member is None:
        return np.zeros(len(snapshot), dtype=np.bool_)
    if not group.resources:
        return None
    mask: Mask = snapshot.roots == snapshot.roots[member]
    return mask
