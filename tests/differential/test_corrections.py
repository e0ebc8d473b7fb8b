"""Upstream's faults in merging candidates are told from faults of ours."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from tests.differential.pair import Disagreement, InProcess, Pair
from tests.differential.steps import Request
from tests.support.client import Answer, Transport

HEADERS = {
    "Accept": "application/json",
    "X-Auth-Token": "admin",
    "OpenStack-API-Version": "placement 1.39",
    "Content-Type": "application/json",
}
HERE = "eeeeeeee-0000-4000-8000-000000000000"
# A class that stands in two groups, with a choice for the other class of the first.
TWICE = "/allocation_candidates?resources=PCPU:1,VGPU:1&resources1=PCPU:2"
# A group that the pools serve alone, for either host, and one that the hosts serve.
POOLS_ALONE = "/allocation_candidates?resources=DISK_GB:5&resources1=VCPU:1"
BOTH = f"{POOLS_ALONE}&resources2=DISK_GB:2&group_policy="

# The books are furnished once, not once for each worker of the run.
pytestmark = pytest.mark.xdist_group("corrections")


def uuid_of(number: int) -> str:
    return f"aaaaaaaa-0000-4000-8000-00000000000{number}"


def send(pair: Pair, method: str, target: str, body: object = None) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    assert pair.send(Request(method, target, HEADERS, content))


def furnish(pair: Pair, number: int, stock: Mapping[str, int], parent: int | None = None) -> str:
    uuid = uuid_of(number)
    body = {"name": f"node-{number}", "uuid": uuid}
    if parent is not None:
        body["parent_provider_uuid"] = uuid_of(parent)
    send(pair, "POST", "/resource_providers", body)
    inventories = {name: {"total": total} for name, total in stock.items()}
    body = {"resource_provider_generation": 0, "inventories": inventories}
    send(pair, "PUT", f"/resource_providers/{uuid}/inventories", body)
    return f"/resource_providers/{uuid}"


def gather(pair: Pair, provider: str) -> None:
    body = {"resource_provider_generation": 1, "aggregates": [HERE]}
    send(pair, "PUT", f"{provider}/aggregates", body)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A host with three devices, and two hosts with two pools."""
    with InProcess(tmp_path_factory.mktemp("pairs")).fresh_pair() as pair:
        furnish(pair, 0, {"PCPU": 6})
        for number in (1, 2, 3):
            furnish(pair, number, {"VGPU": 1}, parent=0)
        for number in (4, 5):
            gather(pair, furnish(pair, number, {"VCPU": 8}))
        for number in (6, 7):
            pool = furnish(pair, number, {"DISK_GB": 100})
            gather(pair, pool)
            body = {"resource_provider_generation": 2, "traits": ["MISC_SHARES_VIA_AGGREGATE"]}
            send(pair, "PUT", f"{pool}/traits", body)
        yield pair


@pytest.fixture
def pair(furnished: Pair) -> Pair:
    return replace(furnished, sent=[], explained=[])


@pytest.mark.parametrize(
    ("target", "faults"),
    [
        (TWICE, ["amounts-added-up"]),
        (POOLS_ALONE, ["trees-lost"]),
        (f"{BOTH}isolate", ["amounts-added-up", "trees-lost"]),
        (f"{BOTH}none", ["trees-lost"]),
    ],
)
def test_what_upstream_gets_wrong_is_told_by_name(
    pair: Pair, target: str, faults: list[str]
) -> None:
    send(pair, "GET", target)
    assert pair.explained == faults
    for limit in ("&limit=1", "&limit=99"):
        send(pair, "GET", target + limit)


@pytest.mark.parametrize("target", [TWICE, POOLS_ALONE, f"{BOTH}isolate"])
@pytest.mark.parametrize("limit", ["", "&limit=99"])
def test_a_candidate_that_we_miss_is_not_put_down_to_upstream(
    pair: Pair, target: str, limit: str
) -> None:
    pair.ours = without_last_candidate(pair.ours)
    with pytest.raises(Disagreement):
        send(pair, "GET", target + limit)


def without_last_candidate(ours: Transport) -> Transport:
    def call(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = ours(method, target, headers, body)
        document = answer.json
        document["allocation_requests"].pop()
        return Answer(answer.status, answer.headers, json.dumps(document).encode())

    return call
