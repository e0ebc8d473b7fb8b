"""Two nodes are one set of books: nothing oversold, nothing lost, nothing seen late."""

import time
from pathlib import Path

import pytest

from tests.concurrency.crowd import (
    STUCK_S,
    Member,
    Owner,
    read_held,
    read_used,
    run_crowd,
    run_crowd_for,
    sum_held,
)
from tests.galera.site import (
    NEWEST,
    Ledger,
    Site,
    finish_upgrade,
    run_beside,
    serve_on_both,
    start_upgrade,
)
from tests.support.client import Client
from tests.support.deployments import Deployment, Subject
from tests.support.galera import GaleraCluster
from tests.support.ids import new_uuid
from tests.support.servers import serve
from tests.support.world import World

pytestmark = [pytest.mark.mariadb, pytest.mark.slow]

CROWD_SIZE = 8
RUN_S = 3.0
ROUNDS = 10
PAUSE_S_MAX = 20.0
"""How long a write may take when the other node dies: Galera gives a silent node up after 5 s."""
OUTAGE_S = 12.0
PACE_S = 0.05
RECOVERY_S_MAX = 20.0


def find_fitting(client: Client, host: str, amount: int) -> list[str]:
    """The providers of this host's tree that could give so many VCPU."""
    found = client.get(f"/allocation_candidates?resources=VCPU:{amount}&in_tree={host}")
    assert found.status == 200, repr(found)
    return list(found.json["provider_summaries"])


def test_writers_on_both_nodes_oversell_nothing_and_are_read_at_once_on_each(site: Site) -> None:
    capacity = 10
    ledger = Ledger(site.make_hosts(3, capacity))
    readers = [site.both() for _ in range(CROWD_SIZE)]

    def act(member: Member) -> None:
        consumer = ledger.claim_or_release(member)
        assert consumer not in ledger.doubtful
        for reader in readers[member.number]:
            assert read_held(reader, consumer) == ledger.known[consumer]

    run_crowd_for(site, CROWD_SIZE, RUN_S, act)
    assert len(ledger.acknowledged_at) > CROWD_SIZE
    for reader in site.both():
        ledger.check(reader, capacity)
    assert site.find_faults() == []


def test_candidates_on_the_other_node_see_a_claim_and_a_release_at_once(site: Site) -> None:
    amount = 8
    hosts = site.make_hosts(CROWD_SIZE, amount)
    pairs = [site.both() for _ in range(CROWD_SIZE)]
    owner = Owner()

    def act(member: Member) -> None:
        host, consumer = hosts[member.number], new_uuid()
        writer, other = member.dice.sample(pairs[member.number], 2)
        body = owner.claim({host: {"VCPU": amount}}, None)
        assert member.hear(writer.put(f"/allocations/{consumer}", body)).status == 204
        assert find_fitting(other, host, 1) == []
        assert member.hear(other.delete(f"/allocations/{consumer}")).status == 204
        assert find_fitting(writer, host, amount) == [host]

    told = run_crowd_for(site, CROWD_SIZE, RUN_S, act)
    assert told[204] > 2 * CROWD_SIZE


def test_what_is_made_on_one_node_can_be_used_on_the_other_at_once(site: Site) -> None:
    sides = site.both()
    for turn in range(ROUNDS):
        here, there = sides[turn % 2], sides[1 - turn % 2]
        world = World(here)
        parent = world.provider(f"host-{new_uuid()}")
        child = World(there).provider(f"part-{new_uuid()}", parent=parent)
        world.inventory(child, f"CUSTOM_C{turn}", 4)
        World(there).traits(child, f"CUSTOM_T{turn}")
        fitting = here.get(
            f"/allocation_candidates?resources=CUSTOM_C{turn}:4&required=CUSTOM_T{turn}"
        )
        assert list(fitting.json["allocation_requests"][0]["allocations"]) == [child]


def test_conflicts_between_the_nodes_are_not_told_to_clients(site: Site) -> None:
    (host,) = site.make_hosts(1, 100_000)
    owner = Owner()
    conflicts_before = count_conflicts(site.cluster)

    def act(member: Member) -> None:
        body = owner.claim({host: {"VCPU": 1}}, None)
        answer = member.client.put(f"/allocations/{new_uuid()}", body)
        assert member.hear(answer).status == 204, repr(answer)

    told = run_crowd_for(site, CROWD_SIZE, RUN_S, act)
    assert count_conflicts(site.cluster) > conflicts_before, "the nodes never met"
    for reader in site.both():
        assert read_used(reader, host) == sum_held(reader, host) == told[204]


def count_conflicts(cluster: GaleraCluster) -> int:
    """How many transactions either node has given up for one of the other's."""
    return sum(
        node.count_status(name)
        for node in (cluster.first, cluster.second)
        for name in ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")
    )


def test_of_writers_on_both_nodes_with_one_generation_one_wins(site: Site) -> None:
    (host,) = site.make_hosts(1, 100)
    target = f"/resource_providers/{host}/inventories"
    for _ in range(ROUNDS):
        shown = site.first.client(NEWEST).get(target).json
        won: list[int] = []

        def act(member: Member, shown: dict = shown, won: list[int] = won) -> None:
            total = 100 + member.number
            answer = member.client.put(target, {**shown, "inventories": {"VCPU": {"total": total}}})
            assert member.hear(answer).status in (200, 409), repr(answer)
            if answer.status == 200:
                won.append(total)

        run_crowd(site, 4, act)
        assert len(won) == 1
        for reader in site.both():
            assert reader.get(target).json["inventories"]["VCPU"]["total"] == won[0]


def test_totals_are_counted_anew_through_one_node_while_both_are_written_to(
    site: Site, tmp_path: Path
) -> None:
    capacity = 10
    ledger = Ledger(site.make_hosts(3, capacity))
    url = site.cluster.first.url(site.database)

    def count_anew() -> None:
        for _ in range(2):
            finish_upgrade(start_upgrade(url, tmp_path, "--count-anew"))

    def act(member: Member) -> None:
        assert ledger.claim_or_release(member) not in ledger.doubtful

    run_beside(count_anew, lambda: run_crowd_for(site, CROWD_SIZE, RUN_S, act))
    for reader in site.both():
        ledger.check(reader, capacity)
    assert site.find_faults() == []


def test_an_empty_database_is_upgraded_through_both_nodes_at_once(
    cluster: GaleraCluster, tmp_path: Path
) -> None:
    cluster.create_database("empty")
    upgrades = [
        start_upgrade(node.url("empty"), tmp_path / name)
        for name, node in (("first", cluster.first), ("second", cluster.second))
    ]
    for upgrade in upgrades:
        finish_upgrade(upgrade)


def test_a_placement_database_is_adopted_through_one_node_while_the_other_serves_it(
    cluster: GaleraCluster, tmp_path: Path
) -> None:
    cluster.create_database("adopted")
    owner = Owner()
    placement = Deployment(tmp_path / "placement", cluster.second.url("adopted"))
    with serve(Subject.PEER, placement) as theirs:
        client = theirs.client(NEWEST)
        world = World(client)
        host = world.provider("host")
        world.inventory(host, "VCPU", 1000)
        held = 0

        def use() -> None:
            nonlocal held
            while upgrade.poll() is None:
                body = owner.claim({host: {"VCPU": 1}}, None)
                assert client.put(f"/allocations/{new_uuid()}", body).status == 204
                held += 1

        upgrade = start_upgrade(cluster.first.url("adopted"), tmp_path / "upgrade")
        use()
        finish_upgrade(upgrade)
        assert read_used(client, host) == held
    # Placement has written since the totals were first counted.
    again = start_upgrade(cluster.second.url("adopted"), tmp_path / "upgrade", "--count-anew")
    finish_upgrade(again)
    with serve_on_both(cluster, "adopted", tmp_path) as site:
        for reader in site.both():
            assert read_used(reader, host) == sum_held(reader, host) == held
        assert site.find_faults() == []


def test_a_node_killed_under_load_takes_nothing_along_and_comes_back(site: Site) -> None:
    capacity = 60
    hosts = site.make_hosts(3, capacity)
    here, there = Ledger(hosts[:2]), Ledger(hosts[2:])
    killed_at: list[float] = []

    def kill_second() -> None:
        time.sleep(RUN_S / 2)
        stuck_at = time.monotonic() + STUCK_S
        while not there.acknowledged_at:
            assert time.monotonic() < stuck_at
            time.sleep(0.1)
        site.cluster.second.kill()
        killed_at.append(time.monotonic())

    def use_first(member: Member) -> None:
        time.sleep(PACE_S)
        assert here.claim_or_release(member) not in here.doubtful

    def use_second(member: Member) -> None:
        if there.claim_or_release(member) in there.doubtful:
            time.sleep(0.1)

    def go_on_without_second() -> bool:
        return bool(killed_at) and count_since_kill() > CROWD_SIZE

    def count_since_kill() -> int:
        return sum(at > killed_at[0] for at in here.acknowledged_at)

    def use_both() -> None:
        run_beside(
            lambda: run_crowd_for(
                site.second,
                CROWD_SIZE // 2,
                RUN_S,
                use_second,
                enough=lambda: bool(there.doubtful),
            ),
            lambda: run_crowd_for(
                site.first, CROWD_SIZE // 2, OUTAGE_S, use_first, enough=go_on_without_second
            ),
        )

    run_beside(kill_second, use_both)
    assert here.pause_s_max < PAUSE_S_MAX
    assert count_since_kill() > CROWD_SIZE
    assert min(there.acknowledged_at) < killed_at[0]
    assert there.doubtful
    survivor, orphan = site.both()
    here.check(survivor, capacity)
    there.check(survivor, capacity)
    check_unavailable(orphan)

    # Meanwhile the first node gives the second all it has. A server ends with the thread that
    # started it, so that has to be this one.
    run_beside(
        lambda: run_crowd_for(site.first, CROWD_SIZE // 2, RUN_S, use_first),
        site.cluster.second.start,
    )
    wait_until_served(orphan)
    run_crowd_for(site, CROWD_SIZE, RUN_S / 2, use_first)
    for reader in site.both():
        here.check(reader, capacity)
        there.check(reader, capacity)
    assert site.find_faults() == []


def check_unavailable(client: Client) -> None:
    """Fail unless reads, writes and searches are all told to come again later."""
    host = f"/resource_providers/{new_uuid()}"
    for answer in (
        client.get("/resource_providers"),
        client.get(host),
        client.put(f"/traits/CUSTOM_T{new_uuid().replace('-', '').upper()}"),
        client.post("/resource_providers", {"name": new_uuid()}),
        client.put(f"/allocations/{new_uuid()}", Owner().claim({new_uuid(): {"VCPU": 1}}, None)),
        client.get("/allocation_candidates?resources=VCPU:1"),
    ):
        assert answer.status == 503, repr(answer)
        assert int(answer.headers["retry-after"]) > 0
    assert client.get("/").status == 200


def wait_until_served(client: Client) -> None:
    """Wait for the service to find its node again."""
    deadline = time.monotonic() + RECOVERY_S_MAX
    while (answer := client.get("/resource_providers")).status != 200:
        assert answer.status == 503, repr(answer)
        assert time.monotonic() < deadline
        time.sleep(0.2)
