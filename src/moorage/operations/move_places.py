"""Where a consumer that moves may go: the search, and what it may count as free."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from moorage.candidates.gang import one_for_each_root
from moorage.candidates.options import Option, Preference, find_options
from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.candidates.rows import UsageRow
from moorage.candidates.snapshot import Snapshot
from moorage.decoding import convertible
from moorage.domain.ids import ProviderUuid
from moorage.domain.made_claim import Placing, Resources


@convertible
@dataclass(frozen=True, slots=True)
class PlaceSearch:
    """What destinations are looked for by; ``alternates``: how many further ones are told."""

    request: CandidatesRequest
    preference: Preference = Preference.FIRST
    alternates: int = 0

    def avoiding(self, providers: Iterable[ProviderUuid]) -> "PlaceSearch":
        """The same, but around none of the trees of these providers."""
        avoided = self.request.trees_avoided.union(providers)
        return replace(self, request=replace(self.request, trees_avoided=avoided))

    def told(self) -> Mapping[str, Any]:
        """The search as JSON can hold it."""
        found: Mapping[str, Any] = msgspec.to_builtins(self)
        return found

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "PlaceSearch":
        """The search that was told so."""
        return msgspec.convert(told, cls)


def same_resources(held: Resources) -> CandidatesRequest:
    """A request for as much of each class as a consumer holds, anywhere around one root."""
    amounts: dict[str, int] = {}
    for resources in held.values():
        for name, amount in resources.items():
            amounts[name] = amounts.get(name, 0) + amount
    return CandidatesRequest((RequestGroup("", tuple(sorted(amounts.items()))),))


def seen_by_mover(snapshot: Snapshot, *, mover: Resources, hold: Resources) -> Snapshot:
    """The snapshot in which that is free what a move could claim instead of what it has.

    What the mover holds it gives up. What its hold has on a sharing provider is the mover's too.
    As much as it has there by either fits in any case, even where there is less than is in use.
    """
    sharing = set(snapshot.sharing.tolist())
    rows = []
    for uuid in dict.fromkeys((*mover, *hold)):
        position = snapshot.positions.get(uuid)
        if position is None:
            continue
        stock = snapshot.resources_of(position)
        for name in dict.fromkeys((*mover.get(uuid, {}), *hold.get(uuid, {}))):
            if name not in stock:
                continue
            capacity, used = stock[name]
            claimed = mover.get(uuid, {}).get(name, 0)
            kept = hold.get(uuid, {}).get(name, 0) if position in sharing else 0
            left = used - max(claimed, kept)
            if position in sharing:
                left = min(left, capacity - max(claimed, kept))
            rows.append(UsageRow(int(snapshot.ids[position]), snapshot.class_ids[name], left))
    return snapshot.with_usages(rows)


def find_places(
    snapshot: Snapshot, search: PlaceSearch, most: int, random: np.random.Generator
) -> list[Option]:
    """The first places on a snapshot that serve a search.

    Raises:
        UnknownResourceClass, UnknownTraits
    """
    return list(islice(find_options(snapshot, search.request, search.preference, random), most))


def find_further_places(
    snapshot: Snapshot, search: PlaceSearch, taken: Option, random: np.random.Generator
) -> tuple[Placing, ...]:
    """Places that could be taken instead of one, each around another root."""
    if not search.alternates:
        return ()
    within = (snapshot.parents < 0) & snapshot.alive
    within[taken.root] = False
    options: Iterator[Option] = find_options(
        snapshot, search.request, search.preference, random, within=within
    )
    found = one_for_each_root(options, search.alternates)
    return tuple(placing_of(option) for option in found)


def placing_of(option: Option) -> Placing:
    """An option as a claim takes it."""
    return Placing(option.candidate.allocations, option.candidate.mappings)


def providers_in(*held: Mapping[ProviderUuid, object]) -> tuple[ProviderUuid, ...]:
    """All the providers that some holdings name, each once."""
    return tuple(dict.fromkeys(uuid for one in held for uuid in one))
