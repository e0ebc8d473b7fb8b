"""The frame of /moorage/v1: who is asked what in which order, and a description that is true."""

import re
from typing import Any

import jsonschema
import pytest

from moorage.api.limits import Limits
from moorage.api.policy import OWN_RULES
from moorage.api.routes import ROUTES
from moorage.api.v1.errors import CODES, FACTS, code_of
from moorage.api.v1.routes import ENDPOINTS, find_own_place
from tests.api.edge import Edge
from tests.support.client import Client

BASE = "/moorage/v1"


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def client(edge: Edge) -> Client:
    return edge.client(microversion=None)


@pytest.fixture
def description(client: Client) -> dict[str, Any]:
    document: dict[str, Any] = client.get(f"{BASE}/openapi.json").json
    return document


def test_the_version_document_says_where_the_api_is_described(client: Client) -> None:
    status, headers, document = client.get(BASE)
    assert status == 200
    assert document["version"]["id"] == "v1"
    links = {link["rel"]: link["href"] for link in document["version"]["links"]}
    assert client.get(links["self"]).status == 200
    assert client.get(links["describedby"]).json["openapi"].startswith("3.1.")
    assert headers["x-openstack-request-id"].startswith("req-")


def test_links_and_servers_know_where_the_service_is_mounted(edge: Edge) -> None:
    mounted = edge.client(microversion=None, script_name="/placement")
    links = mounted.get(BASE).json["version"]["links"]
    assert all(link["href"].startswith(f"/placement{BASE}") for link in links)
    servers = mounted.get(f"{BASE}/openapi.json").json["servers"]
    assert servers == [{"url": "/placement"}]


@pytest.mark.parametrize("microversion", [None, "1.0", "1.39", "7.7"])
def test_microversions_are_neither_read_nor_shown(edge: Edge, microversion: str | None) -> None:
    for target in (BASE, f"{BASE}/nowhere"):
        answer = edge.client(microversion=microversion).get(target)
        assert answer.status == (200 if target == BASE else 404)
        assert "openstack-api-version" not in answer.headers
        assert "vary" not in answer.headers


def test_placements_paths_are_as_they_were(edge: Edge) -> None:
    answer = edge.client().get("/moorage")
    assert (answer.status, answer.code) == (404, "placement.undefined_code")
    assert answer.headers["openstack-api-version"] == "placement 1.39"


@pytest.mark.parametrize(
    "path", ["/moorage/", f"{BASE}/", "/moorage/v2", f"{BASE}/nowhere", f"{BASE}/%00", f"{BASE}//"]
)
def test_odd_paths_lead_nowhere(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.code) == (404, "moorage.not_found")


def test_without_a_token_nothing_is_told(edge: Edge) -> None:
    client = edge.client(microversion=None).as_user(None)
    assert [client.get(path).status for path in (BASE, f"{BASE}/nowhere")] == [401, 401]


def test_problems_have_codes_of_their_own(client: Client) -> None:
    answer = client.post(BASE, {})
    assert (answer.status, answer.code) == (405, "moorage.method_not_allowed")
    assert answer.headers["allow"] == "GET"
    answer = client.get(f"{BASE}?colour=red")
    assert (answer.status, answer.code) == (400, "moorage.bad_request")
    answer = client.get(BASE, headers={"Accept": "text/plain"})
    assert answer.status == 406
    answer = client.get(BASE, headers={"Accept": "application/json;q=0, application/xml"})
    assert (answer.status, "min_version" in answer.text) == (406, False)


def test_limits_hold_here_too() -> None:
    client = Edge(limits=Limits(uri_bytes_max=1024)).client(microversion=None)
    answer = client.get(f"{BASE}?x={'y' * 1024}")
    assert (answer.status, answer.code) == (414, "moorage.uri_too_long")


def test_the_log_has_the_template_and_no_microversion(edge: Edge) -> None:
    edge.client(microversion="1.39").get(BASE)
    line = edge.requests[-1]
    assert (line.route, line.microversion, line.status) == (BASE, None, 200)


def test_every_endpoint_has_a_name_a_handler_and_a_rule_of_its_own() -> None:
    names = [endpoint.name for endpoint in ENDPOINTS]
    assert len(set(names)) == len(names)
    assert not set(names) & {route.name for route in ROUTES}
    for endpoint in ENDPOINTS:
        assert endpoint.handler.__name__ == f"handle_{endpoint.name}"
        assert (endpoint.rule is None) == (endpoint.name in ("show_version", "show_openapi"))
    assert {endpoint.rule for endpoint in ENDPOINTS} - {None} == set(OWN_RULES)
    assert all(rule.startswith("moorage:") for rule in OWN_RULES)


def test_every_endpoint_is_found_by_its_path() -> None:
    for endpoint in ENDPOINTS:
        names = re.findall(r"{(\w+)}", endpoint.template)
        values = {name: f"v-{name}" for name in names}
        found = find_own_place(endpoint.template.format(**values))
        assert found is not None
        place, given = found
        assert place.routes[endpoint.method].name == endpoint.name
        assert given == values


def test_every_endpoint_with_a_rule_asks_the_policy_before_all_else(edge: Edge) -> None:
    client = edge.client(microversion=None).as_user("somebody")
    for endpoint in ENDPOINTS:
        if endpoint.rule is None:
            continue
        path = re.sub(r"{\w+}", "x", endpoint.template)
        answer = client.send(endpoint.method, path, raw=b"no JSON")
        assert (answer.status, answer.code) == (403, "moorage.policy_denied")
        assert edge.policy.asked[-1] == (endpoint.rule, None)


def test_bodies_that_are_no_json_or_no_such_body_are_refused(client: Client) -> None:
    for endpoint in ENDPOINTS:
        if endpoint.body is None:
            continue
        path = re.sub(r"{\w+}", "x", endpoint.template)
        for raw in (b"no JSON", b"[]", b'{"no such member": 1}'):
            answer = client.send(endpoint.method, path, raw=raw)
            assert (answer.status, answer.code) == (400, "moorage.bad_request"), endpoint.name
        media = client.send(endpoint.method, path, raw=b"{}", headers={"Content-Type": "text/x"})
        assert (media.status, media.code) == (415, "moorage.media_type")


def test_the_description_has_every_endpoint_and_no_other(description: dict[str, Any]) -> None:
    described = {
        (method.upper(), path, operation["operationId"])
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {(one.method, one.template, one.name) for one in ENDPOINTS}
    assert len(described) == len(ENDPOINTS)


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if "$ref" in part else set()
        return own.union(*(references(value) for value in part.values()))
    if isinstance(part, list):
        return set().union(*(references(value) for value in part))
    return set()


def test_all_that_the_description_refers_to_is_in_it(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    assert references(description) == {f"#/components/schemas/{name}" for name in schemas}


def test_its_schemas_are_json_schemas(description: dict[str, Any]) -> None:
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_its_parameters_are_those_of_the_path(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            named = [one["name"] for one in parameters if one["in"] == "path"]
            assert named == re.findall(r"{(\w+)}", path)


def test_every_refusal_told_has_a_code_in_the_description(description: dict[str, Any]) -> None:
    for endpoint in ENDPOINTS:
        responses = description["paths"][endpoint.template][endpoint.method.lower()]["responses"]
        told = " ".join(response["description"] for response in responses.values())
        for refusal in endpoint.refusals:
            assert code_of(refusal) in told


def test_facts_are_fields_of_their_refusals() -> None:
    for refusal, names in FACTS.items():
        assert set(names) <= set(refusal.__slots__)  # type: ignore[attr-defined]
    assert len(set(CODES.values())) == len(CODES)


def test_an_error_is_what_the_description_says(client: Client, description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    schema = {"$ref": "#/components/schemas/Errors", "components": {"schemas": schemas}}
    judge = jsonschema.Draft202012Validator(schema)
    for answer in (client.get(f"{BASE}/nowhere"), client.post(BASE, {}), client.get(f"{BASE}?a=b")):
        assert answer.status >= 400
        judge.validate(answer.json)
