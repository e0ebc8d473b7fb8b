"""Answers that are given again: to whom, to which words, and how old they are then."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from moorage.api import kept
from moorage.api.resources import aggregates, usages
from moorage.candidates.snapshot import Snapshot
from moorage.operations.services import Services
from tests.concurrency.crowd import Owner
from tests.support.app import load_moorage, moorage_client
from tests.support.client import Answer, Client, over_wsgi
from tests.support.deployments import Deployment, Subject
from tests.support.ids import new_uuid
from tests.support.world import World

READS = ("", "/inventories", "/aggregates", "/traits", "/usages", "/allocations")
"""What is asked about a provider, below its path."""


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return moorage_client(tmp_path)


def make_host(client: Client) -> str:
    world = World(client)
    host = world.provider("host")
    world.inventory(host, "VCPU", 8)
    return host


def targets(host: str) -> list[str]:
    paths = [f"/resource_providers/{host}{below}" for below in READS]
    return [*paths, f"/resource_providers?in_tree={host}", f"/resource_providers?uuid={host}"]


def facts(answer: Answer) -> tuple[Any, ...]:
    """An answer without what is its own: its request id, and when it was given."""
    passing = ("x-openstack-request-id", "last-modified")
    headers = {name: text for name, text in answer.headers.items() if name not in passing}
    return answer.status, answer.body, headers, "last-modified" in answer.headers


def test_an_answer_is_given_again_without_a_look_at_the_provider(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(client)
    first = {target: client.get(target) for target in targets(host)}
    for name in ("provider", "inventories_of", "traits_of", "aggregates_of", "resources_of"):
        monkeypatch.setattr(Snapshot, name, None)
    for target, answer in first.items():
        again = client.get(target)
        assert facts(again) == facts(answer), target
        assert again.headers["x-openstack-request-id"] != answer.headers["x-openstack-request-id"]


def test_it_is_given_to_nobody_who_may_not_have_it(client: Client) -> None:
    host = make_host(client)
    for target in targets(host):
        assert client.get(target).status == 200
        assert client.as_user(None).get(target).status == 401, target
        assert client.as_user("somebody:project").get(target).status == 403, target
        assert client.get(target).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"OpenStack-API-Version": "placement 1.0"},
        {"OpenStack-API-Version": "placement 1.14"},
        {"OpenStack-API-Version": "placement 7.7"},
        {"OpenStack-API-Version": "placement pony"},
        {"Accept": "text/plain"},
        {"Accept": "text/html, application/json;q=0.5"},
        {"Content-Length": "pony"},
        {"Content-Length": "2"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_other_words_get_the_answer_that_they_would_have_got_at_first(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    deployment = Deployment(tmp_path / "conf", f"sqlite:///{tmp_path / 'books.db'}")
    conf_path = deployment.write(Subject.MOORAGE)
    warm, cold = (Client(over_wsgi(load_moorage(conf_path)), microversion="1.39") for _ in range(2))
    host = make_host(warm)
    for target in targets(host):
        warm.get(target)
        one, other = (client.send("GET", target, headers=headers) for client in (warm, cold))
        # Errors tell their request id.
        if one.status == 200:
            assert facts(one) == facts(other), target
        assert one.status == other.status, target
        assert one.headers.get("openstack-api-version") == other.headers.get(
            "openstack-api-version"
        )


def test_where_the_service_is_mounted_shows_in_its_links(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "conf", f"sqlite:///{tmp_path / 'books.db'}")
    app = load_moorage(deployment.write(Subject.MOORAGE))
    client, mounted = (
        Client(over_wsgi(app, script_name=name), microversion="1.39") for name in ("", "/placement")
    )
    path = f"/resource_providers/{make_host(client)}"
    for _ in range(2):
        assert client.get(path).json["links"][0]["href"] == path
        assert mounted.get(path).json["links"][0]["href"] == f"/placement{path}"


def test_what_nothing_dates_is_as_old_as_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6)  # noqa: DTZ001 - naive UTC, as the service's
    monkeypatch.setattr("moorage.serve._utc_now", lambda: moment)
    client = moorage_client(tmp_path)
    host = make_host(client)
    made = client.get(f"/resource_providers/{host}").headers["last-modified"]
    for second in range(6, 9):
        moment = moment.replace(second=second)
        for below in ("/aggregates", "/usages", "/allocations"):
            shown = client.get(f"/resource_providers/{host}{below}").headers["last-modified"]
            assert shown == f"Tue, 03 Feb 2026 04:05:{second:02d} GMT", below
        assert client.get(f"/resource_providers/{host}").headers["last-modified"] == made


def test_a_tree_is_told_anew_when_a_child_comes_or_goes(client: Client) -> None:
    host = make_host(client)
    target = f"/resource_providers?in_tree={host}"

    def members() -> set[str]:
        return {one["uuid"] for one in client.get(target).json["resource_providers"]}

    assert members() == members() == {host}
    child = new_uuid()
    body = {"uuid": child, "name": "child", "parent_provider_uuid": host}
    assert client.post("/resource_providers", body).status == 200
    assert members() == members() == {host, child}
    assert client.get(f"/resource_providers?in_tree={child}").json["resource_providers"]
    assert client.delete(f"/resource_providers/{child}").status == 204
    assert members() == members() == {host}
    assert client.get(f"/resource_providers?in_tree={child}").json["resource_providers"] == []


def test_usages_of_a_project_are_given_again_until_it_holds_something_else(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(client)
    owner = Owner()
    target = f"/usages?project_id={owner.project}"

    def claim() -> None:
        claim = owner.claim({host: {"VCPU": 1}}, None)
        assert client.put(f"/allocations/{new_uuid()}", claim).status == 204

    asked: list[object] = []
    add_up = usages.sum_usages_by_type

    def note(*words: Any, **more: Any) -> Any:
        asked.append(more)
        return add_up(*words, **more)

    monkeypatch.setattr(usages, "sum_usages_by_type", note)
    for held in range(1, 4):
        claim()
        for _ in range(4):
            told = client.get(target).json["usages"]
            assert [group["VCPU"] for group in told.values()] == [held]
    # Once for each change; the first time the project is not known yet, so that nothing would tell
    # when it changes.
    assert len(asked) == 4
    assert client.as_user("somebody:project").get(target).status == 403


def test_where_room_is_scarce_every_second_answer_is_forgotten(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES_MAX", 20 * kept.ENTRY_BYTES)
    world = World(client)
    hosts = [world.provider(f"host-{number}") for number in range(50)]
    paths = [f"/resource_providers/{host}/aggregates" for host in hosts]
    for path in paths:
        assert client.get(path).json["aggregates"] == []
    made: list[str] = []
    show = aggregates.show_aggregates

    def note(services: Services, provider: str) -> Any:
        made.append(provider)
        return show(services, provider)

    monkeypatch.setattr(aggregates, "show_aggregates", note)
    for path in reversed(paths):
        assert client.get(path).json["aggregates"] == []
    assert 25 < len(made) < 50
