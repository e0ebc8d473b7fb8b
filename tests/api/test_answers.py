"""Answers of the whole service over the embedded database: bodies, headers, places."""

from pathlib import Path

import pytest

from tests.api.edge import PROVIDER
from tests.support.app import moorage_client
from tests.support.client import Client, over_wsgi

HERE = f"/resource_providers/{PROVIDER}"
CONSUMER = "42a32c07-3eeb-4401-9373-68a8cdca6784"


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return moorage_client(tmp_path)


@pytest.fixture
def stocked(client: Client) -> Client:
    """A client of a service with one provider that has eight VCPU."""
    client.post("/resource_providers", {"name": "cn1", "uuid": PROVIDER})
    client.put(
        f"{HERE}/inventories",
        {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 8}}},
    )
    return client


def claim_of(amount: int) -> dict[str, object]:
    return {
        "allocations": {PROVIDER: {"resources": {"VCPU": amount}}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }


def test_a_provider_has_the_links_of_its_version(stocked: Client) -> None:
    oldest = stocked.at("1.0").get(HERE).json
    assert [link["rel"] for link in oldest["links"]] == ["self", "inventories", "usages"]
    assert "parent_provider_uuid" not in oldest
    newest = stocked.get(HERE).json
    assert [link["rel"] for link in newest["links"]][2:] == [
        "usages",
        "aggregates",
        "traits",
        "allocations",
    ]
    assert newest["root_provider_uuid"] == PROVIDER


def test_a_created_provider_is_shown_since_the_version_that_says_so(client: Client) -> None:
    old = client.at("1.19").post("/resource_providers", {"name": "old"})
    assert (old.status, old.body) == (201, b"")
    assert "content-type" not in old.headers
    new = client.at("1.20").post("/resource_providers", {"name": "new"})
    assert (new.status, new.json["name"]) == (200, "new")
    assert new.headers["location"].endswith(f"/resource_providers/{new.json['uuid']}")


def test_locations_are_absolute_and_know_where_the_service_is_mounted(
    client: Client,
) -> None:
    app = client.transport.__closure__[0].cell_contents  # type: ignore[attr-defined]
    mounted = Client(
        over_wsgi(app, host="controller:80", script_name="/placement"),
        microversion="1.39",
    )
    answer = mounted.put("/traits/CUSTOM_A")
    assert answer.headers["location"] == "http://controller/placement/traits/CUSTOM_A"
    links = mounted.get("/resource_classes/VCPU").json["links"]
    assert links == [{"rel": "self", "href": "/placement/resource_classes/VCPU"}]


def test_a_uuid_is_kept_in_its_canonical_spelling(client: Client) -> None:
    bare = PROVIDER.replace("-", "").upper()
    assert client.post("/resource_providers", {"name": "n", "uuid": bare}).json["uuid"] == PROVIDER


def test_provider_without_inventory_says_nothing_about_its_age(client: Client) -> None:
    client.post("/resource_providers", {"name": "cn1", "uuid": PROVIDER})
    empty = client.get(f"{HERE}/inventories")
    assert "last-modified" not in empty.headers
    assert empty.headers["cache-control"] == "no-cache"


def test_a_claim_is_answered_with_nothing(stocked: Client) -> None:
    answer = stocked.put(f"/allocations/{CONSUMER}", claim_of(2))
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers


def test_allocations_are_shown_in_the_words_of_the_version(stocked: Client) -> None:
    stocked.put(f"/allocations/{CONSUMER}", claim_of(2))
    seen = {
        version: set(stocked.at(version).get(f"/allocations/{CONSUMER}").json)
        for version in ("1.11", "1.12", "1.28", "1.38")
    }
    assert seen["1.11"] == {"allocations"}
    assert seen["1.12"] - seen["1.11"] == {"project_id", "user_id"}
    assert seen["1.28"] - seen["1.12"] == {"consumer_generation"}
    assert seen["1.38"] - seen["1.28"] == {"consumer_type"}
    assert stocked.get("/allocations/nobody").json == {"allocations": {}}


def test_a_consumer_of_no_type_is_of_an_unknown_one(stocked: Client) -> None:
    body = {key: value for key, value in claim_of(1).items() if key != "consumer_type"}
    stocked.at("1.37").put(f"/allocations/{CONSUMER}", body)
    assert stocked.get(f"/allocations/{CONSUMER}").json["consumer_type"] == "unknown"


def test_candidates_can_be_claimed_as_they_are(stocked: Client) -> None:
    found = stocked.get("/allocation_candidates?resources=VCPU:3").json
    [candidate] = found["allocation_requests"]
    assert candidate["mappings"] == {"": [PROVIDER]}
    body = {**claim_of(0), **candidate}
    assert stocked.put(f"/allocations/{CONSUMER}", body).status == 204
    old = stocked.at("1.11").get("/allocation_candidates?resources=VCPU:3").json
    assert old["allocation_requests"] == [
        {"allocations": [{"resource_provider": {"uuid": PROVIDER}, "resources": {"VCPU": 3}}]}
    ]


def test_a_refused_claim_is_told_with_its_code(stocked: Client) -> None:
    answer = stocked.put(f"/allocations/{CONSUMER}", claim_of(9))
    assert (answer.status, answer.code) == (409, "placement.undefined_code")
    assert "The requested amount would exceed the capacity." in answer.detail
    answer = stocked.put(f"/allocations/{CONSUMER}", {**claim_of(1), "consumer_generation": 4})
    assert (answer.status, answer.code) == (409, "placement.concurrent_update")


def test_written_inventories_are_shown_as_they_are_now(stocked: Client) -> None:
    answer = stocked.put(
        f"{HERE}/inventories/VCPU", {"resource_provider_generation": 1, "total": 4}
    )
    assert answer.json == {
        "total": 4,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 2**31 - 1,
        "step_size": 1,
        "allocation_ratio": 1.0,
        "resource_provider_generation": 2,
    }
    assert "last-modified" in answer.headers


@pytest.mark.parametrize("name", ["CUSTOM_A%0A", "CUSTOM_%E2%98%83", "VCPU", "CUSTOM_"])
def test_a_name_that_clients_cannot_define_is_refused(client: Client, name: str) -> None:
    assert client.put(f"/traits/{name}").status == 400
    assert client.put(f"/resource_classes/{name}").status == 400


def test_a_newline_at_its_end_makes_no_name_of_a_class(client: Client) -> None:
    assert client.post("/resource_classes", {"name": "CUSTOM_A\n"}).status == 400


def test_an_inventory_that_is_no_object_is_refused_under_any_name(stocked: Client) -> None:
    for wrong in (5, None, {}, []):
        answer = stocked.put(
            f"{HERE}/inventories",
            {"resource_provider_generation": 1, "inventories": {"vcpu": wrong}},
        )
        assert answer.status == 400


def test_a_path_in_text_is_mended(client: Client) -> None:
    # In-process clients give the path in text; WSGI servers give bytes.
    app = client.transport.__closure__[0].cell_contents  # type: ignore[attr-defined]

    def in_text(environ: dict[str, object], start: object) -> object:
        return app({**environ, "PATH_INFO": "/traits/☃"}, start)

    answer = Client(over_wsgi(in_text), microversion="1.39").get("/x")  # type: ignore[arg-type]
    assert "No such trait(s): ☃." in answer.detail
