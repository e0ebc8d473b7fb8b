"""No oversell, nothing lost, nothing that was refused kept, and no failure that a client sees."""

import threading
from collections.abc import Iterator

import pytest

from tests.concurrency.crowd import (
    Member,
    Owner,
    check_never_falls,
    read_held,
    read_used,
    run_crowd,
    run_crowd_times,
    sum_held,
)
from tests.support.client import Answer, Client
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, choose_subject
from tests.support.ids import new_uuid
from tests.support.servers import Server, serve
from tests.support.world import World

# The server of this file is started once, not once for each worker of the run.
pytestmark = pytest.mark.xdist_group("concurrency")

WORKERS = 3
CROWD_SIZE = 10
ACTS = 24
ROUNDS = 20


@pytest.fixture(scope="module")
def server(
    database_kind: DatabaseKind,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Several processes on one database."""
    deployment = Deployment(tmp_path_factory.mktemp("served"), databases.fresh(database_kind))
    with serve(choose_subject(), deployment, workers=WORKERS) as server:
        yield server


@pytest.fixture
def world(server: Server) -> World:
    return World(server.client())


@pytest.fixture
def reader(server: Server) -> Client:
    return server.client("1.39")


def make_hosts(world: World, count: int, total: int, **more: object) -> list[str]:
    hosts = [world.provider(f"host-{new_uuid()}") for _ in range(count)]
    for host in hosts:
        world.inventory(host, "VCPU", total, **more)
    return hosts


class Ledger:
    """What the only writer of each consumer was told, to be compared with the books at the end."""

    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts
        self._owner = Owner()
        # consumer -> (host, amount, generation)
        self.acknowledged: dict[str, tuple[str, int, int]] = {}
        self.empty: set[str] = set()

    def act(self, member: Member) -> None:
        """Claim for a new consumer, or change or release one that this member made."""
        mine = [name for name in self.acknowledged if name.endswith(f"{member.number:04d}")]
        if not mine or member.dice.random() < 0.5:
            self._claim_anew(member)
        elif member.dice.random() < 0.5:
            self._release(member, member.dice.choice(mine))
        else:
            self._change(member, member.dice.choice(mine))

    def sum_acknowledged(self, host: str) -> int:
        return sum(amount for place, amount, _ in self.acknowledged.values() if place == host)

    def _claim_anew(self, member: Member) -> None:
        consumer = f"{new_uuid()[:-4]}{member.number:04d}"
        host, amount = member.dice.choice(self._hosts), member.dice.randint(1, 3)
        body = self._owner.claim({host: {"VCPU": amount}}, None)
        client = member.client
        if member.dice.random() < 0.3:
            # Before 1.28 nobody states a generation.
            client = client.at("1.12")
            del body["consumer_generation"], body["consumer_type"]
        if self._is_taken(member, client.put(f"/allocations/{consumer}", body)):
            self.acknowledged[consumer] = (host, amount, 1)
        else:
            self.empty.add(consumer)

    def _release(self, member: Member, consumer: str) -> None:
        assert member.hear(member.client.delete(f"/allocations/{consumer}")).status == 204
        del self.acknowledged[consumer]
        self.empty.add(consumer)

    def _change(self, member: Member, consumer: str) -> None:
        generation = self.acknowledged[consumer][2]
        host, amount = member.dice.choice(self._hosts), member.dice.randint(1, 3)
        body = self._owner.claim({host: {"VCPU": amount}}, generation)
        if self._is_taken(member, member.client.put(f"/allocations/{consumer}", body)):
            self.acknowledged[consumer] = (host, amount, generation + 1)

    def _is_taken(self, member: Member, answer: Answer) -> bool:
        if member.hear(answer).status == 204:
            return True
        # Nobody else writes these consumers, so only a full host may refuse.
        assert answer.status == 409, repr(answer)
        assert "exceed the capacity" in answer.text, repr(answer)
        return False


def test_claims_never_exceed_capacity_and_the_books_hold_what_was_acknowledged(
    server: Server, world: World, reader: Client
) -> None:
    capacity = 10
    hosts = make_hosts(world, 3, capacity)
    ledger = Ledger(hosts)
    told = run_crowd_times(server, CROWD_SIZE, ACTS, ledger.act)
    # What there is room for at the least, whoever comes first.
    assert told[204] >= capacity // 3
    for consumer, (host, amount, _) in ledger.acknowledged.items():
        assert read_held(reader, consumer) == {host: {"VCPU": amount}}
    for consumer in ledger.empty:
        assert read_held(reader, consumer) == {}
    for host in hosts:
        expected = ledger.sum_acknowledged(host)
        assert sum_held(reader, host) == expected
        assert read_used(reader, host) == expected
        assert expected <= capacity


def test_a_full_host_is_never_seen_beyond_its_capacity(
    server: Server, world: World, reader: Client
) -> None:
    capacity = 4
    (host,) = make_hosts(world, 1, capacity)
    owner = Owner()
    over = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        client = server.client("1.39")
        while True:
            seen.append(read_used(client, host))
            if over.is_set():
                break

    def act(member: Member) -> None:
        consumer = new_uuid()
        body = owner.claim({host: {"VCPU": member.dice.randint(1, 4)}}, None)
        answer = member.hear(member.client.put(f"/allocations/{consumer}", body))
        if answer.status == 204:
            assert member.hear(member.client.delete(f"/allocations/{consumer}")).status == 204

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        told = run_crowd_times(server, CROWD_SIZE, ACTS // 2, act)
    finally:
        over.set()
        watcher.join()
    assert told[204] > 0
    assert max(seen) <= capacity
    assert read_used(reader, host) == sum_held(reader, host) == 0


def test_one_writer_alone_wins_a_new_consumer(server: Server, world: World, reader: Client) -> None:
    (host,) = make_hosts(world, 1, 1000)
    owner = Owner()
    for _ in range(ROUNDS):
        consumer = new_uuid()
        won: list[int] = []

        def act(member: Member, consumer: str = consumer, won: list[int] = won) -> None:
            amount = member.number + 1
            body = owner.claim({host: {"VCPU": amount}}, None)
            answer = member.hear(member.client.put(f"/allocations/{consumer}", body))
            assert answer.status in (204, 409), repr(answer)
            if answer.status == 204:
                won.append(amount)
            else:
                assert "consumer generation conflict" in answer.text

        run_crowd(server, 5, act)
        assert len(won) == 1
        assert read_held(reader, consumer) == {host: {"VCPU": won[0]}}
    assert read_used(reader, host) == sum_held(reader, host)


def test_generations_count_the_writes_and_never_go_backwards(
    server: Server, world: World, reader: Client
) -> None:
    (host,) = make_hosts(world, 1, 100)
    target = f"/resource_providers/{host}/inventories"
    start = reader.get(target).json["resource_provider_generation"]
    wins: list[int] = []

    def act(member: Member) -> None:
        seen = []
        for _ in range(15):
            generation = member.hear(member.client.get(target)).json["resource_provider_generation"]
            seen.append(generation)
            total = 100 + member.dice.randint(0, 50)
            body = {
                "resource_provider_generation": generation,
                "inventories": {"VCPU": {"total": total}},
            }
            answer = member.hear(member.client.put(target, body))
            assert answer.status in (200, 409), repr(answer)
            if answer.status == 200:
                wins.append(answer.json["resource_provider_generation"])
                seen.append(wins[-1])
        check_never_falls(seen)

    run_crowd(server, 6, act)
    assert len(wins) == len(set(wins)), "two writers were given one generation"
    end = reader.get(target).json["resource_provider_generation"]
    assert end - start == len(wins)


def test_a_provider_with_allocations_is_never_deleted(
    server: Server, world: World, reader: Client
) -> None:
    owner = Owner()
    for _ in range(ROUNDS):
        (host,) = make_hosts(world, 1, 8)
        consumer = new_uuid()
        told: dict[str, int] = {}

        def act(
            member: Member, host: str = host, consumer: str = consumer, told: dict = told
        ) -> None:
            if member.number == 0:
                body = owner.claim({host: {"VCPU": 1}}, None)
                answer = member.client.put(f"/allocations/{consumer}", body)
                told["claim"] = member.hear(answer).status
            else:
                answer = member.client.delete(f"/resource_providers/{host}")
                told["delete"] = member.hear(answer).status

        run_crowd(server, 2, act)
        assert (told["claim"], told["delete"]) in {(204, 409), (400, 204), (409, 204)}, told
        held = {host: {"VCPU": 1}} if told["claim"] == 204 else {}
        assert read_held(reader, consumer) == held
        status = reader.get(f"/resource_providers/{host}").status
        assert status == (200 if told["claim"] == 204 else 404)


def test_the_same_new_aggregates_and_names_are_written_by_all_at_once(
    server: Server, world: World, reader: Client
) -> None:
    owner = Owner()
    hosts = make_hosts(world, CROWD_SIZE, 8)
    for host in hosts[:2]:
        world.claim({host: {"VCPU": 1}}, project=owner.project, user=owner.user)
    for _ in range(ROUNDS // 2):
        aggregates = [new_uuid() for _ in range(4)]
        trait = f"CUSTOM_T{new_uuid().replace('-', '').upper()}"
        resource_class = f"CUSTOM_C{new_uuid().replace('-', '').upper()}"

        def act(
            member: Member,
            aggregates: list[str] = aggregates,
            trait: str = trait,
            resource_class: str = resource_class,
        ) -> None:
            host = f"/resource_providers/{hosts[member.number]}"
            client = member.client
            generation = member.hear(client.get(host)).json["generation"]
            body = {
                "aggregates": member.dice.sample(aggregates, 4),
                "resource_provider_generation": generation,
            }
            assert member.hear(client.put(f"{host}/aggregates", body)).status == 200
            assert member.hear(client.put(f"/traits/{trait}")).status in (201, 204)
            assert member.hear(client.put(f"/resource_classes/{resource_class}")).status in (
                201,
                204,
            )
            usages = member.hear(client.get(f"/usages?project_id={owner.project}"))
            assert usages.json["usages"]["unknown"]["VCPU"] == 2

        run_crowd(server, CROWD_SIZE, act)
        for host in hosts:
            shown = reader.get(f"/resource_providers/{host}/aggregates").json
            assert sorted(shown["aggregates"]) == sorted(aggregates)


def test_migrations_swap_confirm_and_revert_under_load(
    server: Server, world: World, reader: Client
) -> None:
    """Nova's way: the hold to the migration's uuid, a claim elsewhere, then confirm or revert."""
    hosts = make_hosts(world, 3, 2 * CROWD_SIZE)
    owner = Owner()
    books: dict[str, dict[str, dict[str, int]]] = {}

    def act(member: Member) -> None:
        instance, migration = new_uuid(), new_uuid()
        source, destination = member.dice.sample(hosts, 2)
        held = {source: {"VCPU": 2}}
        books[instance], books[migration] = {}, {}
        put = member.client.put(f"/allocations/{instance}", owner.claim(held, None))
        if member.hear(put).status != 204:
            assert "exceed the capacity" in put.text, repr(put)
            return
        books[instance] = held
        assert swap(member, (instance, 1), (migration, None), held).status == 204
        books[instance], books[migration] = {}, held
        claimed = {destination: {"VCPU": 2}}
        put = member.client.put(f"/allocations/{instance}", owner.claim(claimed, None))
        if member.hear(put).status == 204:
            books[instance] = claimed
            if member.dice.random() < 0.5:
                gone = member.client.delete(f"/allocations/{migration}")
                assert member.hear(gone).status == 204
                books[migration] = {}
        else:
            assert "exceed the capacity" in put.text, repr(put)
            assert swap(member, (migration, 1), (instance, None), held).status == 204
            books[instance], books[migration] = held, {}
        for consumer in (instance, migration):
            if books[consumer] and member.dice.random() < 0.8:
                gone = member.client.delete(f"/allocations/{consumer}")
                assert member.hear(gone).status == 204
                books[consumer] = {}

    def swap(member, giver, taker, held):  # type: ignore[no-untyped-def]
        body = {
            giver[0]: owner.claim({}, giver[1]),
            taker[0]: owner.claim(held, taker[1], consumer_type="MIGRATION"),
        }
        return member.hear(member.client.post("/allocations", body))

    told = run_crowd_times(server, CROWD_SIZE, ACTS, act)
    assert told[204] > CROWD_SIZE
    for consumer, held in books.items():
        assert read_held(reader, consumer) == held
    for host in hosts:
        expected = sum(held.get(host, {}).get("VCPU", 0) for held in books.values())
        assert read_used(reader, host) == sum_held(reader, host) == expected
        assert expected <= 2 * CROWD_SIZE
