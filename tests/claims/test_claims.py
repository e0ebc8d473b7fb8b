"""POST /moorage/v1/claims: found and claimed in one step, or a refusal that explains itself."""

import threading
from collections import Counter
from typing import Any

import jsonschema
import pytest

from tests.claims.cloud import CLAIMS, Cloud, claim_body, hosts_of
from tests.support.client import Answer
from tests.support.world import World, new_uuid

VCPU = "resources=VCPU:1"


def test_a_claim_is_held_when_it_is_answered(cloud: Cloud) -> None:
    host, consumer = cloud.host(), new_uuid()
    answer = cloud.claim("resources=VCPU:2", consumer)
    assert answer.status == 200, answer
    assert answer.json == {
        "claims": [
            {
                "consumer": consumer,
                "generation": 1,
                "allocations": {host: {"resources": {"VCPU": 2}}},
                "mappings": {"": [host]},
                "alternates": [],
                "expires_at": None,
            }
        ],
        "repeated": False,
    }
    shown = cloud.client.get(f"/allocations/{consumer}").json
    assert shown["allocations"][host]["resources"] == {"VCPU": 2}
    assert (shown["project_id"], shown["user_id"]) == ("project", "user")
    assert (shown["consumer_generation"], shown["consumer_type"]) == (1, "INSTANCE")
    assert cloud.used(host) == 2


def test_a_request_by_its_parts_is_the_request_as_text(cloud: Cloud) -> None:
    world = World(cloud.client)
    root = cloud.host(vcpu=4)
    for number in range(2):
        child = world.provider(f"nic-{number}", parent=root)
        world.inventory(child, "SRIOV_NET_VF", 2)
        world.traits(child, f"CUSTOM_PHYSNET_{number}")
    text = (
        "resources=VCPU:1&resources_NET1=SRIOV_NET_VF:1&required_NET1=CUSTOM_PHYSNET_1"
        "&resources_NET2=SRIOV_NET_VF:1&required_NET2=in:CUSTOM_PHYSNET_0,CUSTOM_PHYSNET_1"
        "&required_NET2=!CUSTOM_PHYSNET_1&group_policy=isolate"
    )
    parts = {
        "groups": {
            "": {"resources": {"VCPU": 1}},
            "_NET1": {"resources": {"SRIOV_NET_VF": 1}, "required": [["CUSTOM_PHYSNET_1"]]},
            "_NET2": {
                "resources": {"SRIOV_NET_VF": 1},
                "required": [["CUSTOM_PHYSNET_0", "CUSTOM_PHYSNET_1"]],
                "forbidden": ["CUSTOM_PHYSNET_1"],
            },
        },
        "group_policy": "isolate",
    }
    placed = [cloud.claim(request) for request in (text, parts)]
    told = [{**answer.json["claims"][0], "consumer": None} for answer in placed]
    assert told[0] == told[1]
    assert set(told[0]["mappings"]) == {"", "_NET1", "_NET2"}


def test_the_destination_is_named_without_excluding_its_pool(cloud: Cloud) -> None:
    pool = cloud.pool(disk=100)
    first, second = cloud.host(pooled=True), cloud.host(pooled=True)
    asked = "resources=VCPU:1,DISK_GB:10"
    assert hosts_of(cloud.claim(asked, trees={"use": [second]})) == [{second, pool}]
    assert hosts_of(cloud.claim(asked, trees={"avoid": [first]})) == [{second, pool}]
    assert hosts_of(cloud.claim(asked, trees={"avoid": [pool]}, strategy="pack")) == [
        {second, pool}
    ]
    refused = cloud.claim(asked, trees={"use": [new_uuid()]})
    assert (refused.status, refused.code) == (409, "moorage.nothing_fits")


def test_strategies_choose_among_the_hosts(cloud: Cloud) -> None:
    empty, half, full = (cloud.host(vcpu=4) for _ in range(3))
    for host, times in ((half, 2), (full, 4)):
        for _ in range(times):
            assert hosts_of(cloud.claim(VCPU, trees={"use": [host]})) == [{host}]
    assert hosts_of(cloud.claim(VCPU, strategy="pack")) == [{half}]
    assert hosts_of(cloud.claim(VCPU, strategy="spread")) == [{empty}]
    assert hosts_of(cloud.claim(VCPU, strategy="first")) == [{empty}]
    assert hosts_of(cloud.claim(VCPU, strategy="random"))[0] < {empty, half}


def test_a_gang_is_placed_whole_or_not_at_all(cloud: Cloud) -> None:
    hosts = {cloud.host(vcpu=2) for _ in range(3)}
    gang = [new_uuid() for _ in range(3)]
    apart = cloud.claim(VCPU, *gang, relation="anti-affinity")
    assert set().union(*hosts_of(apart)) == hosts
    together = cloud.claim(VCPU, new_uuid(), new_uuid(), relation="affinity")
    assert (together.status, together.code) == (409, "moorage.nothing_fits")
    crowd = [new_uuid() for _ in range(4)]
    refused = cloud.claim(VCPU, *crowd)
    assert refused.status == 409
    assert refused.json["errors"][0]["consumer"] == crowd[3]
    assert sum(cloud.used(host) for host in hosts) == 3
    assert [cloud.held(consumer) for consumer in crowd] == [{}] * 4
    assert cloud.claim(VCPU, *crowd[:3]).status == 200


def test_members_of_a_gang_may_ask_for_different_things(cloud: Cloud) -> None:
    small, large = cloud.host(vcpu=2), cloud.host(vcpu=8)
    body = claim_body("resources=VCPU:1", [new_uuid(), new_uuid()], relation="anti-affinity")
    body["consumers"][1]["request"] = "resources=VCPU:6"
    assert hosts_of(cloud.own.post(CLAIMS, body)) == [{small}, {large}]


def test_alternates_are_told_and_not_held(cloud: Cloud) -> None:
    hosts = [cloud.host() for _ in range(4)]
    answer = cloud.claim(VCPU, alternates=2)
    (claim,) = answer.json["claims"]
    assert set(claim["allocations"]) == {hosts[0]}
    assert [set(one["allocations"]) for one in claim["alternates"]] == [{hosts[1]}, {hosts[2]}]
    assert [one["mappings"] for one in claim["alternates"]] == [{"": [hosts[1]]}, {"": [hosts[2]]}]
    assert [cloud.used(host) for host in hosts] == [1, 0, 0, 0]


def test_a_refusal_says_what_each_constraint_left(cloud: Cloud) -> None:
    world = World(cloud.client)
    cloud.host(vcpu=2)
    cloud.host(vcpu=0, disk=10)
    tagged = cloud.host(vcpu=8)
    world.traits(tagged, "CUSTOM_FAST")
    refused = cloud.claim("resources=VCPU:4&required=!CUSTOM_FAST")
    assert (refused.status, refused.code) == (409, "moorage.nothing_fits")
    (error,) = refused.json["errors"]
    assert error["gave_up"] is False
    assert error["explanation"]["roots"] == 3
    steps = [
        (step["constraint"], step["group"], step["asked"], step["eliminated"], step["left"])
        for step in error["explanation"]["steps"]
    ]
    assert steps == [
        ("required", "", "!CUSTOM_FAST", 1, 2),
        ("inventory", "", "VCPU:4", 1, 1),
        ("units", "", "VCPU:4", 1, 0),
        ("capacity", "", "VCPU:4", 0, 0),
        ("free", "", "VCPU:4", 0, 0),
        ("together", None, "all groups at once", 0, 0),
    ]
    assert "of 3 roots required !CUSTOM_FAST leaves 2" in error["detail"]
    asked = {"request": "resources=VCPU:4&required=!CUSTOM_FAST"}
    explained = cloud.own.post("/moorage/v1/explanations", asked)
    assert explained.json["steps"] == error["explanation"]["steps"]
    assert explained.json["left"] == 0


def test_a_request_that_is_sent_again_is_told_the_claims_that_stand(cloud: Cloud) -> None:
    cloud.host(vcpu=2)
    gang = [new_uuid(), new_uuid()]
    first = cloud.claim(VCPU, *gang, alternates=1)
    # The cloud is full by now: there would be no other place.
    second = cloud.claim(VCPU, *gang, alternates=1)
    assert second.status == 200
    assert second.json == {**first.json, "repeated": True}
    other = cloud.again().claim(VCPU, *gang, alternates=1)
    assert other.json == second.json


def test_another_request_for_a_consumer_that_holds_something_is_refused(cloud: Cloud) -> None:
    cloud.host(), cloud.host()
    consumer = new_uuid()
    assert cloud.claim(VCPU, consumer).status == 200
    for request, more in (("resources=VCPU:2", {}), (VCPU, {"alternates": 1})):
        refused = cloud.claim(request, consumer, **more)
        assert (refused.status, refused.code) == (409, "moorage.consumer_holds")
        assert refused.json["errors"][0]["consumer"] == consumer
        assert refused.json["errors"][0]["generation"] == 1
    refused = cloud.claim(VCPU, consumer, new_uuid())
    assert (refused.status, refused.code) == (409, "moorage.consumer_holds")


def test_what_placements_api_changed_since_is_no_longer_that_claim(cloud: Cloud) -> None:
    host, consumer = cloud.host(), new_uuid()
    cloud.claim(VCPU, consumer)
    body = cloud.client.get(f"/allocations/{consumer}").json
    assert cloud.client.put(f"/allocations/{consumer}", body).status == 204
    assert cloud.claim(VCPU, consumer).code == "moorage.consumer_holds"
    shown = cloud.own.get(f"{CLAIMS}/{consumer}").json
    assert (shown["claim"], shown["generation"]) == (None, 2)
    assert cloud.client.delete(f"/allocations/{consumer}").status == 204
    again = cloud.claim(VCPU, consumer)
    assert (again.status, again.json["repeated"]) == (200, False)
    assert cloud.used(host) == 1


def test_a_claim_is_shown_with_what_it_was_made_of(cloud: Cloud) -> None:
    host, consumer = cloud.host(), new_uuid()
    made = cloud.claim(VCPU, consumer).json["claims"][0]
    shown = cloud.own.get(f"{CLAIMS}/{consumer}").json
    assert shown["claim"] == made
    assert shown["allocations"] == {host: {"resources": {"VCPU": 1}}}
    unknown = cloud.own.get(f"{CLAIMS}/{new_uuid()}")
    assert (unknown.status, unknown.code) == (404, "moorage.unknown_consumer")
    assert cloud.own.get(f"{CLAIMS}/x").status == 400


@pytest.mark.parametrize(
    "spoil",
    [
        {"request": "resources=VCPU:0"},
        {"request": "resources=VCPU:1&limit=1"},
        {"request": "colour=red"},
        {"request": "resources=VCPU:1&resources_A=VCPU:1&resources_B=VCPU:1"},
        {"request": "resources=CUSTOM_UNHEARD_OF:1"},
        {"request": "resources=VCPU:1&required=CUSTOM_UNHEARD_OF"},
        {"request": {"groups": {}}},
        {"request": {"groups": {"": {"resources": {"VCPU": 1}, "required": [[]]}}}},
        {"request": {"groups": {"?": {"resources": {"VCPU": 1}}}}},
        {"request": None},
        {"strategy": "best"},
        {"relation": "love"},
        {"alternates": 101},
        {"expires_in_s": 0},
        {"expires_in_s": 31 * 24 * 3600},
        {"trees": {"use": ["x"]}},
        {"consumers": []},
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_a_bad_request(cloud: Cloud, spoil: dict[str, Any]) -> None:
    cloud.host()
    answer = cloud.own.post(CLAIMS, {**claim_body(VCPU, [new_uuid()]), **spoil})
    assert answer.status == 400, answer
    assert answer.code is not None
    assert answer.code.startswith("moorage.")


def test_a_consumer_is_named_once_and_by_its_uuid(cloud: Cloud) -> None:
    cloud.host()
    consumer = new_uuid()
    assert cloud.claim(VCPU, consumer, consumer).status == 400
    assert cloud.claim(VCPU, "me").status == 400


def test_real_answers_are_what_the_description_says(cloud: Cloud) -> None:
    cloud.host(), cloud.host()
    schemas = cloud.own.get("/moorage/v1/openapi.json").json["components"]["schemas"]

    def check(answer: Answer, name: str) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema.Draft202012Validator(schema).validate(answer.json)

    consumer = new_uuid()
    body = claim_body(VCPU, [consumer], alternates=1, expires_in_s=60)
    jsonschema.Draft202012Validator(
        {"$ref": "#/components/schemas/ClaimsAsked", "components": {"schemas": schemas}}
    ).validate(body)
    check(cloud.own.post(CLAIMS, body), "ClaimsAnswer")
    check(cloud.own.get(f"{CLAIMS}/{consumer}"), "ConsumerAnswer")
    check(cloud.own.put(f"{CLAIMS}/{consumer}/lease", {"expires_in_s": 5}), "LeaseAnswer")
    check(cloud.own.post("/moorage/v1/explanations", {"request": VCPU}), "ExplanationAnswer")
    check(cloud.claim("resources=VCPU:100"), "Errors")


# Many at once


def crowd(clouds: list[Cloud], bodies: list[dict[str, Any]]) -> list[Answer]:
    """The answers to all these claims, sent by a thread for every so many."""
    answers: list[Answer] = []

    def send(cloud: Cloud, own: list[dict[str, Any]]) -> None:
        answers.extend(cloud.own.post(CLAIMS, body) for body in own)

    threads_max = 8
    threads = [
        threading.Thread(
            target=send, args=(clouds[number % len(clouds)], bodies[number::threads_max])
        )
        for number in range(threads_max)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(bodies)
    return answers


def race(cloud: Cloud, claims: int, **more: Any) -> Counter[tuple[int, str | None]]:
    asked = "resources=VCPU:1,DISK_GB:10"
    bodies = [claim_body(asked, [new_uuid()], **more) for _ in range(claims)]
    answers = crowd([cloud, cloud.again()], bodies)
    return Counter((answer.status, answer.code) for answer in answers)


@pytest.mark.parametrize("strategy", ["first", "spread"])
def test_many_claims_at_once_take_all_there_is_and_no_more(cloud: Cloud, strategy: str) -> None:
    pool = cloud.pool(disk=400)
    hosts = [cloud.host(vcpu=10, pooled=True) for _ in range(5)]
    told = race(cloud, 48, strategy=strategy)
    assert told == {(200, None): 40, (409, "moorage.nothing_fits"): 8}
    assert cloud.used(pool, "DISK_GB") == 400
    assert sum(cloud.used(host) for host in hosts) == 40


def test_hosts_that_are_full_at_once_are_no_hindrance(cloud: Cloud) -> None:
    hosts = [cloud.host(vcpu=1, disk=10) for _ in range(40)]
    assert race(cloud, 40, strategy="first") == {(200, None): 40}
    assert [cloud.used(host) for host in hosts] == [1] * 40


@pytest.mark.slow
def test_a_thousand_claims_against_one_pool(cloud: Cloud) -> None:
    pool = cloud.pool(disk=10_000)
    for _ in range(20):
        cloud.host(vcpu=100, pooled=True)
    assert race(cloud, 1_000) == {(200, None): 1_000}
    assert cloud.used(pool, "DISK_GB") == 10_000
    refused = cloud.claim("resources=VCPU:1,DISK_GB:10")
    assert refused.code == "moorage.nothing_fits"


def test_gangs_at_once_hold_whole_or_not_at_all(cloud: Cloud) -> None:
    hosts = [cloud.host(vcpu=6) for _ in range(3)]
    bodies = [
        claim_body(VCPU, [new_uuid() for _ in range(3)], relation="anti-affinity") for _ in range(9)
    ]
    answers = crowd([cloud, cloud.again()], bodies)
    assert Counter(answer.status for answer in answers) == {200: 6, 409: 3}
    assert [cloud.used(host) for host in hosts] == [6, 6, 6]


def test_the_same_request_sent_twice_at_once_is_one_claim(cloud: Cloud) -> None:
    host = cloud.host(vcpu=100)
    bodies = [claim_body(VCPU, [new_uuid()]) for _ in range(10)]
    answers = crowd([cloud, cloud.again()], [*bodies, *bodies, *bodies])
    assert {answer.status for answer in answers} == {200}
    assert sum(not answer.json["repeated"] for answer in answers) == 10
    assert cloud.used(host) == 10
