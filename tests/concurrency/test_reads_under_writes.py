"""A read that begins after a write was acknowledged reflects it, through whichever process."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.concurrency.crowd import Member, Owner, read_used, run_crowd_for, sum_held
from tests.support.client import Client
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, choose_subject
from tests.support.servers import Server, serve
from tests.support.world import World, new_uuid

WORKERS = 2
READERS = WRITERS = 8
SECONDS = {DatabaseKind.POSTGRESQL: 60.0}
SECONDS_ELSEWHERE = 15.0
TOTAL = 1_000_000
INVENTORY_EVERY = 4


class Host:
    """A host that one writer alone changes, always upwards, and how far it has come."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.owner = Owner()
        self.begun: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self.generation = 1

    def change(self, member: Member) -> None:
        """Claim a unit, now and then offer another one too."""
        self.begun["used"] += 1
        body = self.owner.claim({self.uuid: {"VCPU": 1}}, None)
        assert member.hear(member.client.put(f"/allocations/{new_uuid()}", body)).status == 204
        self.acknowledged["used"] += 1
        self.generation += 1
        if self.acknowledged["used"] % INVENTORY_EVERY == 0:
            self.begun["offered"] += 1
            offer = {"VCPU": {"total": TOTAL + self.begun["offered"]}}
            stated = {"resource_provider_generation": self.generation, "inventories": offer}
            path = f"/resource_providers/{self.uuid}/inventories"
            assert member.hear(member.client.put(path, stated)).status == 200
            self.acknowledged["offered"] += 1
            self.generation += 1


Look = Callable[[Client, Host], int]


def used_on_provider(client: Client, host: Host) -> int:
    return read_used(client, host.uuid)


def held_of_provider(client: Client, host: Host) -> int:
    return sum_held(client, host.uuid)


def used_by_project(client: Client, host: Host) -> int:
    by_type = client.get(f"/usages?project_id={host.owner.project}").json["usages"]
    return sum(group["VCPU"] for group in by_type.values())


def summary_of(client: Client, host: Host) -> dict[str, Any]:
    search = f"/allocation_candidates?resources=VCPU:1&in_tree={host.uuid}"
    summary: dict[str, Any] = client.get(search).json["provider_summaries"][host.uuid]
    return summary


def used_in_summary(client: Client, host: Host) -> int:
    used: int = summary_of(client, host)["resources"]["VCPU"]["used"]
    return used


def offered_in_summary(client: Client, host: Host) -> int:
    capacity: int = summary_of(client, host)["resources"]["VCPU"]["capacity"]
    return capacity - TOTAL


def offered_by_provider(client: Client, host: Host) -> int:
    shown = client.get(f"/resource_providers/{host.uuid}/inventories").json
    total: int = shown["inventories"]["VCPU"]["total"]
    return total - TOTAL


LOOKS: Sequence[tuple[str, Look]] = (
    ("used", used_on_provider),
    ("used", held_of_provider),
    ("used", used_by_project),
    ("used", used_in_summary),
    ("offered", offered_in_summary),
    ("offered", offered_by_provider),
)


@pytest.fixture
def server(
    database_kind: DatabaseKind,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Several processes on one database."""
    deployment = Deployment(tmp_path_factory.mktemp("served"), databases.fresh(database_kind))
    with serve(choose_subject(), deployment, workers=WORKERS) as server:
        yield server


@pytest.mark.slow
def test_every_read_reflects_every_write_acknowledged_before_it_began(
    server: Server, database_kind: DatabaseKind
) -> None:
    world = World(server.client())
    hosts = [Host(world.provider(f"host-{new_uuid()}")) for _ in range(WRITERS)]
    for host in hosts:
        world.inventory(host.uuid, "VCPU", TOTAL)
        # The first claim of a project, so that there is something to read of it.
        host.change(Member(server.client("1.39"), random.Random(0), 0))
    seen: Counter[str] = Counter()

    def act(member: Member) -> None:
        if member.number < WRITERS:
            hosts[member.number].change(member)
            return
        host = member.dice.choice(hosts)
        what, look = member.dice.choice(LOOKS)
        least = host.acknowledged[what]
        told = look(member.client, host)
        assert least <= told <= host.begun[what], look.__name__
        seen[look.__name__] += 1

    seconds = SECONDS.get(database_kind, SECONDS_ELSEWHERE)
    run_crowd_for(server, WRITERS + READERS, seconds, act)
    assert set(seen) == {look.__name__ for _, look in LOOKS}
    assert min(host.acknowledged["offered"] for host in hosts) > 0
