"""Places for several requests at once, each beside what the others take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import Final

import numpy as np

from moorage.candidates.columns import CAPACITY_COLUMN_MAX, Mask
from moorage.candidates.options import Option, Preference, amounts_of, find_options
from moorage.candidates.request import CandidatesRequest
from moorage.candidates.rows import UsageRow
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ProviderUuid

STEPS_MIN: Final = 200
STEPS_EACH: Final = 20
"""Options that are looked at for a gang at most: so many, and so many more for each member."""


class Relation(Enum):
    """How the roots of a gang's members stand to each other."""

    NONE = "none"
    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"


@dataclass(frozen=True, slots=True)
class Gang:
    """Requests that are served together or not at all.

    ``AFFINITY``: all around one root; ``ANTI_AFFINITY``: each around another.
    """

    members: tuple[CandidatesRequest, ...]
    preference: Preference = Preference.FIRST
    relation: Relation = Relation.NONE


Placement = tuple[Option, ...]
"""An option for each member of a gang, in their order; together they fit."""


@dataclass(slots=True)
class _Search:
    gang: Gang
    random: np.random.Generator
    steps_left: int
    furthest: int = 0
    """The member that no option was left for, of those that were looked at the last one."""
    furthest_snapshot: Snapshot | None = None
    furthest_within: Mask | None = None
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """Where the search for a place for a gang came to its end.

    ``member`` found no option among the trees in ``within`` (None: all), beside what the members
    before it take in ``snapshot``. ``gave_up``: not all there is was looked at.
    """

    member: int
    snapshot: Snapshot
    within: Mask | None
    gave_up: bool


class Placements:
    """The placements of a gang on a snapshot, found while they are read.

    A member's options are taken in the order preferred, each beside what the members before it
    take; if a later one finds none, the next option is tried. That goes on for a bounded number of
    steps, so that for gangs of unlike members a place may exist that is not found.
    """

    def __init__(self, snapshot: Snapshot, gang: Gang, random: np.random.Generator) -> None:
        self._snapshot = snapshot
        steps = STEPS_MIN + STEPS_EACH * len(gang.members)
        self._search = _Search(gang, random, steps)

    def __iter__(self) -> Iterator[Placement]:
        """The placements, to be read once.

        Raises:
            UnknownResourceClass, UnknownTraits: a name in a request does not exist.
        """
        gang = self._search.gang
        if len(gang.members) == 1:
            yield from (
                (option,)
                for option in find_options(
                    self._snapshot, gang.members[0], gang.preference, self._search.random
                )
            )
            return
        within = None
        if gang.relation is Relation.AFFINITY:
            within = roomy_for_all(self._snapshot, gang.members)
        if gang.relation is Relation.ANTI_AFFINITY and self._lacks_roots():
            return
        yield from self._place((), self._snapshot, within)

    def stuck(self) -> Stuck:
        """Where it came to its end, once it was read without finding any."""
        search = self._search
        return Stuck(
            member=search.furthest,
            snapshot=search.furthest_snapshot or self._snapshot,
            within=search.furthest_within,
            gave_up=search.exhausted,
        )

    def _place(
        self, placed: Placement, snapshot: Snapshot, within: Mask | None
    ) -> Iterator[Placement]:
        search, gang = self._search, self._search.gang
        if len(placed) == len(gang.members):
            yield placed
            return
        found = False
        request = gang.members[len(placed)]
        for option in find_options(
            snapshot, request, gang.preference, search.random, within=within
        ):
            found = True
            if search.steps_left <= 0:
                search.exhausted = True
                return
            search.steps_left -= 1
            yield from self._place(
                (*placed, option),
                with_taken(snapshot, option),
                narrowed(gang.relation, len(snapshot), within, option.root),
            )
        if not found and len(placed) >= search.furthest:
            search.furthest = len(placed)
            search.furthest_snapshot, search.furthest_within = snapshot, within

    def _lacks_roots(self) -> bool:
        """Whether members that ask the same have fewer roots than they need; notes who is stuck."""
        search, gang = self._search, self._search.gang
        for request in dict.fromkeys(gang.members):
            which = [n for n, member in enumerate(gang.members) if member == request]
            options = find_options(self._snapshot, request, gang.preference, search.random)
            roots = distinct_roots(options, len(which))
            if len(roots) < len(which):
                search.furthest = which[len(roots)]
                search.furthest_within = np.ones(len(self._snapshot), dtype=np.bool_)
                search.furthest_within[list(roots)] = False
                return True
        return False


def distinct_roots(options: Iterator[Option], wanted: int) -> set[int]:
    """The roots of the first options, until there are as many as wanted or they repeat."""
    roots: set[int] = set()
    for option in islice(options, wanted):
        if option.root in roots:
            break
        roots.add(option.root)
    return roots


def narrowed(relation: Relation, size: int, within: Mask | None, root: int) -> Mask | None:
    """The positions that may still be anchors once a member is placed around this root."""
    if relation is Relation.NONE:
        return within
    if relation is Relation.AFFINITY:
        alone = np.zeros(size, dtype=np.bool_)
        alone[root] = True
        return alone
    others = np.ones(size, dtype=np.bool_) if within is None else within.copy()
    others[root] = False
    return others


def with_taken(snapshot: Snapshot, option: Option) -> Snapshot:
    """The snapshot in which the option's amounts are in use."""
    rows = []
    for uuid, amounts in option.candidate.allocations.items():
        position = snapshot.positions.get(uuid)
        assert position is not None
        resources = snapshot.resources_of(position)
        rows += [
            UsageRow(
                int(snapshot.ids[position]), snapshot.class_ids[name], resources[name][1] + amount
            )
            for name, amount in amounts.items()
        ]
    return snapshot.with_usages(rows)


def roomy_for_all(snapshot: Snapshot, requests: Sequence[CandidatesRequest]) -> Mask:
    """The roots whose trees and lenders together have room for all that these requests ask for.

    What does not even add up need not be tried, member after member, around root after root.
    """
    asked: dict[str, int] = {}
    for request in requests:
        for group in request.groups:
            for name, amount in group.resources:
                asked[name] = asked.get(name, 0) + amount
    roomy = (snapshot.parents < 0) & snapshot.alive
    lenders = snapshot.lending.sets()
    for name, amount in asked.items():
        class_id = snapshot.class_ids.get(name)
        if class_id is None:
            continue  # the search says so
        roots, used, capacity = amounts_of(snapshot, class_id)
        free = np.clip(capacity - used, 0, CAPACITY_COLUMN_MAX)
        own = np.bincount(roots, weights=free, minlength=len(snapshot))
        lent = np.array(
            [sum(_free_of(snapshot, lender, name) for lender in them) for them in lenders.lenders],
            dtype=np.float64,
        )
        roomy &= own + lent[lenders.numbers] >= amount
    return roomy


def _free_of(snapshot: Snapshot, position: int, name: str) -> int:
    capacity, used = snapshot.resources_of(position).get(name, (0, 0))
    return max(capacity - used, 0)


def find_alternates(
    snapshot: Snapshot, gang: Gang, placement: Placement, wanted: int, random: np.random.Generator
) -> tuple[tuple[Option, ...], ...]:
    """For each member at most so many other options, around other roots, one for each.

    Each fits beside what the gang takes. With anti-affinity they leave the roots of all members
    alone; with affinity the first alternates of all belong together, and so do the second ones.
    """
    if not wanted:
        return tuple(() for _ in placement)
    for option in placement:
        snapshot = with_taken(snapshot, option)
    if gang.relation is Relation.AFFINITY and len(placement) > 1:
        return _alternates_together(snapshot, gang, placement, wanted, random)
    taken = {option.root for option in placement}
    found = []
    for request, option in zip(gang.members, placement, strict=True):
        within = (snapshot.parents < 0) & snapshot.alive
        avoided = taken if gang.relation is Relation.ANTI_AFFINITY else {option.root}
        within[list(avoided)] = False
        options = find_options(snapshot, request, gang.preference, random, within=within)
        found.append(one_for_each_root(options, wanted))
    return tuple(found)


def one_for_each_root(options: Iterator[Option], wanted: int) -> tuple[Option, ...]:
    """The first options, until there are as many as wanted or their roots repeat."""
    found: dict[int, Option] = {}
    for option in islice(options, wanted):
        if option.root in found:
            break
        found[option.root] = option
    return tuple(found.values())


def _alternates_together(
    snapshot: Snapshot, gang: Gang, placement: Placement, wanted: int, random: np.random.Generator
) -> tuple[tuple[Option, ...], ...]:
    used = {placement[0].root}
    found: list[Placement] = []
    while len(found) < wanted:
        avoided = frozenset(snapshot.provider(root).uuid for root in used)
        elsewhere = Gang(
            tuple(_avoiding(request, avoided) for request in gang.members),
            gang.preference,
            gang.relation,
        )
        other = next(iter(Placements(snapshot, elsewhere, random)), None)
        if other is None:
            break
        found.append(other)
        used.add(other[0].root)
    return tuple(zip(*found, strict=True)) if found else tuple(() for _ in placement)


def _avoiding(request: CandidatesRequest, roots: frozenset[ProviderUuid]) -> CandidatesRequest:
    return replace(request, trees_avoided=request.trees_avoided | roots)
