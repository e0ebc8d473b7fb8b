"""What a search for allocation candidates asks for, and how it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from moorage.domain.ids import AggregateUuid, ProviderUuid


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
    tree.
    """

    groups: tuple[RequestGroup, ...]
    limit: int | None = None
    group_policy: GroupPolicy | None = None
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtrees: tuple[frozenset[str], ...] = ()
    nested: bool = True


@dataclass(frozen=True, slots=True)
class SearchRules:
    """What the operator configured: ``candidates_max`` of -1 is no limit."""

    candidates_max: int = -1
    strategy: Strategy = Strategy.DEPTH_FIRST
    randomize: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the request.

    ``allocations``: provider uuid -> class name -> units. ``mappings``: suffix -> the providers
    that serve the group.
    """

    allocations: Mapping[ProviderUuid, Mapping[str, int]]
    mappings: Mapping[str, tuple[ProviderUuid, ...]]


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider of a tree that a candidate uses: class name -> (capacity, used), in units."""

    uuid: ProviderUuid
    resources: Mapping[str, tuple[int, int]]
    traits: tuple[str, ...]
    parent_uuid: ProviderUuid | None
    root_uuid: ProviderUuid


@dataclass(frozen=True, slots=True)
class CandidatesAnswer:
    """The candidates in order, and every provider of the trees that they use."""

    candidates: Sequence[Candidate]
    summaries: Sequence[ProviderSummary]
