"""Find the candidates for a request: plan the groups, search around the anchors, sum up."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from itertools import islice
from typing import Any

import numpy as np

from moorage.candidates.answer import CandidatesAnswer, Form, Run
from moorage.candidates.columns import IndexArray, Mask
from moorage.candidates.groups import GroupPlan, Slot, common_anchors, plan_group
from moorage.candidates.names import check_traits
from moorage.candidates.request import (
    CandidatesRequest,
    GroupPolicy,
    SearchRules,
    Strategy,
)
from moorage.candidates.snapshot import Snapshot
from moorage.candidates.tree import AnchorSearch, Choice, SearchPlan
from moorage.domain.refusals import UnknownResourceClass, UnknownTraits

Shuffle = Callable[[MutableSequence[Any]], None]
"""Puts a sequence in random order in place, as ``random.shuffle`` does."""


def find_candidates(
    snapshot: Snapshot,
    request: CandidatesRequest,
    rules: SearchRules,
    *,
    shuffle: Shuffle | None = None,
) -> CandidatesAnswer:
    """The ways to serve a request, each one once, and the providers around them.

    At most ``request.limit`` and ``rules.candidates_max`` candidates, in the order of the roots;
    with ``rules.randomize`` and a ``shuffle`` a random sample in random order. Only as many are
    made as are needed. A ``candidates_max`` of 0 counts as 1, as in Placement.

    Raises:
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
    """
    check_traits(snapshot, request.root_required)
    check_traits(snapshot, request.root_forbidden)
    anchors_allowed = allowed_anchors(snapshot, request)
    if anchors_allowed is not None and not anchors_allowed.any():
        return CandidatesAnswer(snapshot)
    plans = plan_groups(snapshot, request, anchors_allowed)
    if plans is None:
        return CandidatesAnswer(snapshot)
    if snapshot.is_flat and len(plans) == 1 and plans[0].slots[0].portions:
        return answer_flat(snapshot, plans[0].slots[0], request, rules, shuffle)
    found = unique_candidates(snapshot, search_plan(snapshot, request, plans), rules.strategy)
    runs: Iterable[Run] = islice(found, made_max(request, rules, shuffle))
    if rules.randomize and shuffle is not None:
        sample = list(runs)
        shuffle(sample)
        runs = sample[: request.limit]
    return CandidatesAnswer(snapshot, runs, nested=request.nested)


def made_max(request: CandidatesRequest, rules: SearchRules, shuffle: Shuffle | None) -> int | None:
    """How many candidates have to be made; None is all of them."""
    limits = []
    if rules.candidates_max >= 0:
        limits.append(max(rules.candidates_max, 1))
    # A random sample is drawn from all candidates, so the limit comes after.
    if request.limit is not None and not (rules.randomize and shuffle is not None):
        limits.append(request.limit)
    return min(limits, default=None)


def allowed_anchors(snapshot: Snapshot, request: CandidatesRequest) -> Mask | None:
    """The roots with the traits that the request asks of roots; None: it asks for none."""
    if not request.root_required and not request.root_forbidden:
        return None
    mask: Mask = snapshot.parents < 0
    for name in request.root_required:
        mask &= snapshot.mask_any_trait([name])
    mask &= ~snapshot.mask_any_trait(request.root_forbidden)
    return mask


def plan_groups(
    snapshot: Snapshot, request: CandidatesRequest, anchors_allowed: Mask | None
) -> Sequence[GroupPlan] | None:
    """A plan for each group; None where one of them cannot be served whatever the others ask.

    Source: Placement searches group after group, so that an unknown name in a group that follows
    an unservable one is never seen.
    """
    plans: list[GroupPlan] = []
    for group in request.groups:
        try:
            plan = plan_group(snapshot, group, anchors_allowed)
        except (UnknownResourceClass, UnknownTraits):
            if all(can_serve(snapshot, earlier) for earlier in plans):
                raise
            return None
        if plan is None:
            return None
        plans.append(plan)
    return plans


def can_serve(snapshot: Snapshot, plan: GroupPlan) -> bool:
    """Whether the group has a candidate of its own, also by its traits taken together."""
    if not plan.traits_together:
        return True
    alone = search_plan(snapshot, CandidatesRequest(groups=()), [plan])
    return next(unique_candidates(snapshot, alone, Strategy.DEPTH_FIRST), None) is not None


def search_plan(
    snapshot: Snapshot, request: CandidatesRequest, plans: Sequence[GroupPlan]
) -> SearchPlan:
    """The slots of all groups, and what their providers must keep between them."""
    slots = tuple(slot for plan in plans for slot in plan.slots)
    classes = [portion.stock.resource_class for slot in slots for portion in slot.portions]
    return SearchPlan(
        snapshot=snapshot,
        slots=slots,
        isolate=request.group_policy is GroupPolicy.ISOLATE,
        nested=request.nested,
        subtrees=tuple(
            frozenset(i for i, slot in enumerate(slots) if slot.suffix in suffixes)
            for suffixes in request.same_subtrees
        ),
        spread=frozenset(i for i, slot in enumerate(slots) if not slot.suffix),
        traits_together=tuple(
            snapshot.mask_any_trait(any_of) for plan in plans for any_of in plan.traits_together
        ),
        contended=frozenset(name for name in classes if classes.count(name) > 1),
    )


def unique_candidates(snapshot: Snapshot, plan: SearchPlan, strategy: Strategy) -> Iterator[Run]:
    """Every candidate once, made when it is asked for."""
    lenders = frozenset(snapshot.sharing.tolist())
    seen: set[tuple[tuple[int, int], ...]] = set()
    for choice in choices_of(snapshot, plan, strategy):
        # Around two anchors the same choice is found only if all its providers are shared.
        if lenders and lenders.issuperset(choice.values()):
            key = tuple(sorted(choice.items()))
            if key in seen:
                continue
            seen.add(key)
        yield run_of(plan.slots, choice)


def choices_of(snapshot: Snapshot, plan: SearchPlan, strategy: Strategy) -> Iterator[Choice]:
    """The choices around each anchor: anchor after anchor, or one from each in turn."""
    anchors = common_anchors(snapshot, plan.slots)
    around = (AnchorSearch(plan, o).choices() for o in options_around(plan.slots, anchors))
    if strategy is Strategy.DEPTH_FIRST:
        for choices in around:
            yield from choices
        return
    waiting: deque[Iterator[Choice]] = deque()
    for choices in around:
        yield from turn(choices, waiting)
    while waiting:
        yield from turn(waiting.popleft(), waiting)


def turn(choices: Iterator[Choice], waiting: deque[Iterator[Choice]]) -> Iterator[Choice]:
    """One choice, after which the rest has to wait for its next turn."""
    for choice in choices:
        yield choice
        waiting.append(choices)
        return


def options_around(slots: Sequence[Slot], anchors: IndexArray) -> Iterator[Sequence[Sequence[int]]]:
    """For each anchor in turn: the providers that each slot may choose from."""
    bounds = [
        (
            slot.providers,
            np.searchsorted(slot.anchors, anchors, side="left").tolist(),
            np.searchsorted(slot.anchors, anchors, side="right").tolist(),
        )
        for slot in slots
    ]
    for i in range(anchors.size):
        yield [providers[first[i] : end[i]].tolist() for providers, first, end in bounds]


def run_of(slots: Sequence[Slot], choice: Choice) -> Run:
    """The candidate that a choice of providers stands for, amounts summed up."""
    amounts: dict[int, dict[str, int]] = {}
    places: dict[str, set[int]] = {}
    for position, slot in enumerate(slots):
        held = amounts.setdefault(choice[position], {})
        places.setdefault(slot.suffix, set()).add(choice[position])
        for portion in slot.portions:
            name = portion.stock.resource_class
            held[name] = held.get(name, 0) + portion.amount
    place_of = {provider: place for place, provider in enumerate(amounts)}
    form = Form(
        amounts=tuple(tuple(held.items()) for held in amounts.values()),
        mappings=tuple(
            (suffix, tuple(place_of[provider] for provider in sorted(serving)))
            for suffix, serving in places.items()
        ),
    )
    return Run(form, np.array([list(amounts)], dtype=np.int32))


def answer_flat(
    snapshot: Snapshot,
    slot: Slot,
    request: CandidatesRequest,
    rules: SearchRules,
    shuffle: Shuffle | None,
) -> CandidatesAnswer:
    """The answer where each provider is a tree of its own and there is one group."""
    providers = slot.providers[: made_max(request, rules, shuffle)]
    if rules.randomize and shuffle is not None:
        order: list[int] = providers.tolist()
        shuffle(order)
        providers = np.array(order[: request.limit], dtype=np.int32)
    form = Form(
        amounts=(tuple((p.stock.resource_class, p.amount) for p in slot.portions),),
        mappings=((slot.suffix, (0,)),),
    )
    run = Run(form, providers.reshape(-1, 1))
    return CandidatesAnswer(snapshot, [run], nested=request.nested)
