"""From the groups of a request to the choices of providers that a candidate has to make.

An anchor is the root of the tree that a candidate is built around. A provider serves the anchor of
its own tree; a sharing provider also the anchors of the trees in its aggregates.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moorage.candidates.columns import Mask
from moorage.candidates.eligible import Ask, Eligible
from moorage.candidates.labels import covering
from moorage.candidates.request import CandidatesRequest, GroupPolicy, RequestGroup
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ProviderUuid, ResourceClassId


@dataclass(frozen=True, slots=True)
class Portion:
    """Units of one class that are taken from one provider."""

    class_id: ResourceClassId
    resource_class: str
    amount: int


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One choice of a provider that a candidate has to make.

    A suffixed group is one slot; a group that may be spread is a slot for each of its classes.
    ``own``: who can serve it in its own tree; ``lend``: in the trees it lends to, None: nobody.
    """

    suffix: str
    portions: tuple[Portion, ...]
    own: Eligible
    lend: Eligible | None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All slots of a request, and what must hold between their providers, around any anchor.

    ``anchors``: for each set of traits whether a root with it may be an anchor; None: any may.
    ``destinations``: for each position whether it may be an anchor; None: any may.
    ``subtrees``: positions of the slots whose providers must lie below one of them.
    ``spread``: the slots whose providers must have certain traits between them; ``together``: for
    each of those traits (or choices of traits) the sets of traits that have it.
    ``contended``: classes of which one provider may be asked for several portions, with the sum
    that is asked for.
    """

    snapshot: Snapshot
    slots: tuple[Slot, ...]
    anchors: Mask | None
    destinations: Mask | None
    isolate: bool
    nested: bool
    subtrees: tuple[frozenset[int], ...]
    spread: frozenset[int]
    together: tuple[Mask, ...]
    contended: Mapping[ResourceClassId, int]


def make_plan(
    snapshot: Snapshot, request: CandidatesRequest, *, within: Mask | None = None
) -> Plan | None:
    """The plan for a request whose names exist; None where a group can be served by nobody.

    Args:
        within: the positions that may be anchors, beside what the request says; None: any.
    """
    known: dict[Ask, Eligible] = {}
    slots: list[Slot] = []
    together: list[Mask] = []
    for group in request.groups:
        made = slots_of(snapshot, group, known)
        if made is None:
            return None
        slots += made
        if not stands_alone(snapshot, group):
            labels = map(snapshot.trait_labels, group.required_traits)
            together.extend(map(snapshot.traits.having_any, labels))
    isolate = request.group_policy is GroupPolicy.ISOLATE
    return Plan(
        snapshot=snapshot,
        slots=tuple(slots),
        anchors=anchors_allowed(snapshot, request),
        destinations=destinations_allowed(snapshot, request, within),
        isolate=isolate,
        nested=request.nested,
        subtrees=tuple(
            frozenset(i for i, slot in enumerate(slots) if slot.suffix in suffixes)
            for suffixes in request.same_subtrees
        ),
        spread=frozenset(i for i, slot in enumerate(slots) if not slot.suffix),
        together=tuple(together),
        contended=contended_among(slots, isolate=isolate),
    )


def stands_alone(snapshot: Snapshot, group: RequestGroup) -> bool:
    """Whether one provider serves the whole group."""
    return group.same_provider or snapshot.is_flat


def slots_of(
    snapshot: Snapshot, group: RequestGroup, known: dict[Ask, Eligible]
) -> Sequence[Slot] | None:
    """The choices that a group leaves; None where nobody can serve it.

    Source: a group without resources matches only by required traits or aggregates, in all trees:
    Placement finds nothing for one that only forbids, and does not look at its ``in_tree``. With
    ``member_of`` a sharing provider must be in the aggregates itself; that the anchor is in them
    is not enough. A spread group that is bound to a tree gets nothing from sharing providers.
    """
    tree = None
    if group.in_tree:
        member = snapshot.positions.get(group.in_tree)
        if member is None:
            return None
        tree = int(snapshot.roots[member])
    class_ids = snapshot.class_ids
    portions = tuple([Portion(class_ids[name], name, amount) for name, amount in group.resources])
    if not stands_alone(snapshot, group):
        return [spread_slot(snapshot, group, portion, tree, known) for portion in portions] or None
    if not portions and not group.required_traits and not group.member_of:
        return None
    ask = Ask(
        portions=tuple([(portion.class_id, portion.amount) for portion in portions]),
        required=group.required_traits,
        forbidden=group.forbidden_traits,
        member_of=group.member_of,
        outcast_of=group.forbidden_aggregates,
        tree=tree if portions else None,
    )
    whole = eligible_for(snapshot, ask, known)
    return [Slot(group.suffix, portions, own=whole, lend=whole)]


def spread_slot(
    snapshot: Snapshot,
    group: RequestGroup,
    portion: Portion,
    tree: int | None,
    known: dict[Ask, Eligible],
) -> Slot:
    """The choice of who serves one class of a group that may be spread.

    Args:
        tree: the root of the only tree allowed, None: any.
    """
    lent = Ask(
        portions=((portion.class_id, portion.amount),),
        forbidden=group.forbidden_traits,
        member_of=group.member_of,
        outcast_of=group.forbidden_aggregates,
    )
    # Who asks for no aggregates asks the same of the tree as of its lenders.
    spans = bool(group.member_of or group.forbidden_aggregates)
    own = replace(lent, tree=tree, spans=spans) if spans or tree is not None else lent
    return Slot(
        group.suffix,
        (portion,),
        own=eligible_for(snapshot, own, known),
        lend=None if group.in_tree else eligible_for(snapshot, lent, known),
    )


def eligible_for(snapshot: Snapshot, ask: Ask, known: dict[Ask, Eligible]) -> Eligible:
    """The providers that satisfy an ask, looked for once for all who ask the same."""
    found = known.get(ask)
    if found is None:
        found = known[ask] = Eligible(snapshot, ask)
    return found


def anchors_allowed(snapshot: Snapshot, request: CandidatesRequest) -> Mask | None:
    """For each set of traits whether a root with it may be an anchor; None: any may."""
    if not request.root_required and not request.root_forbidden:
        return None
    required = ([label] for label in snapshot.trait_labels(request.root_required))
    table = covering(snapshot.traits, required)
    forbidden = snapshot.traits.having_any(snapshot.trait_labels(request.root_forbidden))
    return table & ~forbidden[: table.size]


def destinations_allowed(
    snapshot: Snapshot, request: CandidatesRequest, within: Mask | None = None
) -> Mask | None:
    """For each position whether it may be an anchor; None: any may."""
    allowed = within
    if request.trees_used is not None:
        used = roots_at(snapshot, request.trees_used)
        allowed = used if allowed is None else allowed & used
    if request.trees_avoided:
        others = ~roots_at(snapshot, request.trees_avoided)
        allowed = others if allowed is None else allowed & others
    return allowed


def roots_at(snapshot: Snapshot, members: Iterable[ProviderUuid]) -> Mask:
    """The roots of the trees that these providers are in; unknown ones are in none."""
    found = (snapshot.positions.get(uuid) for uuid in members)
    mask = np.zeros(len(snapshot), dtype=np.bool_)
    mask[[int(snapshot.roots[position]) for position in found if position is not None]] = True
    return mask


def contended_among(slots: Sequence[Slot], *, isolate: bool) -> dict[ResourceClassId, int]:
    """The classes of which a provider may be asked for several portions, with all that is asked."""
    if len(slots) == 1:
        return {}
    sums: dict[ResourceClassId, int] = {}
    askers: dict[ResourceClassId, set[object]] = {}
    for position, slot in enumerate(slots):
        for portion in slot.portions:
            sums[portion.class_id] = sums.get(portion.class_id, 0) + portion.amount
            # Isolated groups never meet on one provider: together they are one asker.
            asker = "isolated" if isolate and slot.suffix else position
            askers.setdefault(portion.class_id, set()).add(asker)
    return {class_id: sums[class_id] for class_id, who in askers.items() if len(who) > 1}
