"""Find the candidates for a request: check names, plan the groups, search around the anchors."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from moorage.candidates.anchors import Anchor, Anchors, Batch
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
        runs = runs_around(plan, rules.strategy, random, made_max(request, rules))
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
    """The first candidates of the runs; no more are made than are needed."""
    for run in runs:
        if count is None:
            yield run
            continue
        found = run.providers.shape[0]
        yield run if found <= count else Run(run.form, run.providers[:count])
        count -= min(count, found)
        if not count:
            return


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
    return next(runs_around(plan, Strategy.DEPTH_FIRST, None, 1), None) is not None


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


def runs_around(
    plan: Plan, strategy: Strategy, random: np.random.Generator | None, wanted: int | None
) -> Iterator[Run]:
    """The candidates around all anchors; ``wanted`` of them are going to be read."""
    anchors = Anchors(plan)
    assembly = Assembly(plan, anchors.lenders)
    at_once = min(ROWS_MAX, wanted or ROWS_MAX)
    if random is not None:
        parts = random_turns(anchors.in_random_order(random), random)
        yield from runs_from(parts, assembly, at_once)
    elif strategy is Strategy.DEPTH_FIRST:
        for batch in anchors.in_batches():
            yield from runs_in_order(batch, assembly, at_once)
    else:
        yield from runs_from(in_turns(anchors.in_order()), assembly, at_once)


def runs_in_order(batch: Batch, assembly: Assembly, at_once: int) -> Iterator[Run]:
    """All candidates of an anchor, then those of the next; few anchors at first, then more."""
    first, size = 0, FEW_ANCHORS
    while first < len(batch):
        some = batch.taken(slice(first, first + size))
        few = min(FEW_CHOICES, at_once)
        found = [solution.choices(0, few) for solution in some.solutions]
        if any(len(choices) == few for choices in found):
            yield from runs_from(one_after_another(some.anchors(), at_once), assembly, at_once)
        else:
            yield from assembly.runs_of(some, found)
        first += size
        each = sum(map(len, found)) / len(found)
        size = max(FEW_ANCHORS, int(at_once / max(each, 1)))


def runs_from(parts: Iterable[Part], assembly: Assembly, at_once: int) -> Iterator[Run]:
    """The candidates of these choices."""
    waiting: list[Part] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part[2])
        if count >= at_once:
            yield from assembly.runs(waiting)
            waiting, count = [], 0
    if waiting:
        yield from assembly.runs(waiting)


def one_after_another(anchors: Iterable[Anchor], at_once: int) -> Iterator[Part]:
    """All choices of an anchor, then those of the next."""
    for anchor in anchors:
        first = 0
        while choices := anchor.solution.choices(first, at_once):
            yield anchor, first, choices
            first += len(choices)
            if len(choices) < at_once:
                break


def in_turns(anchors: Iterable[Anchor]) -> Iterator[Part]:
    """The first choice of each anchor, then the second of each that has one, and so on."""
    number = 0
    while True:
        left = []
        for anchor in anchors:
            choices = anchor.solution.choices(number, 1)
            if choices:
                yield anchor, number, choices
                left.append(anchor)
        if not left:
            return
        anchors, number = left, number + 1


def random_turns(anchors: Iterable[Anchor], random: np.random.Generator) -> Iterator[Part]:
    """A choice of each anchor, then another of each that has one, and so on."""
    number = 0
    orders: dict[int, Sequence[int]] = {}
    while True:
        left = []
        for anchor in anchors:
            which = number
            if number < SHUFFLED_MAX:
                order = orders.get(anchor.root)
                if order is None:
                    count = len(anchor.solution.choices(0, SHUFFLED_MAX))
                    order = orders[anchor.root] = random.permutation(count).tolist()
                if number >= len(order):
                    continue
                which = order[number]
            choices = anchor.solution.choices(which, 1)
            if choices:
                yield anchor, which, choices
                left.append(anchor)
        if not left:
            return
        anchors, number = left, number + 1
