"""One candidate after another in an order of preference, each with the root it is built around."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.anchors import Anchors
from moorage.candidates.answer import Candidate, Form, candidate_of
from moorage.candidates.columns import IndexArray, Mask
from moorage.candidates.found import Assembly
from moorage.candidates.groups import Plan, make_plan
from moorage.candidates.request import CandidatesRequest
from moorage.candidates.search import check_names, in_turns
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ResourceClassId

LOAD_STEPS: Final = 2**20
"""Loads are told apart as finely as this; roots that are closer count as equally full."""

Rank = Callable[[IndexArray], Iterator[NDArray[np.intp]]]
"""Given roots, the places they have in an order of preference, as ``argsort`` has them; in parts,
the first ones first."""

RANKED_FIRST: Final = 1_024
RANKED_GROWTH: Final = 8
"""Roots that are put in order at first; then so many times more, as long as more are wanted."""


class Preference(Enum):
    """Which roots come first."""

    FIRST = "first"
    PACK = "pack"
    SPREAD = "spread"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate and the position of the root that it is built around."""

    root: int
    candidate: Candidate


def find_options(
    snapshot: Snapshot,
    request: CandidatesRequest,
    preference: Preference,
    random: np.random.Generator,
    *,
    within: Mask | None = None,
) -> Iterator[Option]:
    """The candidates of a request: one for each root in the order preferred, then the second ones.

    ``FIRST``: in the order of the search. ``PACK``: the fullest trees first, by what is used of
    the classes asked for in the tree itself; ``SPREAD``: the emptiest first, equally empty ones in
    random order, so that many searchers do not all choose the same. ``RANDOM``: any order.

    Args:
        within: the positions that may be anchors; None: any.
    Raises:
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
    """
    if not check_names(snapshot, request):
        return
    plan = make_plan(snapshot, request, within=within)
    if plan is None:
        return
    rank = rank_by(snapshot, request, preference, random)
    if snapshot.is_flat and len(plan.slots) == 1 and plan.slots[0].portions:
        yield from options_alone(plan, rank, lazily=preference is Preference.FIRST)
    else:
        yield from options_around(plan, rank)


def options_alone(plan: Plan, rank: Rank, *, lazily: bool) -> Iterator[Option]:
    """The options where one provider serves the one slot whole; ``lazily``: a block at a time."""
    slot, snapshot = plan.slots[0], plan.snapshot
    form = Form(
        amounts=(tuple((portion.resource_class, portion.amount) for portion in slot.portions),),
        mappings=((slot.suffix, (0,)),),
    )
    blocks = slot.own.by_block()
    nobody = np.zeros(0, dtype=np.int32)
    for found in blocks if lazily else [np.concatenate([nobody, *blocks])]:
        providers: IndexArray = found
        if plan.anchors is not None:
            providers = providers[plan.anchors[snapshot.trait_sets[providers]]]
        if plan.destinations is not None:
            providers = providers[plan.destinations[providers]]
        for places in rank(providers):
            for position in providers[places].tolist():
                yield Option(position, candidate_of(snapshot, form, (position,)))


def options_around(plan: Plan, rank: Rank) -> Iterator[Option]:
    """The options around all anchors."""
    anchors = Anchors(plan)
    assembly = Assembly(plan, anchors.lenders)
    for part in in_turns(anchors.in_order_of(rank)):
        for run in assembly.runs([part]):
            for providers in run.providers.tolist():
                yield Option(part[0].root, candidate_of(plan.snapshot, run.form, providers))


def rank_by(
    snapshot: Snapshot,
    request: CandidatesRequest,
    preference: Preference,
    random: np.random.Generator,
) -> Rank:
    """The order of roots that a preference means for a request."""
    if preference is Preference.FIRST:
        return lambda roots: iter((np.argsort(roots),))
    if preference is Preference.RANDOM:
        return lambda roots: iter((random.permutation(roots.size),))
    loads = loads_of(snapshot, {name for group in request.groups for name, _ in group.resources})

    def rank(roots: IndexArray) -> Iterator[NDArray[np.intp]]:
        steps = (loads[roots] * LOAD_STEPS).astype(np.int64)
        if preference is Preference.PACK:
            return in_ascending_order((-steps << 32) + roots)
        return in_ascending_order((steps << 32) + random.integers(2**31, size=roots.size))

    return rank


def in_ascending_order(keys: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """The places of keys as a stable ``argsort`` has them, in parts that grow.

    Who wants the first few of many does not pay for the order of the others.
    """
    places = np.arange(keys.size)
    size = RANKED_FIRST
    while keys.size > 2 * size:
        # All that are equal to the last one go with it, so that no part tears them.
        near = keys <= np.partition(keys, size - 1)[size - 1]
        yield places[near][np.argsort(keys[near], kind="stable")]
        places, keys = places[~near], keys[~near]
        size *= RANKED_GROWTH
    if keys.size:
        yield places[np.argsort(keys, kind="stable")]


def loads_of(snapshot: Snapshot, classes: set[str]) -> NDArray[np.float64]:
    """For each root how full its tree is of these classes, the mean of them, from 0 to 1.

    A class that the tree has nothing of is left out; one of which it has no capacity counts as
    full.
    """
    sums = np.zeros(len(snapshot), dtype=np.float64)
    counts = np.zeros(len(snapshot), dtype=np.int64)
    for name in sorted(classes):
        class_id = snapshot.class_ids[name]
        load = snapshot.loads.of(class_id, blocks=snapshot.blocks, roots=snapshot.roots)
        sums += load.loads
        counts += load.has
    return np.divide(sums, counts, out=sums, where=counts > 0)


def amounts_of(
    snapshot: Snapshot, class_id: ResourceClassId
) -> tuple[IndexArray, NDArray[np.float64], NDArray[np.float64]]:
    """Of each provider with the class: its root, what is used, and its capacity."""
    nobody = np.zeros(0, dtype=np.int32)
    nothing = np.zeros(0, dtype=np.float64)
    stocks = [
        (snapshot.roots[block.span][block.stocks[class_id].providers], block.stocks[class_id])
        for block in snapshot.blocks
        if class_id in block.stocks
    ]
    return (
        np.concatenate([nobody, *(roots for roots, _ in stocks)]),
        np.concatenate([nothing, *(stock.used for _, stock in stocks)]),
        np.concatenate([nothing, *(stock.capacities for _, stock in stocks)]),
    )
