"""Which providers a listing shows."""

from collections.abc import Sequence

import numpy as np

from moorage.candidates.columns import Mask
from moorage.candidates.names import check_classes, check_traits, stock_named
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
    mask = np.ones(len(snapshot), dtype=np.bool_)
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
    indices: Sequence[int] = np.flatnonzero(mask).tolist()
    return [i for i in indices if is_named(snapshot, i, wanted)]


def is_named(snapshot: Snapshot, index: int, wanted: ProviderFilter) -> bool:
    """Whether the provider has the name and the uuid that the filter gives."""
    if wanted.uuid and snapshot.uuids[index] != wanted.uuid:
        return False
    return not wanted.name or snapshot.names[index] == wanted.name


def has_traits(snapshot: Snapshot, wanted: ProviderFilter) -> Mask | None:
    """The providers with the required and without the forbidden traits.

    None: no provider has the required ones, whatever the forbidden names may be.
    """
    for any_of in wanted.required_traits:
        check_traits(snapshot, any_of)
    mask = np.ones(len(snapshot), dtype=np.bool_)
    for any_of in wanted.required_traits:
        mask &= snapshot.mask_any_trait(any_of)
    if wanted.required_traits and not mask.any():
        return None
    check_traits(snapshot, wanted.forbidden_traits)
    if wanted.forbidden_traits:
        mask &= ~snapshot.mask_any_trait(wanted.forbidden_traits)
    return mask


def in_aggregates(snapshot: Snapshot, wanted: ProviderFilter) -> Mask | None:
    """The providers in the aggregates and in none of the forbidden ones; None: none is in them."""
    mask = np.ones(len(snapshot), dtype=np.bool_)
    for any_of in wanted.member_of:
        mask &= snapshot.mask_any_aggregate(any_of)
    if wanted.member_of and not mask.any():
        return None
    if wanted.forbidden_aggregates:
        mask &= ~snapshot.mask_any_aggregate(wanted.forbidden_aggregates)
    return mask


def has_room(snapshot: Snapshot, wanted: ProviderFilter) -> Mask:
    """The providers that could give out each of the amounts now."""
    check_classes(snapshot, (name for name, _ in wanted.resources))
    mask = np.ones(len(snapshot), dtype=np.bool_)
    for name, amount in wanted.resources:
        roomy = np.zeros(len(snapshot), dtype=np.bool_)
        stock = stock_named(snapshot, name)
        if stock is not None:
            roomy[stock.providers_with_room(amount)] = True
        mask &= roomy
    return mask
