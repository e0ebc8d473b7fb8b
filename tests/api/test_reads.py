"""Reads from memory: each holds every write acknowledged before it, whichever process took it."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from moorage.api import kept
from tests.support.app import load
from tests.support.client import Answer, Client, over_wsgi
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject
from tests.support.ids import new_uuid

PROVIDERS = 12
"""More than are listed one by one."""

AGGREGATES = [f"eeeeeeee-0000-4000-8000-00000000000{number}" for number in range(3)]
TRAITS = ["HW_CPU_X86_AVX", "CUSTOM_FAST", "CUSTOM_RED"]
STEPS = 40
# These are as old as their request, which differs.
DATED_NOW = ("/aggregates", "/usages")


class Cloud:
    """Random writes on one database through one process after the other."""

    def __init__(self, clients: list[Client], seed: int) -> None:
        self.clients = clients
        self.random = random.Random(seed)
        self.providers: list[str] = []
        self.consumers = [new_uuid() for _ in range(4)]
        for trait in TRAITS[1:]:
            assert self.client.put(f"/traits/{trait}").status == 201
        for _ in range(PROVIDERS):
            self.add_provider()

    @property
    def client(self) -> Client:
        return self.random.choice(self.clients)

    @property
    def provider(self) -> str:
        return self.random.choice(self.providers)

    def generation(self, provider: str) -> int:
        found = self.client.get(f"/resource_providers/{provider}").json
        return int(found["generation"])

    def write(self) -> None:
        """One change; some are refused, which is a test of its own."""
        self.random.choice(
            [
                self.add_provider,
                self.rename_provider,
                self.move_provider,
                self.remove_provider,
                self.set_inventories,
                self.set_traits,
                self.set_aggregates,
                self.hold,
                self.hold,
                self.let_go,
                self.hold_on_two,
                self.swap,
            ]
        )()

    def add_provider(self) -> None:
        parent = self.provider if self.providers and self.random.random() < 0.3 else None
        uuid = new_uuid()
        body = {"uuid": uuid, "name": f'host "{uuid}" % \u00e9', "parent_provider_uuid": parent}
        assert self.client.post("/resource_providers", body).status == 200
        self.providers.append(uuid)
        self._set_inventories(uuid)

    def rename_provider(self) -> None:
        parent = self._read(self.provider)
        self._update(parent["uuid"], parent["parent_provider_uuid"])

    def move_provider(self) -> None:
        self._update(self.provider, self.random.choice([None, self.provider]))

    def remove_provider(self) -> None:
        uuid = self.provider
        if self.client.delete(f"/resource_providers/{uuid}").status == 204:
            self.providers.remove(uuid)

    def set_inventories(self) -> None:
        self._set_inventories(self.provider)

    def set_traits(self) -> None:
        uuid = self.provider
        traits = self.random.sample(TRAITS, self.random.randrange(3))
        body = {"traits": traits, "resource_provider_generation": self.generation(uuid)}
        assert self.client.put(f"/resource_providers/{uuid}/traits", body).status == 200

    def set_aggregates(self) -> None:
        uuid = self.provider
        body = self.random.sample(AGGREGATES, self.random.randrange(3))
        old = self.client.at("1.10")  # does not raise the generation
        assert old.put(f"/resource_providers/{uuid}/aggregates", body).status == 200

    def hold(self) -> None:
        self._claim({self.provider: {"resources": {"VCPU": self.random.randint(1, 3)}}})

    def hold_on_two(self) -> None:
        both = {self.provider, self.provider}
        self._claim({uuid: {"resources": {"VCPU": 1}} for uuid in both})

    def swap(self) -> None:
        """What one consumer holds goes over to another, as when a migration begins."""
        giver, taker = self.random.sample(self.consumers, 2)
        held = self.client.get(f"/allocations/{giver}").json
        taken = self.client.get(f"/allocations/{taker}").json
        owner = {"project_id": "p", "user_id": "u", "consumer_type": "INSTANCE"}
        body = {
            giver: {
                "allocations": {},
                "consumer_generation": held.get("consumer_generation"),
                **owner,
            },
            taker: {
                "allocations": held["allocations"],
                "consumer_generation": taken.get("consumer_generation"),
                **owner,
            },
        }
        self.client.post("/allocations", body)

    def let_go(self) -> None:
        self.client.delete(f"/allocations/{self.random.choice(self.consumers)}")

    def _claim(self, allocations: dict[str, Any]) -> None:
        consumer = self.random.choice(self.consumers)
        held = self.client.get(f"/allocations/{consumer}").json
        body = {
            "allocations": allocations,
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": held.get("consumer_generation"),
            "consumer_type": "INSTANCE",
        }
        self.client.put(f"/allocations/{consumer}", body)

    def _read(self, uuid: str) -> Any:
        return self.client.get(f"/resource_providers/{uuid}").json

    def _update(self, uuid: str, parent: str | None) -> None:
        body = {"name": f"host {new_uuid()}", "parent_provider_uuid": parent}
        self.client.put(f"/resource_providers/{uuid}", body)

    def _set_inventories(self, uuid: str) -> None:
        total = self.random.randint(4, 9)
        inventories = {"VCPU": {"total": total, "allocation_ratio": 1.5}}
        if self.random.random() < 0.5:
            inventories["MEMORY_MB"] = {"total": 512, "reserved": total}
        body = {
            "inventories": inventories,
            "resource_provider_generation": self.generation(uuid),
        }
        self.client.put(f"/resource_providers/{uuid}/inventories", body)

    def questions(self) -> Iterator[str]:
        """Everything that can be asked about providers."""
        yield "/resource_providers"
        yield "/usages?project_id=p"
        yield "/allocation_candidates?resources=VCPU:1&limit=50"
        yield f"/resource_providers?member_of={AGGREGATES[0]}"
        yield "/resource_providers?required=CUSTOM_FAST"
        yield "/resource_providers?resources=VCPU:2"
        for uuid in self.random.sample(self.providers, 4):
            name = quote(self._read(uuid)["name"])
            yield f"/resource_providers?in_tree={uuid}"
            yield f"/resource_providers?uuid={uuid}"
            yield f"/resource_providers?in_tree={uuid}&uuid={uuid}&name={name}"
            yield f"/resource_providers/{uuid}"
            yield f"/resource_providers/{uuid}/inventories"
            yield f"/resource_providers/{uuid}/inventories/VCPU"
            yield f"/resource_providers/{uuid}/usages"
            yield f"/resource_providers/{uuid}/traits"
            yield f"/resource_providers/{uuid}/aggregates"
            yield f"/resource_providers/{uuid}/allocations"


def told(question: str, answer: Answer) -> tuple[Any, ...]:
    """What an answer says, whenever it was given."""
    aged = answer.headers.get("last-modified")
    if question.endswith(DATED_NOW) or "?" in question or "allocations" in question:
        aged = None
    document = answer.json
    if answer.status != 200:
        return answer.status, aged, answer.detail
    if document.get("traits") == []:
        aged = None
    if question.endswith("/aggregates"):
        document = {**document, "aggregates": sorted(document["aggregates"])}
    return answer.status, aged, document


@pytest.fixture
def open_client(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> Callable[[], Client]:
    """Starts another process, as it were: nothing is shared but the database."""
    url = fresh_database(database_kind)

    def open_one() -> Client:
        app = load(Subject.MOORAGE, Deployment(tmp_path / new_uuid(), url))
        return Client(over_wsgi(app), microversion="1.39")

    return open_one


@pytest.mark.parametrize("seed", range(2))
def test_a_process_that_follows_tells_what_one_that_starts_now_tells(
    open_client: Callable[[], Client], seed: int
) -> None:
    warm = [open_client(), open_client()]
    cloud = Cloud(warm, seed)
    for step in range(STEPS):
        cloud.write()
        if step % 8:
            for question in cloud.questions():
                answers = [told(question, client.get(question)) for client in warm]
                assert answers[0] == answers[1], question
            continue
        cold = open_client()
        for question in cloud.questions():
            expected = told(question, cold.get(question))
            for client in warm:
                assert told(question, client.get(question)) == expected, question


def test_documents_that_are_forgotten_are_made_anew(
    open_client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES_MAX", 1_000)
    client = open_client()
    cloud = Cloud([client], 1)
    for _ in range(2):
        for uuid in cloud.providers:
            shown = client.get(f"/resource_providers/{uuid}/inventories")
            assert shown.json["inventories"]["VCPU"]["allocation_ratio"] == 1.5
            assert client.get(f"/resource_providers/{uuid}/traits").json["traits"] == []


def test_everything_held_on_a_provider_is_told_however_much_it_is(
    open_client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    from moorage.api.resources import allocations

    monkeypatch.setattr(allocations, "CONSUMERS_AT_ONCE", 2)
    client = open_client()
    cloud = Cloud([client], 1)
    pool = cloud.providers[0]
    generation = cloud.generation(pool)
    amounts = {name: {"total": 500} for name in ("VCPU", "DISK_GB")}
    body = {"inventories": amounts, "resource_provider_generation": generation}
    assert client.put(f"/resource_providers/{pool}/inventories", body).status == 200
    consumers = [new_uuid() for _ in range(5)]
    for count, consumer in enumerate(consumers, start=1):
        held = {pool: {"resources": {"VCPU": count, "DISK_GB": 10 * count}}}
        claim = {
            "allocations": held,
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        assert client.put(f"/allocations/{consumer}", claim).status == 204
    path = f"/resource_providers/{pool}/allocations"
    for version, extra in (("1.39", {"consumer_generation": 1}), ("1.27", {})):
        assert client.at(version).get(path).json == {
            "resource_provider_generation": generation + 6,
            "allocations": {
                consumer: {"resources": {"VCPU": count, "DISK_GB": 10 * count}, **extra}
                for count, consumer in enumerate(consumers, start=1)
            },
        }
