"""Bodies: the decoder never takes what the schema refuses, and what it refuses is explained."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.api.bodies import BodyParser, load_json
from moorage.api.errors import Problem
from moorage.api.judge import BODY_FORMATS, Judge, is_uuid_like
from moorage.api.limits import BODY_DEPTH_MAX, EXPLAINED_BODY_BYTES_MAX
from moorage.api.microversions.contract import CONTRACTS, NEWEST
from moorage.api.resources.aggregates import aggregates_parser
from moorage.api.resources.allocations import claim_parser, claims_parser, to_claim
from moorage.api.resources.inventories import INVENTORY_CHANGE, INVENTORY_SET, NEW_INVENTORY
from moorage.api.resources.providers import new_provider_parser, provider_change_parser
from moorage.api.resources.reshaper import parse_reshape, reshape_parser
from moorage.api.resources.resource_classes import NAMED_CLASS
from moorage.api.resources.traits import TRAIT_SET

P, Q = "5e08ea53-c4c6-448e-9334-ac4953de3cfa", "42a32c07-3eeb-4401-9373-68a8cdca6784"


def all_parsers() -> Iterator[tuple[str, BodyParser[Any]]]:
    yield "set_inventories", INVENTORY_SET
    yield "update_inventory", INVENTORY_CHANGE
    yield "add_inventory", NEW_INVENTORY
    yield "set_provider_traits", TRAIT_SET
    yield "resource_class", NAMED_CLASS
    for version, contract in CONTRACTS.items():
        for name, parser in (
            ("create_provider", new_provider_parser),
            ("update_provider", provider_change_parser),
            ("set_aggregates", aggregates_parser),
            ("claim", claim_parser),
            ("claim_many", claims_parser),
            ("reshape", reshape_parser),
        ):
            if name in contract.routes:
                yield f"{name}-{version}", parser(contract)


PARSERS = dict(all_parsers())

# Bricks that good bodies are made of, beside others that look much like them.
NAMES = st.sampled_from(
    [
        *("allocations", "resources", "resource_provider", "uuid", "generation", "project_id"),
        *("user_id", "consumer_generation", "consumer_type", "mappings", "inventories", "total"),
        *("reserved", "min_unit", "max_unit", "step_size", "allocation_ratio", "name", "traits"),
        *("resource_provider_generation", "resource_class", "parent_provider_uuid"),
        *("aggregates", P, Q, P.upper(), "VCPU", "CUSTOM_A", "vcpu", "VCPU\n", "", "1", "_x"),
    ]
)
LEAVES = st.one_of(
    st.sampled_from([P, Q, P.replace("-", ""), f"{{{P}}}", "VCPU", "CUSTOM_A", "x", "", "A\n"]),
    st.sampled_from(["x" * 200, "x" * 201, "x" * 255, "x" * 256, "☃", "\u0000", "INSTANCE"]),
    st.sampled_from([0, 1, -1, 2**31 - 1, 2**31, 2**70, 1.0, 1.5, 0.0, 3.4e38, 3.5e38, -2.0]),
    st.sampled_from([None, True, False]),
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=25,
)
RESOURCES = st.dictionaries(
    st.sampled_from(["VCPU", "CUSTOM_A", "vcpu", "A\n"]), st.one_of(st.just(1), LEAVES), max_size=2
)
CLAIM = st.fixed_dictionaries(
    {
        "allocations": st.one_of(
            st.dictionaries(
                st.sampled_from([P, Q, "x"]),
                st.fixed_dictionaries({"resources": RESOURCES}, optional={"generation": LEAVES}),
                max_size=2,
            ),
            st.lists(
                st.fixed_dictionaries(
                    {
                        "resource_provider": st.fixed_dictionaries({"uuid": LEAVES}),
                        "resources": RESOURCES,
                    }
                ),
                max_size=2,
            ),
        )
    },
    optional={
        "project_id": st.one_of(st.just("p"), LEAVES),
        "user_id": st.one_of(st.just("u"), LEAVES),
        "consumer_generation": LEAVES,
        "consumer_type": LEAVES,
        "mappings": st.dictionaries(NAMES, st.lists(LEAVES, max_size=2), max_size=2),
        "other": LEAVES,
    },
)
INVENTORY = st.fixed_dictionaries(
    {"total": st.one_of(st.just(8), LEAVES)},
    optional=dict.fromkeys(
        (
            *("reserved", "min_unit", "max_unit", "step_size", "allocation_ratio", "other"),
            *("resource_provider_generation", "resource_class"),
        ),
        LEAVES,
    ),
)
INVENTORIES = st.fixed_dictionaries(
    {
        "resource_provider_generation": st.one_of(st.just(1), LEAVES),
        "inventories": st.dictionaries(
            st.sampled_from(["VCPU", "vcpu"]), st.one_of(INVENTORY, LEAVES), max_size=2
        ),
    }
)
OTHERS = st.one_of(
    st.fixed_dictionaries(
        {"name": LEAVES}, optional={"uuid": LEAVES, "parent_provider_uuid": LEAVES}
    ),
    st.lists(LEAVES, max_size=3),
    st.fixed_dictionaries(
        {
            "aggregates": st.lists(LEAVES, max_size=3),
            "resource_provider_generation": LEAVES,
        }
    ),
    st.fixed_dictionaries(
        {"traits": st.lists(LEAVES, max_size=3), "resource_provider_generation": LEAVES}
    ),
    st.dictionaries(st.sampled_from([P, Q, "x"]), CLAIM, max_size=2),
    st.fixed_dictionaries(
        {
            "inventories": st.dictionaries(st.sampled_from([P, "x"]), INVENTORIES, max_size=2),
            "allocations": st.dictionaries(st.sampled_from([P, "x"]), CLAIM, max_size=2),
        }
    ),
)


@settings(deadline=None, max_examples=300)
@given(document=st.one_of(DOCUMENTS, CLAIM, INVENTORY, INVENTORIES, OTHERS), data=st.data())
def test_what_the_decoder_takes_the_schema_takes_too(document: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PARSERS)))
    body = json.dumps(document).encode()
    parser = PARSERS[name]
    if parser.accepts_at_once(body):
        assert Judge(parser.schema, BODY_FORMATS).explain(json.loads(body)) is None


@settings(deadline=None, max_examples=300)
@given(document=st.one_of(CLAIM, INVENTORY, INVENTORIES, OTHERS), data=st.data())
def test_what_is_refused_is_refused_with_a_reason(document: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PARSERS)))
    parser, body = PARSERS[name], json.dumps(document).encode()
    if Judge(parser.schema, BODY_FORMATS).explain(document) is not None:
        with pytest.raises(Problem, match=r"JSON does not validate: |Malformed JSON: "):
            parser.parse(body)


CLAIMED = {
    "allocations": {P: {"resources": {"VCPU": 1}}},
    "project_id": "p",
    "user_id": "u",
    "consumer_generation": None,
    "consumer_type": "INSTANCE",
}


def dumps(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("claim-1.39", CLAIMED),
        ("claim-1.39", {**CLAIMED, "mappings": {"": [P], "_A": [P, Q]}}),
        ("claim-1.28", {key: CLAIMED[key] for key in list(CLAIMED)[:4]}),
        ("claim-1.12", {key: CLAIMED[key] for key in list(CLAIMED)[:3]}),
        ("claim_many-1.39", {Q: CLAIMED}),
        ("create_provider-1.39", {"name": "n", "uuid": P, "parent_provider_uuid": Q}),
        ("set_aggregates-1.39", {"aggregates": [P, Q], "resource_provider_generation": 1}),
        ("set_provider_traits", {"traits": ["A"], "resource_provider_generation": 1}),
        (
            "set_inventories",
            {"resource_provider_generation": 1, "inventories": {"VCPU": {"total": 1}}},
        ),
    ],
)
def test_what_clients_send_all_day_never_meets_the_schema(name: str, document: Any) -> None:
    assert PARSERS[name].accepts_at_once(dumps(document))


def test_a_whole_float_is_an_integer_as_json_schema_has_it() -> None:
    body = dumps({**CLAIMED, "consumer_generation": 2.0}).replace(b'"VCPU": 1', b'"VCPU": 3.0')
    claim = to_claim(claim_parser(NEWEST).parse(body), Q)
    assert claim.resources == {P: {"VCPU": 3}}
    assert claim.generation == 2
    assert isinstance(claim.generation, int)


def test_the_last_of_duplicate_names_counts() -> None:
    body = b'{"name": 5, "name": "last"}'
    assert new_provider_parser(NEWEST).parse(body).name == "last"


def test_a_mapping_that_names_no_group_is_as_good_as_any() -> None:
    body = dumps({**CLAIMED, "mappings": {"": "anything"}})
    assert not claim_parser(NEWEST).accepts_at_once(body)
    assert to_claim(claim_parser(NEWEST).parse(body), Q).resources == {P: {"VCPU": 1}}


@pytest.mark.parametrize(
    ("name", "document", "reason"),
    [
        ("add_inventory", {"resource_class": "VCPU", "total": 0}, "schema['properties']['total']"),
        ("add_inventory", {"resource_class": "VCPU"}, "'total' is a required property"),
        ("add_inventory", {"resource_class": "vcpu", "total": 1}, "Failed validating 'pattern'"),
        ("create_provider-1.39", {"name": "x" * 201}, "Failed validating 'maxLength'"),
        ("create_provider-1.39", {"name": "n", "uuid": "x"}, "'x' is not a 'uuid'"),
        ("create_provider-1.13", {"name": "n", "parent_provider_uuid": P}, "was unexpected"),
        ("set_aggregates-1.18", {"aggregates": []}, "is not of type 'array'"),
        ("set_aggregates-1.1", [P, P], "has non-unique elements"),
        (
            "claim-1.27",
            {"allocations": {}, "project_id": "p", "user_id": "u"},
            "should be non-empty",
        ),
        ("claim-1.37", CLAIMED, "'consumer_type' was unexpected"),
        ("claim-1.39", {**CLAIMED, "consumer_type": "instance"}, "'^[A-Z0-9_]+$'"),
        ("claim_many-1.39", {}, "should be non-empty"),
        ("set_inventories", {"resource_provider_generation": 1, "inventories": {"a": 5}}, "object"),
    ],
)
def test_a_refused_body_is_explained_in_the_schemas_words(
    name: str, document: Any, reason: str
) -> None:
    with pytest.raises(Problem) as caught:
        PARSERS[name].parse(dumps(document))
    assert caught.value.detail.startswith("JSON does not validate: ")
    assert reason in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'\xef\xbb\xbf{"name": "n"}',
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": 1e400}',
        b'{"name": %s}' % (b"9" * 5000),
        b'{"name": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"name": "\\ud800"}',
        b'{"name": "a\x00"}',
        b"[" * 100_000,
        b'{"name": ' + b"[" * (BODY_DEPTH_MAX + 1) + b"]" * (BODY_DEPTH_MAX + 1) + b"}",
    ],
)
def test_what_is_not_json_or_cannot_be_stored_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem, match="Malformed JSON: "):
        new_provider_parser(NEWEST).parse(body)


def test_an_escaped_backslash_is_not_an_escaped_nul() -> None:
    assert new_provider_parser(NEWEST).parse(b'{"name": "a\\\\u0000"}').name == "a\\u0000"


def test_a_large_body_is_explained_by_its_first_error_alone() -> None:
    traits = ["x" * 300] * (EXPLAINED_BODY_BYTES_MAX // 300 + 1)
    with pytest.raises(Problem) as caught:
        TRAIT_SET.parse(dumps({"traits": traits, "resource_provider_generation": 1}))
    assert caught.value.detail.endswith("is too long")


def test_json_is_loaded_as_it_stands() -> None:
    assert load_json(b'{"a": [1, 1.5, "x", null, true]}') == {"a": [1, 1.5, "x", None, True]}


def test_claims_are_told_in_the_newest_words() -> None:
    listed = {"allocations": [{"resource_provider": {"uuid": P}, "resources": {"VCPU": 1}}]}
    oldest = to_claim(claim_parser(CONTRACTS["1.0"]).parse(dumps(listed)), Q)
    assert oldest.resources == {P: {"VCPU": 1}}
    assert (oldest.project_id, oldest.checks_generation, oldest.consumer_type) == (
        None,
        False,
        None,
    )
    newest = to_claim(claim_parser(NEWEST).parse(dumps(CLAIMED)), Q)
    assert newest.resources == oldest.resources
    assert (newest.project_id, newest.user_id, newest.consumer_type) == ("p", "u", "INSTANCE")
    assert newest.checks_generation
    assert newest.generation is None


def test_a_reshape_has_inventories_and_claims() -> None:
    body = {
        "inventories": {
            P: {"resource_provider_generation": 3, "inventories": {"VCPU": {"total": 4}}}
        },
        "allocations": {Q: CLAIMED},
    }
    request = parse_reshape(NEWEST, dumps(body))
    generation, inventories = request.inventories[P]  # type: ignore[index]
    assert generation == 3
    assert inventories["VCPU"].total == 4
    assert [claim.consumer for claim in request.claims] == [Q]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (P, True),
        (P.upper(), True),
        (P.replace("-", ""), True),
        (f"{{{P}}}", True),
        (f"urn:uuid:{P}", True),
        ("x", False),
        ("", False),
        (P[:-1], False),
        (None, False),
        (5, False),
    ],
)
def test_a_uuid_is_known_in_any_spelling(text: object, expected: bool) -> None:
    assert is_uuid_like(text) is expected


FIRST_USE = """
import sys, threading
from moorage.api.microversions.contract import CONTRACTS
from moorage.api.resources.allocations import claim_parser, claims_parser

sys.setswitchinterval(1e-6)
CLAIM = b'{"allocations":{"%s":{"resources":{"VCPU":1}}},"project_id":"p","user_id":"u"}'
CLAIM %= b"6a1f0d4e-7c1c-4d7e-9a55-0a3f5d3b9c01"
together = threading.Barrier(8)

def use(number):
    for contract in CONTRACTS.values():
        together.wait()
        for make in (claim_parser, claims_parser)[:: 1 if number % 2 else -1]:
            make(contract).accepts_at_once(CLAIM)

threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_no_process_dies_where_several_threads_parse_for_the_first_time() -> None:
    # It took one in three.
    for _ in range(6):
        ended = subprocess.run(
            [sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
