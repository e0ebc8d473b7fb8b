"""The one request path: what is checked before what, and what every answer carries."""

import re
from typing import Any

import pytest

from moorage.api import pipeline
from moorage.api.call import Reply
from moorage.api.limits import Limits
from moorage.domain.refusals import StoreUnavailable, UnknownProvider
from tests.api.edge import PROVIDER, Edge

HERE = f"/resource_providers/{PROVIDER}"
REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEXT = {"Content-Type": "text/plain"}
WANTS_TEXT = {"Accept": "text/plain"}


@pytest.fixture
def edge() -> Edge:
    return Edge()


def test_the_root_document_is_for_everyone(edge: Edge) -> None:
    answer = edge.client(microversion=None).as_user(None).get("/")
    assert answer.status == 200
    assert answer.json == {
        "versions": [
            {
                "id": "v1.0",
                "min_version": "1.0",
                "max_version": "1.39",
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }
    assert answer.headers["openstack-api-version"] == "placement 1.0"
    assert answer.headers["vary"] == "openstack-api-version"
    assert answer.headers["content-type"] == "application/json"
    assert "last-modified" not in answer.headers
    assert edge.client(script_name="/placement").get("").status == 200


def test_answers_tell_their_age_since_the_version_that_says_so(edge: Edge) -> None:
    answer = edge.client(microversion="1.15").get("/")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["last-modified"] == "Tue, 03 Feb 2026 04:05:06 GMT"


def test_who_is_not_identified_is_told_so_before_anything_else(edge: Edge) -> None:
    answer = edge.client(microversion="pony").as_user(None).get("/nowhere")
    assert answer.status == 401
    assert answer.json["title"] == "Unauthorized"
    assert "openstack-api-version" not in answer.headers
    assert REQUEST_ID.fullmatch(answer.headers["x-openstack-request-id"])


def test_a_version_that_there_is_not_is_told_before_the_route(edge: Edge) -> None:
    unacceptable = edge.client(microversion="0.5").get("/nowhere")
    assert unacceptable.status == 406
    [error] = unacceptable.json["errors"]
    assert (error["min_version"], error["max_version"]) == ("1.0", "1.39")
    assert "Unacceptable version header: 0.5" in error["detail"]
    assert "openstack-api-version" not in unacceptable.headers
    assert edge.client(microversion="1.2.3").get("/nowhere").status == 400


def test_a_body_needs_a_content_type_before_it_needs_a_route(edge: Edge) -> None:
    answer = edge.client().send("POST", "/nowhere", raw=b"x", headers={"Content-Type": ""})
    assert answer.status == 400
    assert "content-type header required" in answer.detail
    answer = edge.client().send("POST", "/nowhere", headers={"Content-Length": "hi mom"})
    assert "content-length header must be an integer" in answer.detail


def test_an_unknown_path_is_not_found(edge: Edge) -> None:
    answer = edge.client().get("/resource_providers/")
    assert (answer.status, answer.code) == (404, "placement.undefined_code")
    assert answer.headers["openstack-api-version"] == "placement 1.39"


@pytest.mark.parametrize("path", ["/traits/%ff", "/traits/%00", "/traits/%ed%a0%80"])
def test_a_path_that_no_database_could_hold_is_not_found(edge: Edge, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert edge.client().send(method, path).status == 404


def test_a_method_that_a_path_does_not_have_is_told_with_those_it_has(edge: Edge) -> None:
    answer = edge.client(microversion="1.0").delete("/resource_providers")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"
    assert "The method DELETE is not allowed for this resource." in answer.detail


def test_a_method_of_a_later_version_is_not_found(edge: Edge) -> None:
    assert edge.client(microversion="1.12").post("/allocations", {}).status == 404
    assert edge.client(microversion="1.4").delete(f"{HERE}/inventories").status == 405


def test_a_later_version_is_told_before_the_media_type(edge: Edge) -> None:
    old = edge.client(microversion="1.0")
    assert old.get("/traits", headers=WANTS_TEXT).status == 404
    assert old.send("PUT", f"{HERE}/traits", raw=b"x", headers=TEXT).status == 404


def test_aggregates_tell_the_media_type_first(edge: Edge) -> None:
    old = edge.client(microversion="1.0")
    assert old.get(f"{HERE}/aggregates", headers=WANTS_TEXT).status == 406
    assert old.send("PUT", f"{HERE}/aggregates", raw=b"x", headers=TEXT).status == 415
    assert old.get(f"{HERE}/aggregates").status == 404


def test_the_media_type_is_told_before_the_policy(edge: Edge) -> None:
    joe = edge.client().as_user("joe")
    assert joe.get("/traits", headers=WANTS_TEXT).status == 406
    assert joe.send("POST", "/reshaper", raw=b"x", headers=TEXT).status == 415
    assert joe.send("POST", "/reshaper").detail.endswith(
        "The media type None is not supported, use application/json"
    )
    assert edge.policy.asked == []


def test_the_policy_is_asked_before_the_body_or_the_query_is_read(edge: Edge) -> None:
    joe = edge.client().as_user("joe")
    answer = joe.post("/reshaper", {"nonsense": 1})
    assert answer.status == 403
    assert "Policy does not allow placement:reshaper:reshape to be performed." in answer.detail
    assert joe.get("/traits?nonsense=1").status == 403


def test_usages_are_asked_about_with_the_project_that_the_query_names(edge: Edge) -> None:
    joe = edge.client().as_user("joe")
    joe.get("/usages?project_id=p")
    joe.get("/usages")
    assert edge.policy.asked == [("placement:usages", "p"), ("placement:usages", "")]


def test_a_bad_body_is_told_by_the_edge_alone(edge: Edge) -> None:
    answer = edge.client().post("/resource_providers", {"name": 5})
    assert answer.status == 400
    assert "JSON does not validate: 5 is not of type 'string'" in answer.detail
    assert edge.client().put("/allocations/x", {}).detail.endswith("Malformed consumer_uuid: x  ")


def test_an_unknown_provider_is_told_rather_than_a_bad_body(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_provider(_: object, uuid: str) -> None:
        raise UnknownProvider(uuid)

    monkeypatch.setattr(pipeline, "show_provider", no_provider)
    answer = edge.client().put(HERE, {"name": 5})
    assert answer.status == 404
    assert f"No resource provider with uuid {PROVIDER} found" in answer.detail


def test_a_bad_body_is_told_where_the_provider_is_known(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "show_provider", lambda *_: None)
    for path in (HERE, f"{HERE}/inventories", f"{HERE}/aggregates", f"{HERE}/inventories/VCPU"):
        assert edge.client().put(path, {"name": 5}).status == 400


def test_an_error_of_ours_shows_nothing_and_is_told_whole(edge: Edge) -> None:
    # The services here have no store, so any operation fails.
    answer = edge.client().get(HERE)
    assert (answer.status, answer.code) == (500, "placement.undefined_code")
    assert "object has no attribute" not in answer.text
    assert pipeline.FAULT_TEXT in answer.detail
    [fault] = edge.faults
    assert isinstance(fault["error"], AttributeError)
    assert fault["request_id"] == answer.headers["x-openstack-request-id"]
    assert fault["route"] == "/resource_providers/{uuid}"


def test_an_unavailable_database_asks_to_come_again(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise StoreUnavailable(retry_after_s=7)

    monkeypatch.setattr(pipeline, "show_provider", gone)
    answer = edge.client().put(HERE, {"name": 5})
    assert answer.status == 503
    assert answer.headers["retry-after"] == "7"
    assert not edge.faults


def test_errors_have_codes_since_the_version_that_says_so(edge: Edge) -> None:
    assert edge.client(microversion="1.22").get("/nowhere").code is None
    assert edge.client(microversion="1.23").get("/nowhere").code == "placement.undefined_code"


def test_whoever_takes_anything_gets_errors_in_json(edge: Edge) -> None:
    for accept in ("*/*", ""):
        answer = edge.client().get("/nowhere", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
    answer = edge.client().get("/nowhere", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert "The resource could not be found" in answer.text


@pytest.mark.parametrize(
    ("target", "allowed"), [("/?" + "a" * 98, True), ("/?" + "a" * 100, False)]
)
def test_an_address_has_a_limit(target: str, allowed: bool) -> None:
    client = Edge(limits=Limits(uri_bytes_max=100)).client()
    assert client.get(target).status == (200 if allowed else 414)


def test_a_body_has_a_limit() -> None:
    client = Edge(limits=Limits(body_bytes_max=20)).client()
    assert client.send("POST", "/resource_providers", raw=b"x" * 21).status == 413
    assert client.send("POST", "/resource_providers", raw=b"x" * 20).status == 400


def test_a_body_that_ends_early_is_refused(edge: Edge) -> None:
    answer = edge.client().send(
        "POST", "/resource_providers", raw=b"{}", headers={"Content-Length": "100"}
    )
    assert "The body is shorter than content-length says." in answer.detail


def test_every_answer_has_a_request_id_of_its_own(edge: Edge) -> None:
    client = edge.client()
    ids = {client.get(path).headers["x-openstack-request-id"] for path in ("/", "/x", "/", "/y")}
    assert len(ids) == 4
    assert all(REQUEST_ID.fullmatch(one) for one in ids)


def test_each_request_is_told_about_once_it_is_answered(edge: Edge) -> None:
    client = edge.client(microversion="1.15")
    theirs = "req-00000000-1111-2222-3333-444444444444"
    client.get("/", headers={"X-Openstack-Request-Id": theirs})
    client.as_user("joe:books").get(HERE, headers={"X-Openstack-Request-Id": "req-nonsense"})
    client.at("pony").get("/x")
    root, forbidden, lost = edge.requests
    assert (root.method, root.route, root.status, root.microversion) == ("GET", "/", 200, "1.15")
    assert root.global_request_id == theirs
    assert root.duration_s > 0
    assert (forbidden.route, forbidden.status) == ("/resource_providers/{uuid}", 403)
    assert (forbidden.global_request_id, forbidden.project_id) == (None, "books")
    assert (lost.route, lost.status, lost.microversion) == (pipeline.NO_ROUTE, 400, None)


def test_odd_methods_are_not_allowed(edge: Edge) -> None:
    for method in ("OPTIONS", "HEAD", "PATCH", "FOO"):
        assert edge.client().send(method, "/resource_providers").status == 405


def test_to_head_goes_what_there_would_be_without_it(edge: Edge) -> None:
    answer = edge.client().send("HEAD", "/resource_providers")
    assert answer.status == 405
    assert answer.body == b""
    told = edge.client().send("LINK", "/resource_providers")
    assert int(answer.headers["content-length"]) == len(told.body)


def test_an_answer_without_a_body_has_no_type(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    for status, length in ((201, "0"), (204, None)):
        monkeypatch.setattr(
            pipeline.Pipeline, "_answer", lambda _self, _visit, status=status: Reply(status)
        )
        answer = edge.client().get("/")
        assert answer.status == status
        assert answer.body == b""
        assert answer.headers.get("content-length") == length
        assert "content-type" not in answer.headers
