"""What a claim asks for: in the query language of allocation candidates, as text or structured."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Final

from msgspec import Meta, field

from moorage.api.call import Call
from moorage.api.errors import Problem
from moorage.api.query import Query, parse_query
from moorage.api.resources.allocation_candidates import parse_search
from moorage.api.v1.endpoints import Command
from moorage.api.wire import NAME_PATTERN, Amount, ClassName
from moorage.candidates.request import CandidatesRequest
from moorage.domain.ids import ProviderUuid

TREES_MAX: Final = 1_000
"""Trees that a request may name to use or to avoid."""

QUERY_CHARS_MAX: Final = 65_536
"""A request in the query language may be as long as it may be in a path."""

NAMES_MAX: Final = 255

Name = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=255)]
Uuid = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
        max_length=36,
    ),
]
Suffix = Annotated[str, Meta(pattern="^([A-Za-z0-9_-]{1,64})?$")]
Text = Annotated[str, Meta(min_length=1, max_length=QUERY_CHARS_MAX)]
Names = Annotated[tuple[Name, ...], Meta(max_length=NAMES_MAX)]
Uuids = Annotated[tuple[Uuid, ...], Meta(max_length=NAMES_MAX)]
AnyOfNames = Annotated[
    tuple[Annotated[tuple[Name, ...], Meta(min_length=1, max_length=NAMES_MAX)], ...],
    Meta(max_length=NAMES_MAX),
]
AnyOfUuids = Annotated[
    tuple[Annotated[tuple[Uuid, ...], Meta(min_length=1, max_length=NAMES_MAX)], ...],
    Meta(max_length=NAMES_MAX),
]
TreeUuids = Annotated[tuple[Uuid, ...], Meta(max_length=TREES_MAX)]


class Group(Command, frozen=True, kw_only=True):
    """One request group; at least one of each list in ``required`` and in ``member_of``."""

    resources: dict[ClassName, Amount] = field(default_factory=dict)
    required: AnyOfNames = ()
    forbidden: Names = ()
    member_of: AnyOfUuids = ()
    not_member_of: Uuids = ()
    in_tree: Uuid | None = None


class Search(Command, frozen=True, kw_only=True):
    """A request by parts: groups by suffix, the group without one under the empty name."""

    groups: Annotated[dict[Suffix, Group], Meta(min_length=1)]
    group_policy: Annotated[str, Meta(pattern="^(none|isolate)$")] | None = None
    root_required: Names = ()
    root_forbidden: Names = ()
    same_subtree: Annotated[
        tuple[Annotated[tuple[Suffix, ...], Meta(min_length=1)], ...], Meta(max_length=NAMES_MAX)
    ] = ()


class Trees(Command, frozen=True, kw_only=True):
    """Around which trees to look, each named by any of its providers.

    Sharing providers that serve them are not excluded by that.
    """

    use: TreeUuids | None = None
    avoid: TreeUuids = ()


Asked = Text | Search
"""A request as text (``resources=VCPU:1&required=HW_CPU_X86_VMX``), or by its parts."""


def search_of(call: Call, asked: str | Search, trees: Trees | None) -> CandidatesRequest:
    """The search that is asked for.

    Raises:
        Problem: it is not one that the newest microversion knows.
        LimitExceeded: it has more groups than are allowed.
    """
    query = _query_of_text(asked) if isinstance(asked, str) else Query(tuple(_pairs(asked)))
    if "limit" in query:
        raise Problem(400, "Invalid query string parameters: a claim has no limit")
    request = parse_search(query, call.contract, call.limits)
    if trees is None:
        return request
    return replace(
        request,
        trees_used=None if trees.use is None else frozenset(map(ProviderUuid, trees.use)),
        trees_avoided=frozenset(map(ProviderUuid, trees.avoid)),
    )


def _query_of_text(text: str) -> Query:
    # Queries come as bytes in latin-1 clothing; here it is text.
    return parse_query(text.encode().decode("latin-1"))


def _pairs(search: Search) -> Iterator[tuple[str, str]]:
    """The parameters that say the same, so that there is one grammar and one set of rules."""
    for suffix, group in search.groups.items():
        yield from ((f"{name}{suffix}", text) for name, text in _group_pairs(group))
    if search.group_policy is not None:
        yield "group_policy", search.group_policy
    roots = [*search.root_required, *(f"!{name}" for name in search.root_forbidden)]
    if roots:
        yield "root_required", ",".join(roots)
    for suffixes in search.same_subtree:
        yield "same_subtree", ",".join(suffixes)


def _group_pairs(group: Group) -> Iterator[tuple[str, str]]:
    if group.resources:
        yield "resources", ",".join(f"{name}:{n}" for name, n in group.resources.items())
    for names in group.required:
        yield "required", names[0] if len(names) == 1 else f"in:{','.join(names)}"
    if group.forbidden:
        yield "required", ",".join(f"!{name}" for name in group.forbidden)
    for uuids in group.member_of:
        yield "member_of", f"in:{','.join(uuids)}"
    if group.not_member_of:
        yield "member_of", f"!in:{','.join(group.not_member_of)}"
    if group.in_tree is not None:
        yield "in_tree", group.in_tree
