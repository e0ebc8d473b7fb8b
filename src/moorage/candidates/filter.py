"""Which providers a listing shows."""

from collections.abc import Sequence

import numpy as np

from moorage.candidates.columns import Mask
from moorage.candidates.eligible import Ask, Eligible
from moorage.candidates.labels import covering
from moorage.candidates.names import check_classes, check_traits
from moorage.candidates.snapshot import Snapshot
from moorage.domain.provider import ProviderFilter


def filter_providers(snapshot: Snapshot, wanted: ProviderFilter) -> Sequence[int]:
    """The positions of the providers for which every part of the filter holds, in id order.

    An empty name, uuid or ``in_tree`` is no filter. An unknown uuid, tree or aggregate matches
    nothing.

    Raises:
        UnknownTraits, UnknownResourceClass: a name does not exist.

    Source: Placement answers at once, without a look at the names that follow, when the tree is
    unknown, when no provider has the required traits, and when none is in the aggregates.
    """
    mask = snapshot.alive.copy()
    if wanted.in_tree:
        member = snapshot.positions.get(wanted.in_tree)
        if member is None:
            return []
        mask &= snapshot.roots == snapshot.roots[member]
    for decide in (has_traits, in_aggregates):
        matching = decide(snapshot, wanted)
        if matching is None:
            return []
        mask &= matching
    mask &= has_room(snapshot, wanted)
    found = np.flatnonzero(mask)
    if wanted.uuid:
        found = found[found == snapshot.positions.get(wanted.uuid)]
    # Positions are mostly in id order, but one that was given out early may commit late.
    indices: Sequence[int] = found[np.argsort(snapshot.ids[found], kind="stable")].tolist()
    return [i for i in indices if not wanted.name or snapshot.names[i] == wanted.name]


def has_traits(snapshot: Snapshot, wanted: ProviderFilter) -> Mask | None:
    """The providers with the required and without the forbidden traits.

    None: no provider has the required ones, whatever the forbidden names may be.
    """
    for any_of in wanted.required_traits:
        check_traits(snapshot, any_of)
    mask = snapshot.alive.copy()
    if wanted.required_traits:
        table = covering(snapshot.traits, map(snapshot.trait_labels, wanted.required_traits))
        mask &= table[snapshot.trait_sets]
        if not mask.any():
            return None
    check_traits(snapshot, wanted.forbidden_traits)
    if wanted.forbidden_traits:
        tainted = snapshot.traits.having_any(snapshot.trait_labels(wanted.forbidden_traits))
        mask &= ~tainted[snapshot.trait_sets]
    return mask


def in_aggregates(snapshot: Snapshot, wanted: ProviderFilter) -> Mask | None:
    """The providers in the aggregates and in none of the forbidden ones; None: none is in them."""
    mask = snapshot.alive.copy()
    if wanted.member_of:
        table = covering(snapshot.aggregates, map(snapshot.known_aggregates, wanted.member_of))
        mask &= table[snapshot.aggregate_sets]
        if not mask.any():
            return None
    if wanted.forbidden_aggregates:
        labels = snapshot.known_aggregates(wanted.forbidden_aggregates)
        mask &= ~snapshot.aggregates.having_any(labels)[snapshot.aggregate_sets]
    return mask


def has_room(snapshot: Snapshot, wanted: ProviderFilter) -> Mask:
    """The providers that could give out each of the amounts now."""
    check_classes(snapshot, (name for name, _ in wanted.resources))
    if not wanted.resources:
        return snapshot.alive
    portions = tuple((snapshot.class_ids[name], amount) for name, amount in wanted.resources)
    return Eligible(snapshot, Ask(portions)).at(np.arange(len(snapshot), dtype=np.int32))
