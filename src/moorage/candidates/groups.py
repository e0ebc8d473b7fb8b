"""Which providers could serve each group of a request, and for which anchors.

An anchor is the root of the tree that a candidate is built around. A provider serves the anchor of
its own tree; a sharing provider also the anchors of the trees in its aggregates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moorage.candidates.columns import IndexArray, Mask, Stock, frozen
from moorage.candidates.names import check_classes, check_traits, stock_named
from moorage.candidates.request import RequestGroup
from moorage.candidates.snapshot import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """Units of one class that are taken from one provider."""

    stock: Stock
    amount: int


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One choice of a provider that a candidate has to make.

    A suffixed group is one slot; a group that may be spread is a slot for each of its classes.
    ``anchors`` and ``providers`` are the possible pairs, ordered by anchor.
    """

    suffix: str
    portions: tuple[Portion, ...]
    anchors: IndexArray
    providers: IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class GroupPlan:
    """The slots of one group, and the traits that their providers must have together.

    ``traits_together``: at least one of each set; empty where each provider was checked alone.
    """

    slots: tuple[Slot, ...]
    traits_together: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class GroupFilter:
    """What a group asks of providers beside resources, as masks over all providers.

    ``members`` are in the aggregates asked for, ``outcasts`` in a forbidden one, and ``tainted``
    have a forbidden trait; each is None where nothing is asked. ``tree`` is the root of the only
    tree allowed.
    """

    members: Mask | None
    outcasts: Mask | None
    tainted: Mask | None
    tree: int | None


def plan_group(
    snapshot: Snapshot, group: RequestGroup, anchors_allowed: Mask | None
) -> GroupPlan | None:
    """The choices that a group leaves; None where no provider at all can serve it.

    Raises:
        UnknownResourceClass, UnknownTraits: a name does not exist.

    Source: Placement looks at a group in this order and stops at the first part that nothing
    satisfies, so that names which come later are not looked at.
    """
    check_classes(snapshot, (name for name, _ in group.resources))
    members = members_of(snapshot, group)
    if members is not None and not members.any():
        return None
    for any_of in group.required_traits:
        check_traits(snapshot, any_of)
    check_traits(snapshot, group.forbidden_traits)
    tree = None
    if group.in_tree:
        member = snapshot.positions.get(group.in_tree)
        if member is None:
            return None
        tree = int(snapshot.roots[member])
    portions = portions_of(snapshot, group)
    if portions is None:
        return None
    asked = filter_of(snapshot, group, members=members, tree=tree)
    if group.same_provider or snapshot.is_flat:
        return plan_single(snapshot, group, asked, portions, anchors_allowed)
    return plan_spread(snapshot, group, asked, portions, anchors_allowed)


def filter_of(
    snapshot: Snapshot, group: RequestGroup, *, members: Mask | None, tree: int | None
) -> GroupFilter:
    """The group's filter, with masks only for what the group asks."""
    outcasts = tainted = None
    if group.forbidden_aggregates:
        outcasts = snapshot.mask_any_aggregate(group.forbidden_aggregates)
    if group.forbidden_traits:
        tainted = snapshot.mask_any_trait(group.forbidden_traits)
    return GroupFilter(members=members, outcasts=outcasts, tainted=tainted, tree=tree)


def members_of(snapshot: Snapshot, group: RequestGroup) -> Mask | None:
    """The providers that are themselves in an aggregate of each set."""
    if not group.member_of:
        return None
    mask = np.ones(len(snapshot), dtype=np.bool_)
    for any_of in group.member_of:
        mask &= snapshot.mask_any_aggregate(any_of)
    return mask


def portions_of(snapshot: Snapshot, group: RequestGroup) -> tuple[Portion, ...] | None:
    """The group's amounts beside their stocks; None where a class has no inventory anywhere."""
    portions = []
    for name, amount in group.resources:
        stock = stock_named(snapshot, name)
        if stock is None:
            return None
        portions.append(Portion(stock, amount))
    return tuple(portions)


def roomy_in_tree(snapshot: Snapshot, portion: Portion, tree: int | None) -> IndexArray:
    """The providers with room for the portion, in the one tree where one is asked for."""
    roomy = portion.stock.providers_with_room(portion.amount)
    if tree is None:
        return roomy
    inside: IndexArray = roomy[snapshot.roots[roomy] == tree]
    return inside


def plan_single(
    snapshot: Snapshot,
    group: RequestGroup,
    asked: GroupFilter,
    portions: tuple[Portion, ...],
    anchors_allowed: Mask | None,
) -> GroupPlan | None:
    """The providers that can serve the whole group alone, each with its anchors.

    Source: a group without resources matches only by required traits or aggregates, in all trees:
    Placement finds nothing for one that only forbids, and does not look at its ``in_tree``.
    """
    if not portions and not group.required_traits and asked.members is None:
        return None
    mask = np.ones(len(snapshot), dtype=np.bool_)
    for any_of in group.required_traits:
        mask &= snapshot.mask_any_trait(any_of)
    if asked.members is not None:
        mask &= asked.members
    for excluded in (asked.outcasts, asked.tainted):
        if excluded is not None:
            mask &= ~excluded
    for portion in portions:
        roomy = np.zeros(len(snapshot), dtype=np.bool_)
        roomy[roomy_in_tree(snapshot, portion, asked.tree)] = True
        mask &= roomy
    own = np.flatnonzero(mask).astype(np.int32)
    lenders = snapshot.sharing[mask[snapshot.sharing]]
    pairs = pair_up(snapshot, own, lenders)
    slot = slot_of(group.suffix, portions, *allowed(pairs, anchors_allowed))
    return GroupPlan((slot,), ()) if slot.anchors.size else None


def plan_spread(
    snapshot: Snapshot,
    group: RequestGroup,
    asked: GroupFilter,
    portions: tuple[Portion, ...],
    anchors_allowed: Mask | None,
) -> GroupPlan | None:
    """For each class apart, the providers that can serve it, each with its anchors.

    Traits are required of the chosen providers together, so they are left to the search; a
    forbidden trait bars a provider alone. A group without resources finds nothing here.
    """
    slots = []
    for portion in portions:
        roomy = roomy_in_tree(snapshot, portion, asked.tree)
        if asked.tainted is not None:
            roomy = roomy[~asked.tainted[roomy]]
        lenders = lenders_among(snapshot, roomy, asked)
        pairs = in_aggregates(pair_up(snapshot, roomy, lenders), asked)
        slots.append(slot_of(group.suffix, (portion,), *allowed(pairs, anchors_allowed)))
    plan = GroupPlan(tuple(slots), group.required_traits)
    return plan if common_anchors(snapshot, plan.slots).size else None


def lenders_among(snapshot: Snapshot, roomy: IndexArray, asked: GroupFilter) -> IndexArray:
    """The sharing providers that may serve other trees in this group.

    None where the group is bound to one tree. Source: with ``member_of`` a sharing provider must
    be in the aggregates itself; that the anchor is in them is not enough.
    """
    if asked.tree is not None:
        return snapshot.sharing[:0]
    lenders = np.intersect1d(roomy, snapshot.sharing, assume_unique=True)
    return lenders if asked.members is None else lenders[asked.members[lenders]]


def in_aggregates(
    pairs: tuple[IndexArray, IndexArray], asked: GroupFilter
) -> tuple[IndexArray, IndexArray]:
    """The pairs of which the provider or the anchor is a member, and neither is an outcast.

    A root's aggregates span its tree.
    """
    anchors, providers = pairs
    keep = np.ones(anchors.size, dtype=np.bool_)
    if asked.members is not None:
        keep &= asked.members[anchors] | asked.members[providers]
    if asked.outcasts is not None:
        keep &= ~(asked.outcasts[anchors] | asked.outcasts[providers])
    return anchors[keep], providers[keep]


def pair_up(
    snapshot: Snapshot, own: IndexArray, lenders: IndexArray
) -> tuple[IndexArray, IndexArray]:
    """Pairs of anchor and provider: each with its own root, lenders with the roots they serve."""
    anchors, providers = [snapshot.roots[own]], [own]
    for lender in lenders.tolist():
        served = snapshot.anchors_of(lender)
        anchors.append(served)
        providers.append(np.full(served.size, lender, dtype=np.int32))
    return np.concatenate(anchors), np.concatenate(providers)


def allowed(
    pairs: tuple[IndexArray, IndexArray], anchors_allowed: Mask | None
) -> tuple[IndexArray, IndexArray]:
    """The pairs with an allowed anchor."""
    anchors, providers = pairs
    if anchors_allowed is None:
        return pairs
    keep = anchors_allowed[anchors]
    return anchors[keep], providers[keep]


def slot_of(
    suffix: str, portions: tuple[Portion, ...], anchors: IndexArray, providers: IndexArray
) -> Slot:
    """A slot with its pairs put in order of the anchors."""
    order = np.argsort(anchors, kind="stable")
    return Slot(suffix, portions, frozen(anchors[order]), frozen(providers[order]))


def common_anchors(snapshot: Snapshot, slots: Sequence[Slot]) -> IndexArray:
    """The anchors, ascending, that have at least one provider for every slot."""
    if not slots:
        return np.zeros(0, dtype=np.int32)
    common = np.ones(len(snapshot), dtype=np.bool_)
    for slot in slots:
        served = np.zeros(len(snapshot), dtype=np.bool_)
        served[slot.anchors] = True
        common &= served
    return np.flatnonzero(common).astype(np.int32)
