"""Find the candidates for a request: check names, plan the groups, search around the anchors."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from moorage.candidates.anchors import Anchor, Anchors, Batch, Local
from moorage.candidates.answer import CandidatesAnswer, Form, Run
from moorage.candidates.found import ROWS_MAX, Assembly, Part
from moorage.candidates.groups import Plan, anchors_allowed, make_plan
from moorage.candidates.names import check_classes, check_traits
from moorage.candidates.request import (
    CandidatesRequest,
    RequestGroup,
    SearchRules,
    Strategy,
)
from moorage.candidates.snapshot import Snapshot
from moorage.domain.refusals import SearchTooHard

FEW_ANCHORS: Final = 16
FEW_CHOICES: Final = 64
"""Anchors with fewer choices than this are taken together, these many at first."""

SHUFFLED_MAX: Final = 1_024
"""Choices around one anchor that a random sample is drawn from; others follow in their order."""


def find_candidates(
    snapshot: Snapshot,
    request: CandidatesRequest,
    rules: SearchRules,
    *,
    random: np.random.Generator | None = None,
) -> CandidatesAnswer:
    """The ways to serve a request, each one once, and the providers around them.

    At most ``request.limit`` and ``rules.candidates_max`` candidates, found while they are read:
    anchor after anchor (depth first), or one from each anchor in turn (breadth first). A
    ``candidates_max`` of 0 counts as 1, as in Placement.

    With ``rules.randomize`` and ``random`` numbers a random sample, one candidate from each anchor
    in turn: every order of the anchors is equally likely, and around each anchor every order of its
    first ``SHUFFLED_MAX`` choices. (Not every candidate: one of an anchor with few choices is
    likelier than one of an anchor with many.)

    Raises:
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
    """
    if not check_names(snapshot, request):
        return CandidatesAnswer(snapshot)
    plan = make_plan(snapshot, request)
    if plan is None:
        return CandidatesAnswer(snapshot)
    if not rules.randomize:
        random = None
    if snapshot.is_flat and len(plan.slots) == 1 and plan.slots[0].portions:
        runs = runs_alone(plan, random)
    else:
        runs = runs_around(plan, rules, random, made_max(request, rules))
    return CandidatesAnswer(
        snapshot, first_of(runs, made_max(request, rules)), nested=request.nested
    )


def made_max(request: CandidatesRequest, rules: SearchRules) -> int | None:
    """How many candidates are made; None is all of them."""
    limits = []
    if rules.candidates_max >= 0:
        limits.append(max(rules.candidates_max, 1))
    if request.limit is not None:
        limits.append(request.limit)
    return min(limits, default=None)


def first_of(runs: Iterable[Run], count: int | None) -> Iterator[Run]:
    """The first candidates of the runs; no more are made than are needed.

    Where to find so many would cost too much, those that were found are all, if there are some:
    a count is a bound, and each of them is right.

    Raises:
        SearchTooHard: that all were found, or that there are none, cannot be said.
    """
    left = count
    try:
        for run in runs:
            if left is None:
                yield run
                continue
            found = run.providers.shape[0]
            yield run if found <= left else Run(run.form, run.providers[:left])
            left -= min(left, found)
            if not left:
                return
    except SearchTooHard:
        if left is None or left == count:
            raise


# Names


def check_names(snapshot: Snapshot, request: CandidatesRequest) -> bool:
    """Refuse unknown names; False where the search ends empty before it comes to any.

    Source: Placement looks at the roots, then at group after group, and within one at classes,
    aggregates, traits and tree, and stops where nothing is left: what comes after is never seen.

    Raises:
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
    """
    check_traits(snapshot, request.root_required)
    check_traits(snapshot, request.root_forbidden)
    if all(knows_names(snapshot, group) for group in request.groups):
        return True
    table = anchors_allowed(snapshot, request)
    roots = (snapshot.parents < 0) & snapshot.alive
    if table is not None and not (table[snapshot.trait_sets] & roots).any():
        return False
    for group in request.groups:
        check_classes(snapshot, (name for name, _ in group.resources))
        if group.member_of and not has_member(snapshot, group):
            return False
        for any_of in group.required_traits:
            check_traits(snapshot, any_of)
        check_traits(snapshot, group.forbidden_traits)
        if not can_serve(snapshot, request, group):
            return False
    raise AssertionError("an unknown name was not found again")


def knows_names(snapshot: Snapshot, group: RequestGroup) -> bool:
    """Whether all names in a group exist."""
    traits = group.forbidden_traits.union(*group.required_traits)
    return all(name in snapshot.class_ids for name, _ in group.resources) and all(
        name in snapshot.trait_ids for name in traits
    )


def has_member(snapshot: Snapshot, group: RequestGroup) -> bool:
    """Whether a provider is in an aggregate of each of the group's sets."""
    asked = RequestGroup("_", member_of=group.member_of)
    plan = make_plan(snapshot, CandidatesRequest((asked,)))
    return plan is not None and any(found.size for found in plan.slots[0].own.by_block())


def can_serve(snapshot: Snapshot, request: CandidatesRequest, group: RequestGroup) -> bool:
    """Whether the group has a candidate of its own around an anchor that may be one."""
    alone = replace(
        request, groups=(group,), group_policy=None, same_subtrees=(), nested=True, limit=1
    )
    plan = make_plan(snapshot, alone)
    if plan is None:
        return False
    return next(runs_around(plan, SearchRules(), None, 1), None) is not None


# One group, and every provider stands alone


def runs_alone(plan: Plan, random: np.random.Generator | None) -> Iterator[Run]:
    """A candidate for each provider that serves the one slot whole."""
    slot = plan.slots[0]
    form = Form(
        amounts=(tuple((p.resource_class, p.amount) for p in slot.portions),),
        mappings=((slot.suffix, (0,)),),
    )
    found: Iterable[Any] = slot.own.by_block()
    if random is not None:
        found = [random.permutation(np.concatenate([*found, np.zeros(0, dtype=np.int32)]))]
    for providers in found:
        if plan.anchors is not None:
            providers = providers[plan.anchors[plan.snapshot.trait_sets[providers]]]  # noqa: PLW2901
        if plan.destinations is not None:
            providers = providers[plan.destinations[providers]]  # noqa: PLW2901
        if providers.size:
            yield Run(form, providers.reshape(-1, 1))


# Trees and sharing providers


Place = tuple[Anchor, int]
"""An anchor, and the number of its choice that comes next."""


def runs_around(
    plan: Plan, rules: SearchRules, random: np.random.Generator | None, wanted: int | None
) -> Iterator[Run]:
    """The candidates around all anchors; ``wanted`` of them are going to be read."""
    anchors = Anchors(plan, rules.steps_max)
    assembly = Assembly(plan, anchors.lenders)
    at_once = min(ROWS_MAX, wanted or ROWS_MAX)
    if random is not None:
        parts = random_turns(anchors.in_random_order(random), random)
        yield from runs_from(parts, assembly, at_once)
    elif rules.strategy is Strategy.DEPTH_FIRST:
        hard: list[Place] = []
        for batch in anchors.in_batches():
            yield from runs_in_order(batch, assembly, at_once, hard)
        while hard:
            places, hard = hard, []
            yield from runs_from(one_after_another(places, at_once, hard), assembly, at_once)
    else:
        yield from runs_from(in_turns(anchors.in_order()), assembly, at_once)


def runs_in_order(
    batch: Batch, assembly: Assembly, at_once: int, hard: list[Place]
) -> Iterator[Run]:
    """All candidates of an anchor, then those of the next; few anchors at first, then more.

    Args:
        hard: gets the anchors that take long, and how far they have come.
    """
    few = min(FEW_CHOICES, at_once)

    def look(some: Batch) -> tuple[list[Sequence[Local]], int]:
        """The first choices of these anchors, and how many of their like make one round."""
        found = [solution.choices(0, few) for solution in some.solutions]
        each = sum(map(len, found)) / len(found)
        return found, max(FEW_ANCHORS, int(at_once / max(each, 1)))

    first, size = 0, FEW_ANCHORS
    if len(batch.solutions) <= FEW_ANCHORS:
        _, size = look(batch)
    while first < len(batch):
        some = batch.taken(slice(first, first + size))
        found, next_size = look(some)
        tired = {
            solution
            for solution, choices in zip(some.solutions, found, strict=True)
            if len(choices) < few and solution.is_open
        }
        if tired or any(len(choices) == few for choices in found):
            hard += [(anchor, 0) for anchor in some.anchors() if anchor.solution in tired]
            fresh = ((anchor, 0) for anchor in some.anchors() if anchor.solution not in tired)
            yield from runs_from(one_after_another(fresh, at_once, hard), assembly, at_once)
        else:
            yield from assembly.runs_of(some, found)
        first, size = first + size, next_size


def runs_from(parts: Iterable[Part], assembly: Assembly, at_once: int) -> Iterator[Run]:
    """The candidates of these choices."""
    waiting: list[Part] = []
    count = 0
    try:
        for part in parts:
            waiting.append(part)
            count += len(part[2])
            if count >= at_once:
                yield from assembly.runs(waiting)
                waiting, count = [], 0
    except SearchTooHard:
        if waiting:
            yield from assembly.runs(waiting)
        raise
    if waiting:
        yield from assembly.runs(waiting)


def one_after_another(places: Iterable[Place], at_once: int, hard: list[Place]) -> Iterator[Part]:
    """All choices of an anchor, then those of the next; ``hard`` gets those that take long."""
    for anchor, first in places:
        while choices := anchor.solution.choices(first, at_once):
            yield anchor, first, choices
            first += len(choices)  # noqa: PLW2901
            if len(choices) < at_once:
                break
        if anchor.solution.is_open:
            hard.append((anchor, first))


def in_turns(anchors: Iterable[Anchor]) -> Iterator[Part]:
    """The first choice of each anchor, then the second of each that has one, and so on.

    One that takes long is put off until the others have no more.
    """
    places: Iterable[Place] = ((anchor, 0) for anchor in anchors)
    hard: list[Place] = []
    while True:
        left = []
        for anchor, number in places:
            choices = anchor.solution.choices(number, 1)
            if choices:
                yield anchor, number, choices
                left.append((anchor, number + 1))
            elif anchor.solution.is_open:
                hard.append((anchor, number))
        if not left:
            left, hard = hard, []
        if not left:
            return
        places = left


def random_turns(anchors: Iterable[Anchor], random: np.random.Generator) -> Iterator[Part]:
    """A choice of each anchor, then another of each that has one, and so on.

    One that takes long is put off until the others have no more.
    """
    orders: dict[int, Sequence[int]] = {}
    places: Iterable[Place] = ((anchor, 0) for anchor in anchors)
    hard: list[Place] = []
    while True:
        left = []
        for anchor, number in places:
            which = chosen_at_random(anchor, number, orders, random)
            choices = () if which is None else anchor.solution.choices(which, 1)
            if which is not None and choices:
                yield anchor, which, choices
                left.append((anchor, number + 1))
            elif anchor.solution.is_open:
                hard.append((anchor, number))
        if not left:
            left, hard = hard, []
        if not left:
            return
        places = left


def chosen_at_random(
    anchor: Anchor, number: int, orders: dict[int, Sequence[int]], random: np.random.Generator
) -> int | None:
    """Which choice of an anchor comes at a number; None while its first ones are not all known."""
    order = orders.get(anchor.root)
    if order is None:
        some = anchor.solution.choices(0, SHUFFLED_MAX)
        if len(some) < SHUFFLED_MAX and anchor.solution.is_open:
            return None
        order = orders[anchor.root] = random.permutation(len(some)).tolist()
    return order[number] if number < len(order) else number
