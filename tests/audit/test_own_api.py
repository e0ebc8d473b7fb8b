"""``GET /moorage/v1/audit`` over real books."""

from typing import Any

import jsonschema
import pytest

from moorage.api.app import build_app
from moorage.api.identity import NoAuthIdentity
from moorage.api.limits import Limits
from tests.api.edge import AdminsOnly
from tests.audit.cloud import Cloud
from tests.audit.faults import leftovers_of_an_evacuation, total_too_high
from tests.support.client import Client, over_wsgi

AUDIT = "/moorage/v1/audit"


@pytest.fixture
def cloud(sqlite_cloud: Cloud) -> Cloud:
    return sqlite_cloud


@pytest.fixture
def client(cloud: Cloud) -> Client:
    app = build_app(
        cloud.services,
        identity=NoAuthIdentity(),
        policy=AdminsOnly(),  # type: ignore[arg-type]
        limits=Limits(),
        on_request=lambda _line: None,
    )
    return Client(over_wsgi(app), microversion=None)


def findings(answer: Any) -> set[str]:
    return {one["finding"] for one in answer.json["findings"]}


def test_an_audit_tells_what_is_wrong_and_what_would_mend_it(cloud: Cloud, client: Client) -> None:
    slot = total_too_high(cloud).subject
    before = cloud.dump()
    answer = client.get(AUDIT)
    assert answer.status == 200
    (finding,) = answer.json["findings"]
    assert finding["finding"] == f"total-wrong/{slot}"
    assert (finding["confidence"], finding["severity"]) == ("certain", "error")
    provider, name = slot.split("/")
    assert finding["remedy"]["totals"] == [
        {"provider": provider, "resource_class": name, "before": 519, "after": 512}
    ]
    assert answer.json["counts"] == {"total-wrong": 1}
    assert cloud.dump() == before


def test_the_query_chooses_among_findings(cloud: Cloud, client: Client) -> None:
    uuid, slot = leftovers_of_an_evacuation(cloud).subject, total_too_high(cloud).subject
    two_trees, total = f"consumer-on-two-trees/{uuid}", f"total-wrong/{slot}"
    assert findings(client.get(AUDIT)) == {two_trees, total}
    assert findings(client.get(f"{AUDIT}?kind=total-wrong")) == {total}
    assert findings(client.get(f"{AUDIT}?severity=warning")) == {two_trees}
    assert findings(client.get(f"{AUDIT}?confidence=certain")) == {total}
    assert findings(client.get(f"{AUDIT}?subject={uuid}")) == {two_trees}
    assert findings(client.get(f"{AUDIT}?subject={slot.split('/')[0]}")) == {total}
    first = client.get(f"{AUDIT}?limit=1")
    assert (len(first.json["findings"]), first.json["left_out"]) == (1, 1)
    assert sum(first.json["counts"].values()) == 2


@pytest.mark.parametrize(
    "query", ["kind=odd", "severity=x", "confidence=perhaps", "limit=0", "limit=1e3", "what=ever"]
)
def test_a_query_that_is_none_is_refused(client: Client, query: str) -> None:
    answer = client.get(f"{AUDIT}?{query}")
    assert (answer.status, answer.code) == (400, "moorage.bad_request")


def test_an_audit_is_for_admins_and_services(client: Client) -> None:
    answer = client.as_user("someone").get(AUDIT)
    assert (answer.status, answer.code) == (403, "moorage.policy_denied")


def test_the_answer_is_what_the_description_says(cloud: Cloud, client: Client) -> None:
    leftovers_of_an_evacuation(cloud)
    total_too_high(cloud)
    description = client.get("/moorage/v1/openapi.json").json
    schema = {
        "$ref": "#/components/schemas/AuditAnswer",
        "components": description["components"],
    }
    jsonschema.validate(client.get(AUDIT).json, schema)
