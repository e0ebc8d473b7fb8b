"""What a search for allocation candidates asks for."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from moorage.domain.ids import AggregateUuid, ProviderUuid

STEPS_MAX: Final = 50_000
"""Steps of search that one request may take in vain, of some twenty microseconds each.

Packing is NP-hard: for some requests any number of steps would not be enough.
"""


class GroupPolicy(Enum):
    """Whether suffixed groups may be served by one provider together."""

    NONE = "none"
    ISOLATE = "isolate"


class Strategy(Enum):
    """The order in which roots are visited while candidates are made."""

    DEPTH_FIRST = "depth-first"
    BREADTH_FIRST = "breadth-first"


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """One group of the request.

    The group without a suffix may be spread over a tree and its sharing providers; each suffixed
    group is served by one provider. ``resources``: units by class name, in the order asked.
    ``required_traits`` and ``member_of``: at least one of each set.
    """

    suffix: str
    resources: tuple[tuple[str, int], ...] = ()
    required_traits: tuple[frozenset[str], ...] = ()
    forbidden_traits: frozenset[str] = frozenset()
    member_of: tuple[frozenset[AggregateUuid], ...] = ()
    forbidden_aggregates: frozenset[AggregateUuid] = frozenset()
    in_tree: ProviderUuid | None = None

    @property
    def same_provider(self) -> bool:
        return bool(self.suffix)


@dataclass(frozen=True, slots=True)
class CandidatesRequest:
    """A whole request: its groups in the order asked, and what applies to all of them.

    ``nested``: False before microversion 1.29, where no candidate may use two providers of one
    tree. ``trees_used``: only around the roots of these providers' trees, None: around any;
    ``trees_avoided``: around none of these. Both leave the sharing providers that serve a root
    alone, which the ``in_tree`` of a group does not.
    """

    groups: tuple[RequestGroup, ...]
    limit: int | None = None
    group_policy: GroupPolicy | None = None
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtrees: tuple[frozenset[str], ...] = ()
    nested: bool = True
    trees_used: frozenset[ProviderUuid] | None = None
    trees_avoided: frozenset[ProviderUuid] = frozenset()


@dataclass(frozen=True, slots=True)
class SearchRules:
    """What the operator configured: ``candidates_max`` of -1 is no limit.

    ``steps_max``: steps of one search that lead to no candidate.
    """

    candidates_max: int = -1
    steps_max: int = STEPS_MAX
    strategy: Strategy = Strategy.DEPTH_FIRST
    randomize: bool = False
