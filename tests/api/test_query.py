"""The grammar of queries, odd corners included."""

import pytest

from moorage.api.errors import Problem
from moorage.api.limits import Limits
from moorage.api.microversions.contract import CONTRACTS, NEWEST
from moorage.api.query import (
    Query,
    parse_in_tree,
    parse_member_of,
    parse_query,
    parse_required,
    parse_resources,
)
from moorage.api.resources.allocation_candidates import parse_search
from moorage.api.resources.providers import parse_filter
from moorage.api.resources.traits import parse_trait_filter
from moorage.api.resources.usages import usage_query_judge
from moorage.candidates.request import GroupPolicy
from moorage.domain.refusals import LimitExceeded

A, B = "2f7a4b1e-6b4c-4a3e-9f6c-0d1d5b0a7a10", "aa1d3c4e-1111-4222-8333-444455556666"


def refused(call: object, *given: object) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*given)  # type: ignore[operator]
    assert caught.value.status == 400
    return caught.value


def search(text: str, version: str = "1.39") -> object:
    return parse_search(parse_query(text), CONTRACTS[version], Limits())


def test_pairs_keep_their_order_and_their_repeats() -> None:
    query = parse_query("a=1&b=2;a=3&&c&=x&d=1=2&e+f=%31+%32")
    assert query.pairs == (
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
        ("c", ""),
        ("", "x"),
        ("d", "1=2"),
        ("e f", "1 2"),
    )
    assert query.last("a") == "3"
    assert query.every("a") == ("1", "3")
    assert query.last("z") is None
    assert "c" in query


@pytest.mark.parametrize("text", ["a=%ff", "%ff=a", "a=%ed%a0%80", "a=%00", "%00=a", "a=\xff"])
def test_what_no_database_could_hold_is_refused(text: str) -> None:
    assert refused(parse_query, text).detail.startswith("Invalid query string parameters: ")


def test_queries_are_utf8() -> None:
    assert parse_query("name=%e2%98%83").last("name") == "☃"


def test_resources_are_amounts_by_class() -> None:
    assert parse_resources("VCPU:2,MEMORY_MB:1024") == {"VCPU": 2, "MEMORY_MB": 1024}
    assert parse_resources("VCPU:+1") == {"VCPU": 1}
    assert parse_resources("VCPU:1,VCPU:3") == {"VCPU": 3}
    assert parse_resources("VCPU:" + "9" * 100) == {"VCPU": int("9" * 100)}


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "Got: empty string."),
        (" ", "Got: empty string."),
        ("VCPU", "Got: VCPU."),
        ("VCPU:1,", "Got: ."),
        ("VCPU:1:2", "Got: VCPU:1:2."),
        ("VCPU:fred", "Requested resource VCPU expected positive integer amount. Got: fred."),
        ("VCPU:0", "Requested resource VCPU requires amount >= 1. Got: 0."),
        ("VCPU:-2", "Requested resource VCPU requires amount >= 1. Got: -2."),
        ("VCPU:" + "9" * 5000, "expected positive integer amount."),
    ],
)
def test_badly_formed_resources_are_refused(text: str, detail: str) -> None:
    assert detail in refused(parse_resources, text).detail


def test_traits_are_required_forbidden_and_any_of() -> None:
    asked = parse_required(("in:A,B", "C,!D", "!!E"), NEWEST)
    assert set(asked.required) == {frozenset("AB"), frozenset("C")}
    assert asked.forbidden == {"D", "E"}


def test_before_traits_may_be_any_of_only_the_last_parameter_counts() -> None:
    asked = parse_required(("A", "B"), CONTRACTS["1.38"])
    assert asked.required == (frozenset("B"),)


@pytest.mark.parametrize(
    ("version", "value", "detail"),
    [
        ("1.39", "", "of the form: HW_CPU_X86_VMX,!CUSTOM_MAGIC. Got an empty trait in: "),
        ("1.39", "A,,B", "Got an empty trait in: A,,B"),
        ("1.39", "!", "Got an empty trait in: !"),
        ("1.21", "A,", "of the form: HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: A,"),
        ("1.21", "!A", "of the form: HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: !A"),
        ("1.38", "in:A,B", "only supported since microversion 1.39. Got: in:A,B"),
        ("1.39", "in:", "of the form: in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: in:"),
        ("1.39", "in:A,!B", "does not support forbidden traits. Got: in:A,!B"),
    ],
)
def test_badly_formed_traits_are_refused(version: str, value: str, detail: str) -> None:
    problem = refused(parse_required, (value,), CONTRACTS[version])
    assert problem.detail.startswith("Invalid query string parameters: ")
    assert problem.detail.endswith(detail)


def test_aggregates_are_required_and_forbidden() -> None:
    asked = parse_member_of((f"in:{A},{B}", A, f"!{B}", f"!in:{A},{B}"), "", NEWEST)
    assert asked.member_of == (frozenset((A, B)), frozenset((A,)))
    assert asked.forbidden == {A, B}


@pytest.mark.parametrize(
    ("version", "values", "detail"),
    [
        ("1.23", (A, B), "Multiple member_of7 parameters are not supported"),
        ("1.31", (f"!{A}",), "Forbidden member_of7 parameters are not supported"),
        ("1.39", (f"{A},{B}",), "Multiple values for 'member_of' must be prefixed with the 'in:'"),
        ("1.39", (f"!{A},{B}",), "Multiple values for 'member_of' must be prefixed"),
        ("1.39", ("x",), "Expected 'member_of' parameter to contain valid UUID(s). Got: x"),
        ("1.39", (f"in:{A},!{B}",), f"contain valid UUID(s). Got: !{B}"),
    ],
)
def test_badly_formed_aggregates_are_refused(
    version: str, values: tuple[str, ...], detail: str
) -> None:
    assert detail in refused(parse_member_of, values, "7", CONTRACTS[version]).detail


def test_a_tree_is_named_by_a_uuid_of_any_spelling() -> None:
    assert parse_in_tree(f" {A} ") == A
    assert parse_in_tree(A.replace("-", "")) == A.replace("-", "")
    assert "to be a format of uuid. Got: x" in refused(parse_in_tree, "x").detail


def test_a_listing_of_providers_asks_for_everything_at_once() -> None:
    text = f"name=n&uuid={A}&in_tree={B}&member_of={A}&required=T,!F&resources=VCPU:1,DISK_GB:2"
    asked = parse_filter(parse_query(text), NEWEST)
    assert (asked.name, asked.uuid, asked.in_tree) == ("n", A, B)
    assert asked.member_of == (frozenset((A,)),)
    assert (asked.required_traits, asked.forbidden_traits) == ((frozenset("T"),), {"F"})
    assert asked.resources == (("VCPU", 1), ("DISK_GB", 2))


@pytest.mark.parametrize(
    ("version", "text", "detail"),
    [
        ("1.39", "bad_field=1", "'bad_field' was unexpected"),
        ("1.2", f"member_of={A}", "'member_of' was unexpected"),
        ("1.13", f"in_tree={A}", "'in_tree' was unexpected"),
        ("1.39", "uuid=x", "'x' is not a 'uuid'"),
        ("1.39", f"uuid={A.replace('-', '')}", "is not a 'uuid'"),
    ],
)
def test_a_listing_refuses_what_its_version_does_not_know(
    version: str, text: str, detail: str
) -> None:
    problem = refused(parse_filter, parse_query(text), CONTRACTS[version])
    assert problem.detail.startswith("Invalid query string parameters: ")
    assert detail in problem.detail


def test_a_search_has_groups_in_the_order_asked() -> None:
    request = search(
        f"resources_B=VCPU:1&resources=DISK_GB:5&required_B=T&member_of_A={A}&resources_A=VGPU:1"
        f"&in_tree_A={B}&group_policy=isolate&limit=7&root_required=X,!Y&same_subtree=_A,_B"
    )
    assert [group.suffix for group in request.groups] == ["_B", "", "_A"]
    assert request.groups[0].required_traits == (frozenset("T"),)
    assert request.groups[2].in_tree == B
    assert not request.groups[1].same_provider
    assert (request.limit, request.group_policy) == (7, GroupPolicy.ISOLATE)
    assert (request.root_required, request.root_forbidden) == ({"X"}, {"Y"})
    assert request.same_subtrees == (frozenset(("_A", "_B")),)
    assert request.nested


def test_a_repeated_group_parameter_replaces_but_all_have_to_be_right() -> None:
    assert search("resources=VCPU:1&resources=VCPU:2").groups[0].resources == (("VCPU", 2),)
    refused(search, "resources=VCPU:x&resources=VCPU:2")


@pytest.mark.parametrize(
    ("version", "text", "detail", "code"),
    [
        ("1.10", "", "'resources' is a required property", None),
        ("1.15", "resources=VCPU:1&limit=1", "'limit' was unexpected", None),
        ("1.24", "resources=VCPU:1&resources1=VCPU:1", "'resources1' was unexpected", None),
        ("1.32", "resources01=VCPU:1", "'resources01' does not match any of the regexes", None),
        (
            "1.33",
            "resources1@=VCPU:1",
            (
                "does not match any of the regexes: '^in_tree([a-zA-Z0-9_-]{1,64})?$', "
                "'^member_of([a-zA-Z0-9_-]{1,64})?$'"
            ),
            None,
        ),
        ("1.39", "resources=VCPU:1&limit=0", "Failed validating 'pattern'", None),
        ("1.39", "resources=VCPU:1&limit=x&limit=1", "'x' is not a limit", None),
        ("1.39", "resources1=VCPU:1&group_policy=bogus", "is not one of ['none', 'iso", None),
        ("1.39", "resources1=VCPU:1&group_policy=x&group_policy=none", "is not one of", None),
        (
            "1.39",
            "resources1=VCPU:1&resources2=VCPU:1",
            (
                'The "group_policy" parameter is required when specifying more than one '
                '"resources{N}" parameter.'
            ),
            None,
        ),
        ("1.25", "", "At least one request group (`resources` or `resources{$S}`) is", None),
        ("1.31", f"in_tree1={A}", "All request groups must specify resources.", None),
        ("1.25", "required=T&required1=T", "orphaned traits keys: required, required1", None),
        ("1.25", f"member_of3={A}", "orphaned member_of keys: member_of3", None),
        (
            "1.22",
            "resources=VCPU:1&required=T,!T",
            "found in the following traits keys: required: (T)",
            None,
        ),
        (
            "1.39",
            "resources=VCPU:1&root_required=T,!T",
            "Conflicting required and forbidden traits found in root_required: T",
            "placement.query.bad_value",
        ),
        (
            "1.39",
            "resources=VCPU:1&root_required=A&root_required=B",
            "Query parameter 'root_required' may be specified only once.",
            "placement.query.duplicate_key",
        ),
        ("1.39", "resources=VCPU:1&root_required=in:A", "only supported since", None),
        (
            "1.39",
            "required1=T&same_subtree=1",
            "There must be at least one resources or resources[$S] parameter.",
            "placement.query.missing_value",
        ),
        (
            "1.39",
            "resources=VCPU:1&required1=T",
            "in `same_subtree` query param: bad group(s) - ['1'].",
            "placement.query.bad_value",
        ),
        (
            "1.39",
            "resources1=VCPU:1&same_subtree=1,2",
            "Real suffixes should be specified in `same_subtree`: ['2'] not found in ['1'].",
            "placement.query.bad_value",
        ),
        (
            "1.39",
            "resources1=VCPU:1&same_subtree=1,",
            "Empty string (unsuffixed group) can not be specified in `same_subtree` ",
            "placement.query.bad_value",
        ),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    version: str, text: str, detail: str, code: str | None
) -> None:
    problem = refused(search, text, version)
    assert detail in problem.detail
    assert problem.code == (code or "placement.undefined_code")


def test_a_limit_of_too_many_digits_is_no_limit() -> None:
    assert search("resources=VCPU:1&limit=" + "9" * 5000).limit is None


def test_too_many_groups_are_refused() -> None:
    text = "&".join(f"resources{number}=VCPU:1" for number in range(1, 5))
    with pytest.raises(LimitExceeded):
        parse_search(parse_query(text + "&group_policy=none"), NEWEST, Limits(groups_max=3))


def test_candidates_are_nested_since_trees_can_serve_them() -> None:
    assert not search("resources=VCPU:1", "1.28").nested
    assert search("resources=VCPU:1", "1.29").nested


def test_traits_are_listed_by_name_prefix_or_association() -> None:
    assert parse_trait_filter(parse_query("name=in:A,B")).names == ("A", "B")
    assert parse_trait_filter(parse_query("name=startswith:CUSTOM_")).prefix == "CUSTOM_"
    assert parse_trait_filter(parse_query("associated=TRUE")).associated is True
    odd = parse_trait_filter(parse_query("name=foo:A"))
    assert (odd.names, odd.prefix, odd.associated) == (None, None, None)
    assert 'Got: "in_abc"' in refused(parse_trait_filter, parse_query("name=in_abc")).detail
    assert "only accepts" in refused(parse_trait_filter, parse_query("associated=x")).detail


def test_usages_are_of_a_project() -> None:
    judge = usage_query_judge(NEWEST)
    judge.check(parse_query("project_id=p&user_id=u&consumer_type=INSTANCE"))
    judge.check(parse_query("project_id=p&consumer_type=all"))
    for text in ("", "user_id=u", "project_id=", "project_id=" + "x" * 256):
        refused(judge.check, parse_query(text))
    problem = refused(judge.check, parse_query("project_id=p&consumer_type=instance"))
    assert "'instance' does not match" in problem.detail
    refused(usage_query_judge(CONTRACTS["1.37"]).check, parse_query("project_id=p&consumer_type=A"))


def test_an_empty_query_is_empty() -> None:
    assert parse_query("") == Query()
