"""Allocation candidates: the search's grammar, and its answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from moorage.api.call import Call, Reply
from moorage.api.errors import (
    QUERY_BAD_VALUE,
    QUERY_DUPLICATE_KEY,
    QUERY_MISSING_VALUE,
    Problem,
)
from moorage.api.limits import Limits
from moorage.api.microversions.contract import Contract
from moorage.api.query import (
    Query,
    QueryJudge,
    parse_in_tree,
    parse_member_of,
    parse_query,
    parse_required,
    parse_resources,
    parse_traits,
    remembered,
)
from moorage.api.resources.candidates_text import render_answer
from moorage.api.wire import STRING, an_object
from moorage.candidates.request import CandidatesRequest, GroupPolicy, RequestGroup
from moorage.domain.refusals import LimitExceeded
from moorage.operations.find_candidates import find_candidates

_PER_GROUP: Final = ("resources", "required", "member_of", "in_tree")
_LIMIT: Final = {
    "type": ["integer", "string"],
    "pattern": "^[1-9][0-9]*$",
    "minimum": 1,
    "minLength": 1,
}
_GROUP_POLICY: Final = {"type": "string", "enum": [policy.value for policy in GroupPolicy]}
_WHOLE_LIMIT: Final = re.compile(r"[1-9][0-9]*")
_LIMIT_DIGITS_MAX: Final = 18
"""A limit of more digits is no limit: there cannot be as many candidates."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the search's query may hold: a judge, and the parameters that make up groups."""

    judge: QueryJudge
    group_parameter: re.Pattern[str]


@cache
def candidates_grammar(contract: Contract) -> Grammar:
    """The grammar of a contract."""
    per_group = [name for name in _PER_GROUP if name in contract.candidate_filters]
    suffix = contract.group_suffix
    known: dict[str, dict[str, Any]] = {"limit": _LIMIT, "group_policy": _GROUP_POLICY}
    properties = {
        name: known.get(name, STRING)
        for name in contract.candidate_filters
        if suffix is None or name not in per_group
    }
    if suffix is None:
        schema = an_object(properties, "resources")
        group_parameter = re.compile(f"({'|'.join(per_group)})()")
    else:
        schema = an_object(properties)
        schema["patternProperties"] = {f"^{name}({suffix})?$": STRING for name in per_group}
        group_parameter = re.compile(f"({'|'.join(per_group)})({suffix})?")
    return Grammar(QueryJudge(schema), group_parameter)


def parse_search(query: Query, contract: Contract, limits: Limits) -> CandidatesRequest:
    """The search that the query asks for.

    Raises:
        Problem: it asks what the contract does not know, or not in the way it should.
        LimitExceeded: it has more groups than are allowed.
    """
    grammar = candidates_grammar(contract)
    grammar.judge.check(query)
    limit = _parse_limit(query)
    policy = _parse_policy(query)
    root_required, root_forbidden = _parse_root(query)
    same_subtrees = _parse_subtrees(query)
    groups = _parse_groups(query, grammar, contract, limits)
    if contract.resourceless_groups:
        _check_subtrees(groups, same_subtrees)
    else:
        _check_orphans(groups)
    if contract.forbids_traits:
        _check_conflicts(groups)
    if policy is None and sum(group.same_provider for group in groups.values()) > 1:
        raise Problem(
            400,
            'The "group_policy" parameter is required when specifying more than one '
            '"resources{N}" parameter.',
        )
    return CandidatesRequest(
        groups=tuple(groups.values()),
        limit=limit,
        group_policy=policy,
        root_required=root_required,
        root_forbidden=root_forbidden,
        same_subtrees=same_subtrees,
        nested=contract.nested_candidates,
    )


@remembered
def read_search(query_text: str, contract: Contract, limits: Limits) -> CandidatesRequest:
    """The same from the query as it came."""
    return parse_search(parse_query(query_text), contract, limits)


def _parse_limit(query: Query) -> int | None:
    # The first of several counts here, though the schema has seen only the last.
    text = next(iter(query.every("limit")), None)
    if text is None:
        return None
    if not _WHOLE_LIMIT.fullmatch(text.rstrip("\n")):
        raise Problem(400, f"Invalid query string parameters: {text!r} is not a limit")
    return int(text) if len(text) <= _LIMIT_DIGITS_MAX else None


def _parse_policy(query: Query) -> GroupPolicy | None:
    text = next(iter(query.every("group_policy")), None)
    if text is None:
        return None
    names = [policy.value for policy in GroupPolicy]
    if text not in names:
        raise Problem(400, f"Invalid query string parameters: {text!r} is not one of {names}")
    return GroupPolicy(text)


def _parse_root(query: Query) -> tuple[frozenset[str], frozenset[str]]:
    """The traits that the root must have, and must not have."""
    values = query.every("root_required")
    if not values:
        return frozenset(), frozenset()
    if len(values) > 1:
        raise Problem(
            400,
            "Query parameter 'root_required' may be specified only once.",
            code=QUERY_DUPLICATE_KEY,
        )
    if values[0].startswith("in:"):
        _refuse_any_traits(values[0])
    asked = parse_traits(values[0], may_forbid=True)
    required = frozenset().union(*asked.required)
    if conflicts := required & asked.forbidden:
        raise Problem(
            400,
            "Conflicting required and forbidden traits found in root_required: "
            f"{', '.join(sorted(conflicts))}",
            code=QUERY_BAD_VALUE,
        )
    return required, asked.forbidden


def _refuse_any_traits(value: str) -> None:
    """Raises:
    Problem: always; a root cannot be asked for any of several traits.
    """
    # Any contract that does not know any-traits words it right.
    parse_required((value,), Contract())


def _parse_subtrees(query: Query) -> tuple[frozenset[str], ...]:
    subtrees = tuple(
        frozenset(suffix.strip() for suffix in value.split(","))
        for value in query.every("same_subtree")
    )
    if any("" in suffixes for suffixes in subtrees):
        raise Problem(
            400,
            "Empty string (unsuffixed group) can not be specified in `same_subtree` ",
            code=QUERY_BAD_VALUE,
        )
    return subtrees


def _parse_groups(
    query: Query, grammar: Grammar, contract: Contract, limits: Limits
) -> dict[str, RequestGroup]:
    """The groups by suffix, in the order in which the query first names them."""
    by_suffix: dict[str, dict[str, list[str]]] = {}
    for name, value in query.pairs:
        if match := grammar.group_parameter.fullmatch(name):
            parameters = by_suffix.setdefault(match[2] or "", {})
            parameters.setdefault(match[1], []).append(value)
    if len(by_suffix) > limits.groups_max:
        raise LimitExceeded("groups_max", limits.groups_max, len(by_suffix))
    return {
        suffix: _parse_group(suffix, parameters, contract)
        for suffix, parameters in by_suffix.items()
    }


def _parse_group(
    suffix: str, parameters: Mapping[str, list[str]], contract: Contract
) -> RequestGroup:
    for text in parameters.get("resources", ())[:-1]:
        parse_resources(text)  # only the last counts, but all of them have to be right
    resources = parameters.get("resources")
    traits = parse_required(parameters.get("required", ()), contract)
    aggregates = parse_member_of(parameters.get("member_of", ()), suffix, contract)
    trees = [parse_in_tree(text) for text in parameters.get("in_tree", ())]
    return RequestGroup(
        suffix=suffix,
        resources=tuple(parse_resources(resources[-1]).items()) if resources else (),
        required_traits=traits.required,
        forbidden_traits=traits.forbidden,
        member_of=aggregates.member_of,
        forbidden_aggregates=aggregates.forbidden,
        in_tree=trees[-1] if trees else None,
    )


def _check_subtrees(
    groups: Mapping[str, RequestGroup], same_subtrees: tuple[frozenset[str], ...]
) -> None:
    """Refuse groups without resources outside of a subtree, and subtrees of no group."""
    without = [suffix for suffix, group in groups.items() if not group.resources]
    named = frozenset().union(*same_subtrees)
    if len(without) == len(groups):
        raise Problem(
            400,
            "There must be at least one resources or resources[$S] parameter.",
            code=QUERY_MISSING_VALUE,
        )
    if bad := [suffix for suffix in without if suffix not in named]:
        raise Problem(
            400,
            "Resourceless suffixed group request should be specified in `same_subtree` query "
            f"param: bad group(s) - {bad}.",
            code=QUERY_BAD_VALUE,
        )
    if bad := sorted(named - groups.keys()):
        raise Problem(
            400,
            f"Real suffixes should be specified in `same_subtree`: {bad} not found in "
            f"{list(groups)}.",
            code=QUERY_BAD_VALUE,
        )


def _check_orphans(groups: Mapping[str, RequestGroup]) -> None:
    """Refuse groups without resources."""
    without = [group for group in groups.values() if not group.resources]
    if orphans := [f"required{one.suffix}" for one in without if one.required_traits]:
        raise Problem(
            400,
            "All traits parameters must be associated with resources.  Found the following "
            f"orphaned traits keys: {', '.join(orphans)}",
        )
    asked = [one for one in without if one.member_of or one.forbidden_aggregates]
    if orphans := [f"member_of{one.suffix}" for one in asked]:
        raise Problem(
            400,
            "All member_of parameters must be associated with resources. Found the following "
            f"orphaned member_of keys: {', '.join(orphans)}",
        )
    if without:
        raise Problem(400, "All request groups must specify resources.")
    if not groups:
        raise Problem(
            400,
            "At least one request group (`resources` or `resources{$S}`) is required.",
        )


def _check_conflicts(groups: Mapping[str, RequestGroup]) -> None:
    """Refuse groups that forbid all traits of which they require one."""
    conflicts = sorted(
        f"required{suffix}: ({', '.join(sorted(traits))})"
        for suffix, group in groups.items()
        for traits in group.required_traits
        if traits <= group.forbidden_traits
    )
    if conflicts:
        raise Problem(
            400,
            "Conflicting required and forbidden traits found in the following traits keys: "
            f"{', '.join(conflicts)}",
        )


def handle_find_candidates(call: Call) -> Reply:
    """Every way to serve the request, up to its limit."""
    request = read_search(call.query_text, call.contract, call.limits)
    answer = find_candidates(
        call.services, request, global_request_id=call.origin.global_request_id
    )
    asked = frozenset(name for group in request.groups for name, _ in group.resources)
    return Reply(200, render_answer(answer, call.contract, asked), call.modified_now())
