"""PUT /moorage/v1/moves and what follows it, over the real application."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.claims.cloud import Cloud
from tests.support.client import Answer
from tests.support.databases import DatabaseKind
from tests.support.world import new_uuid

MOVES = "/moorage/v1/moves"
ASKED = "resources=VCPU:2,DISK_GB:20"


@pytest.fixture
def cloud(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> Cloud:
    return Cloud.on(fresh_database(database_kind), tmp_path)


def boot(cloud: Cloud, host: str) -> str:
    instance = new_uuid()
    assert cloud.claim(ASKED, instance, trees={"use": [host]}).status == 200
    return instance


def order(cloud: Cloud, instance: str, *, move: str | None = None, **more: Any) -> Answer:
    body = {"consumer": instance, "kind": "migrate", **more}
    return cloud.own.put(f"{MOVES}/{move or new_uuid()}", body)


def step(cloud: Cloud, move: dict[str, Any], name: str) -> Answer:
    body = {"generation": move["generation"]}
    return cloud.own.post(f"{MOVES}/{move['uuid']}/{name}", body)


def test_a_move_from_order_to_confirmation(cloud: Cloud) -> None:
    pool = cloud.pool(disk=20)
    source, destination = cloud.host(pooled=True), cloud.host(pooled=True)
    instance, uuid = boot(cloud, source), new_uuid()
    opened = order(cloud, instance, move=uuid, deadline_s=3600)
    assert opened.status == 200, opened
    move = opened.json["move"]
    there = {destination: {"VCPU": 2}, pool: {"DISK_GB": 20}}
    here = {source: {"VCPU": 2}, pool: {"DISK_GB": 20}}
    assert move | {"deadline": "", "created_at": "", "updated_at": ""} == {
        "uuid": uuid,
        "kind": "migrate",
        "state": "claimed",
        "generation": 1,
        "consumer": instance,
        "hold": uuid,
        "project_id": "project",
        "user_id": "user",
        "source": {key: {"resources": held} for key, held in here.items()},
        "destination": {
            "allocations": {key: {"resources": held} for key, held in there.items()},
            "mappings": move["destination"]["mappings"],
        },
        "alternates": [],
        "deadline": "",
        "outcome": None,
        "global_request_id": None,
        "created_at": "",
        "updated_at": "",
    }
    assert set(move["destination"]["mappings"][""]) == {destination, pool}
    assert all(move[name].endswith("Z") for name in ("deadline", "created_at", "updated_at"))
    assert (cloud.held(instance), cloud.held(uuid)) == (there, here)
    assert cloud.used(pool, "DISK_GB") == 20
    started = step(cloud, move, "start").json
    assert (started["move"]["state"], started["repeated"]) == ("started", False)
    over = step(cloud, started["move"], "confirm").json
    assert (over["move"]["state"], over["move"]["generation"]) == ("confirmed", 3)
    assert (cloud.held(instance), cloud.held(uuid)) == (there, {})
    assert cloud.own.get(f"{MOVES}/{uuid}").json == {"move": over["move"]}
    assert order(cloud, instance, move=uuid, deadline_s=3600).json == {
        "move": over["move"],
        "repeated": True,
    }


def test_a_step_that_is_sent_again_is_answered_as_the_first_time(cloud: Cloud) -> None:
    cloud.pool(disk=20)
    source = cloud.host(pooled=True)
    cloud.host(pooled=True)
    move = order(cloud, boot(cloud, source)).json["move"]
    first, again = step(cloud, move, "start"), step(cloud, move, "start")
    assert (first.status, again.status) == (200, 200)
    assert again.json == first.json | {"repeated": True}
    stale = step(cloud, move, "revert")
    assert (stale.status, stale.code) == (409, "moorage.move_generation_conflict")
    (error,) = stale.json["errors"]
    assert (error["generation"], error["state"]) == (2, "started")


def test_a_step_that_cannot_be_made_is_told_which_can(cloud: Cloud) -> None:
    cloud.pool(disk=20)
    source = cloud.host(pooled=True)
    cloud.host(pooled=True)
    move = order(cloud, boot(cloud, source)).json["move"]
    early = step(cloud, move, "confirm")
    assert (early.status, early.code) == (409, "moorage.step_impossible")
    assert early.json["errors"][0]["possible"] == ["start", "revert", "reschedule"]
    assert "Possible: start, revert, reschedule." in early.detail
    over = step(cloud, step(cloud, move, "revert").json["move"], "start")
    assert over.json["errors"][0]["possible"] == []
    assert "is reverted: no step start from there. Possible: none." in over.detail


def test_a_reschedule_goes_on_to_the_alternate_and_then_back(cloud: Cloud) -> None:
    cloud.pool(disk=20)
    hosts = [cloud.host(pooled=True) for _ in range(3)]
    instance = boot(cloud, hosts[0])
    move = order(cloud, instance, alternates=2).json["move"]
    (alternate,) = move["alternates"]
    second = step(cloud, move, "reschedule").json["move"]
    assert second["destination"] == alternate
    assert (second["state"], second["alternates"]) == ("claimed", [])
    third = step(cloud, second, "reschedule").json["move"]
    assert third["state"] == "failed"
    assert third["outcome"]["reason"] == "nothing_fits"
    assert third["outcome"]["explanation"]["left"] == 0
    assert hosts[0] in cloud.held(instance)


def test_what_does_not_fit_is_explained_and_changes_nothing(cloud: Cloud) -> None:
    cloud.pool(disk=100)
    source, other = cloud.host(pooled=True), cloud.host(pooled=True, vcpu=1)
    instance, uuid = boot(cloud, source), new_uuid()
    refused = order(cloud, instance, move=uuid)
    assert (refused.status, refused.code) == (409, "moorage.nothing_fits")
    (error,) = refused.json["errors"]
    assert error["consumer"] == instance
    assert error["explanation"]["steps"][-1]["left"] == 0
    assert cloud.own.get(f"{MOVES}/{uuid}").code == "moorage.unknown_move"
    assert cloud.used(other) == 0
    assert order(cloud, instance, move=uuid, kind="resize").status == 200


def test_what_is_asked_for_may_be_new_and_the_destination_named(cloud: Cloud) -> None:
    pool = cloud.pool(disk=100)
    hosts = [cloud.host(pooled=True) for _ in range(3)]
    instance = boot(cloud, hosts[0])
    moved = order(
        cloud,
        instance,
        kind="resize",
        request="resources=VCPU:4,DISK_GB:50",
        trees={"use": [hosts[2]]},
    )
    assert moved.status == 200, moved
    assert cloud.held(instance) == {hosts[2]: {"VCPU": 4}, pool: {"DISK_GB": 50}}
    assert cloud.used(pool, "DISK_GB") == 50
    step(cloud, moved.json["move"], "revert")
    assert cloud.used(pool, "DISK_GB") == 20


def test_whoever_is_unshelved_needs_an_owner_and_nobody_else_may_have_one(cloud: Cloud) -> None:
    cloud.pool(disk=20)
    host, instance = cloud.host(pooled=True), new_uuid()
    owner = {"project_id": "project", "user_id": "user", "consumer_type": "INSTANCE"}
    for more in ({}, owner, {"request": ASKED}):
        assert order(cloud, instance, kind="unshelve", **more).status == 400
    moved = order(cloud, instance, kind="unshelve", request=ASKED, **owner)
    assert (moved.status, moved.json["move"]["source"]) == (200, {})
    assert host in cloud.held(instance)
    assert order(cloud, instance, request=ASKED, **owner).status == 400
    assert order(cloud, instance).code == "moorage.consumer_in_move"


@pytest.mark.parametrize("spelt", [str.lower, str.upper])
def test_a_move_has_a_uuid_of_its_own(cloud: Cloud, spelt: Callable[[str], str]) -> None:
    """Else the consumer would be its own hold, and be dropped where it has arrived."""
    cloud.pool(disk=20)
    owner = {"project_id": "project", "user_id": "user"}
    instance, shelved = boot(cloud, cloud.host(pooled=True)), new_uuid()
    for consumer, more in (
        (instance, {"kind": "migrate"}),
        (shelved, {"kind": "unshelve", "request": "resources=VCPU:1", **owner}),
    ):
        answer = cloud.own.put(f"{MOVES}/{spelt(consumer)}", {"consumer": consumer, **more})
        assert (answer.status, answer.code) == (400, "moorage.bad_request")
        assert "a uuid of its own" in answer.text


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "teleport"},
        {"consumer": "nobody"},
        {"deadline_s": 0},
        {"alternates": -1},
        {"request": "resources=VCPU"},
        {"request": "resources=VCPU:1&limit=1"},
        {"colour": "red"},
    ],
)
def test_an_order_that_cannot_be_read_is_refused(cloud: Cloud, more: dict[str, Any]) -> None:
    answer = order(cloud, new_uuid(), **more)
    assert answer.status == 400, answer
    assert answer.code.startswith("moorage.")


def test_moves_are_listed_by_what_is_asked_for_and_in_pages(cloud: Cloud) -> None:
    cloud.pool(disk=1_000)
    source = cloud.host(pooled=True, vcpu=100)
    cloud.host(pooled=True, vcpu=100)
    instances = [boot(cloud, source) for _ in range(5)]
    moves = [order(cloud, instance).json["move"] for instance in instances]
    over = step(cloud, moves[1], "revert").json["move"]
    again = order(cloud, instances[1], kind="live-migrate").json["move"]
    everything = [moves[0], over, *moves[2:], again]

    def listed(query: str) -> list[dict[str, Any]]:
        answer = cloud.own.get(f"{MOVES}{query}")
        assert answer.status == 200, answer
        found: list[dict[str, Any]] = answer.json["moves"]
        return found

    assert listed("") == everything
    assert listed("?state=reverted") == listed("?open=false") == [over]
    assert listed("?kind=live-migrate") == [again]
    assert listed(f"?consumer={instances[1]}") == [over, again]
    assert listed(f"?consumer={instances[1]}&open=true") == [again]
    assert listed("?project_id=project&state=claimed") == [moves[0], *moves[2:], again]
    assert listed("?project_id=nobody") == []
    pages, marker = [], ""
    while marker is not None:
        query = f"?limit=4{marker and f'&marker={marker}'}"
        page = cloud.own.get(f"{MOVES}{query}").json
        pages.append(page["moves"])
        marker = page["marker"]
    assert pages == [everything[:4], everything[4:]]
    lost = cloud.own.get(f"{MOVES}?marker={new_uuid()}")
    assert (lost.status, lost.code) == (400, "moorage.unknown_move")
    for query in ("?state=moving", "?limit=0", "?colour=red", "?open=perhaps", "?consumer=me"):
        assert cloud.own.get(f"{MOVES}{query}").status == 400


def test_an_observed_move_is_shown_and_has_no_steps(cloud: Cloud) -> None:
    cloud.pool(disk=20)
    instance, migration = boot(cloud, cloud.host(pooled=True)), new_uuid()
    shown = cloud.client.get(f"/allocations/{instance}").json
    owner = {"project_id": "project", "user_id": "user", "consumer_type": "INSTANCE"}
    held = {key: {"resources": part["resources"]} for key, part in shown["allocations"].items()}
    body = {
        instance: {"allocations": {}, "consumer_generation": 1, **owner},
        migration: {"allocations": held, "consumer_generation": None, **owner},
    }
    assert cloud.client.post("/allocations", body).status == 204
    (move,) = cloud.own.get(f"{MOVES}?kind=observed").json["moves"]
    assert (move["hold"], move["state"], move["destination"]) == (migration, "swapped", None)
    refused = step(cloud, move, "revert")
    assert (refused.status, refused.code) == (409, "moorage.move_is_observed")


def test_answers_are_what_the_description_says(cloud: Cloud) -> None:
    cloud.pool(disk=40)
    hosts = [cloud.host(pooled=True) for _ in range(2)]
    description = cloud.own.get("/moorage/v1/openapi.json").json

    def check(answer: Answer, method: str, path: str) -> dict[str, Any]:
        told = description["paths"][path][method]["responses"][str(answer.status)]
        schema = dict(told["content"]["application/json"]["schema"])
        schema["components"] = description["components"]
        jsonschema.Draft202012Validator(schema).validate(answer.json)
        found: dict[str, Any] = answer.json
        return found

    one = f"{MOVES}/{{move_uuid}}"
    instance = boot(cloud, hosts[0])
    move = check(order(cloud, instance, alternates=1, deadline_s=9), "put", one)["move"]
    check(order(cloud, instance), "put", one)
    check(step(cloud, move, "confirm"), "post", f"{one}/confirm")
    check(step(cloud, move, "reschedule"), "post", f"{one}/reschedule")
    check(cloud.own.get(f"{MOVES}/{move['uuid']}"), "get", one)
    check(cloud.own.get(MOVES), "get", MOVES)
    check(cloud.own.get(f"{MOVES}/{new_uuid()}"), "get", one)
