"""Moves and credits on real databases: written with what they belong to, and never out of step."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from moorage.domain.claim import ConsumerClaim
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import CapacityExceeded, Refusal
from moorage.domain.reshape import Reshape
from moorage.operations.claim_queue import Accepted, ClaimQueue, ClaimRequest, write_claims
from moorage.operations.release import release
from moorage.operations.reshape import reshape
from moorage.operations.services import Services
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_provider import show_provider
from moorage.operations.sum_usages import sum_usages
from moorage.store import migrate
from tests.moves.cloud import Cloud, asked_with
from tests.support.app import load
from tests.support.books import (
    ABSENTEE,
    claim_for,
    count_statements,
    find_faults,
    new_uuid,
    now,
    open_services,
    origin,
    share,
)
from tests.support.client import Client, over_wsgi
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject


def sums(services: Services) -> int:
    return sum_usages(services, project_id="project", user_id=None)["DISK_GB"]


@pytest.mark.parametrize(("before", "after"), [(20, 50), (50, 20), (30, 30)])
def test_the_footprint_is_in_use_of_the_pool_and_of_the_project_at_every_step(
    services: Services, before: int, after: int
) -> None:
    cloud = Cloud.build(services)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=before))
    assert (cloud.pool_use(), sums(services)) == (before, before)
    cloud.give(instance, migration)
    assert (cloud.pool_use(), sums(services)) == (before, before)
    cloud.put(instance, cloud.on(cloud.host_2, disk=after))
    assert (cloud.pool_use(), sums(services)) == (max(before, after), max(before, after))
    assert cloud.held_by(migration) == cloud.on(cloud.host_1, disk=before)
    assert cloud.held_by(instance) == cloud.on(cloud.host_2, disk=after)
    assert find_faults(services) == []
    release(services, consumer=migration, origin=origin())
    assert (cloud.pool_use(), sums(services)) == (after, after)
    assert [(move.state, move.open_consumer) for move in cloud.moves()] == [("confirmed", None)]
    assert find_faults(services) == []


def test_a_revert_gives_back_what_was_even_on_a_full_pool(services: Services) -> None:
    cloud = Cloud.build(services, disk=50)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=50))
    cloud.give(instance, migration)
    cloud.put(instance, cloud.on(cloud.host_2, disk=10))
    with pytest.raises(CapacityExceeded):
        cloud.put(new_uuid(), {cloud.pool: {"DISK_GB": 1}})
    cloud.give(migration, instance)
    assert cloud.held_by(instance) == cloud.on(cloud.host_1, disk=50)
    assert cloud.held_by(migration) == {}
    assert [move.state for move in cloud.moves()] == ["reverted"]
    assert find_faults(services) == []


def test_a_migration_uuid_may_come_again(services: Services) -> None:
    """A reschedule gives back to the instance, and takes again for the same migration."""
    cloud = Cloud.build(services, disk=20)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=20))
    for _ in range(2):
        cloud.give(instance, migration)
        cloud.put(instance, cloud.on(cloud.host_2, disk=20))
        cloud.give(migration, instance)
    assert [move.state for move in cloud.moves()] == ["reverted", "reverted"]
    assert cloud.pool_use() == 20
    assert find_faults(services) == []


def test_a_move_and_its_credits_are_in_the_journal(services: Services) -> None:
    cloud = Cloud.build(services)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=20))
    cloud.give(instance, migration)
    cloud.put(instance, cloud.on(cloud.host_2, disk=30))
    release(services, consumer=migration, origin=origin())
    [move] = cloud.moves()
    assert json.loads(move.source) == cloud.on(cloud.host_1, disk=20)
    rows = services.store.read(
        text("SELECT kind, subject, move FROM moorage_journal WHERE move IS NOT NULL ORDER BY id")
    )
    assert {row.move for row in rows} == {move.uuid}
    assert [row.kind for row in rows] == [
        "allocation.set",
        "allocation.set",
        "move.begin",
        "allocation.set",
        "move.claim",
        "allocation.credit",
        "allocation.delete",
        "move.confirm",
        "allocation.credit",
    ]


def test_a_swap_and_its_claim_may_be_decided_together(services: Services) -> None:
    """Requests that wait for each other are written in one transaction, in their order."""
    cloud = Cloud.build(services, disk=20)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=20))
    source = cloud.on(cloud.host_1, disk=20)
    to_hold = cloud.wish(instance, {}), cloud.wish(migration, source)
    asked = asked_with("req-1")
    claimed = claim_after_swap(cloud, instance, disk=20)
    for requests, state, used in (
        ([to_hold, (claimed,)], "claimed", 20),
        ([back(cloud, instance, migration)], "reverted", 20),
    ):
        outcomes = write_claims(
            services.store, [ClaimRequest(tuple(one), asked) for one in requests], ABSENTEE
        )
        assert [type(outcome) for outcome in outcomes] == [Accepted] * len(requests)
        assert [move.state for move in cloud.moves()] == [state]
        assert cloud.pool_use() == used
        assert find_faults(services) == []


def claim_after_swap(cloud: Cloud, consumer: str, *, disk: int) -> ConsumerClaim:
    return claim_for(consumer, cloud.on(cloud.host_2, disk=disk))


def back(cloud: Cloud, instance: str, migration: str) -> tuple[ConsumerClaim, ...]:
    return (
        claim_for(migration, {}, checks=False),
        claim_for(instance, cloud.on(cloud.host_1, disk=20), checks=False),
    )


def test_a_whole_move_may_be_decided_in_one_batch(services: Services) -> None:
    cloud = Cloud.build(services, disk=20)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=20))
    there_and_back: list[tuple[ConsumerClaim, ...]] = [
        (cloud.wish(instance, {}), cloud.wish(migration, cloud.on(cloud.host_1, disk=20))),
        (claim_after_swap(cloud, instance, disk=20),),
        back(cloud, instance, migration),
    ]
    requests = [ClaimRequest(one, asked_with("req-1")) for one in there_and_back]
    outcomes = write_claims(services.store, requests, ABSENTEE)
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3
    assert cloud.held_by(instance) == cloud.on(cloud.host_1, disk=20)
    assert [(move.state, move.open_hold) for move in cloud.moves()] == [("reverted", None)]
    assert find_faults(services) == []
    assert sums(services) == 20


def test_who_is_in_no_move_pays_no_statement_for_moves(services: Services) -> None:
    cloud = Cloud.build(services)
    counts = {True: set[int](), False: set[int]()}
    for in_move in (False, True):
        services.claims.moves = type(services.claims.moves)(observe=in_move)
        for _ in range(2):  # the second time all names are known
            consumer = new_uuid()
            one = count_statements(
                services, lambda c=consumer: cloud.put(c, cloud.on(cloud.host_1, disk=1))
            )
            two = count_statements(
                services, lambda c=consumer: cloud.put(c, cloud.on(cloud.host_2, disk=2))
            )
            gone = count_statements(services, lambda c=consumer: cloud.put(c, {}))
        counts[in_move] = {one, 100 + two, 200 + gone}
    assert counts[True] == counts[False]


def test_a_claim_in_a_move_sends_as_many_statements_on_a_crowded_pool(services: Services) -> None:
    cloud = Cloud.build(services)

    def move_once() -> list[int]:
        instance, migration = new_uuid(), new_uuid()
        cloud.put(instance, cloud.on(cloud.host_1, disk=1))
        return [
            count_statements(services, lambda: cloud.give(instance, migration)),
            count_statements(services, lambda: cloud.put(instance, cloud.on(cloud.host_2, disk=1))),
            count_statements(
                services, lambda: release(services, consumer=migration, origin=origin())
            ),
        ]

    move_once()
    alone = move_once()
    for _ in range(10):
        instance, migration = new_uuid(), new_uuid()
        cloud.put(instance, cloud.on(cloud.host_1, disk=1))
        cloud.give(instance, migration)
        cloud.put(instance, cloud.on(cloud.host_2, disk=1))
    assert move_once() == alone


def test_a_reshape_keeps_the_credits_of_open_moves(services: Services) -> None:
    """The pool's disks become those of another pool, for both consumers of a move."""
    cloud = Cloud.build(services, disk=40)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=30))
    cloud.give(instance, migration)
    cloud.put(instance, cloud.on(cloud.host_2, disk=40))
    request = Reshape(
        inventories={
            cloud.pool: (show_provider(services, cloud.pool).generation, {}),
            cloud.pool_2: (
                show_provider(services, cloud.pool_2).generation,
                {"DISK_GB": Inventory(40)},
            ),
        },
        claims=tuple(
            cloud.wish(consumer, {host: {"VCPU": 1}, cloud.pool_2: {"DISK_GB": disk}})
            for consumer, host, disk in (
                (instance, cloud.host_2, 40),
                (migration, cloud.host_1, 30),
            )
        ),
    )
    reshape(services, request, origin())
    assert sums(services) == 40
    assert find_faults(services) == []
    release(services, consumer=migration, origin=origin())
    assert sums(services) == 40
    assert find_faults(services) == []


def test_totals_and_credits_are_counted_anew(services: Services) -> None:
    cloud = Cloud.build(services)
    pairs = [(new_uuid(), new_uuid()) for _ in range(4)]
    for instance, migration in pairs:
        cloud.put(instance, cloud.on(cloud.host_1, disk=10))
        cloud.give(instance, migration)
        cloud.put(instance, cloud.on(cloud.host_2, disk=10))
    assert (cloud.pool_use(), sums(services)) == (40, 40)
    # Another service knows nothing of moves: it drops a hold, an instance, and changes one.
    with services.store.writer.begin() as connection:
        for consumer in (pairs[0][1], pairs[1][0]):
            for what in ("allocations WHERE consumer_id", "consumers WHERE uuid"):
                connection.execute(text(f"DELETE FROM {what} = :uuid"), {"uuid": consumer})
        connection.execute(
            text("UPDATE allocations SET used = 5 WHERE consumer_id = :uuid AND used = 10"),
            {"uuid": pairs[2][0]},
        )
    assert find_faults(services) != []
    migrate.recount(services.store, at=now())
    assert find_faults(services) == []
    assert (cloud.pool_use(), sums(services)) == (40, 40)
    assert [move.state for move in cloud.moves()] == [
        "abandoned",
        "swapped",
        "claimed",
        "claimed",
    ]


def test_placement_adds_up_what_moves_hold_and_moorage_counts_anew_after_it(
    database_kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    tmp_path: Path,
) -> None:
    """A site that goes back in the middle of a move, and comes again after its end."""
    url = fresh_database(database_kind)
    placement = over_wsgi(load(Subject.PEER, Deployment(tmp_path / "peer", url)))
    theirs = Client(placement, microversion="1.38")
    services = open_services(url)
    cloud = Cloud.build(services)
    instance, migration = new_uuid(), new_uuid()
    cloud.put(instance, cloud.on(cloud.host_1, disk=20))
    cloud.give(instance, migration)
    cloud.put(instance, cloud.on(cloud.host_2, disk=20))
    usages = f"/resource_providers/{cloud.pool}/usages"
    assert theirs.get(usages).json["usages"] == {"DISK_GB": 40}
    assert theirs.delete(f"/allocations/{migration}").status == 204
    assert theirs.get(usages).json["usages"] == {"DISK_GB": 20}
    migrate.upgrade(services.store, at=now())
    migrate.recount(services.store, at=now())
    assert find_faults(services) == []
    assert cloud.pool_use() == 20
    assert [move.state for move in cloud.moves()] == ["abandoned"]
    services.store.close()


def in_another_process(cloud: Cloud) -> Cloud:
    """The same cloud for clients whose claims are not gathered with those of others."""
    services = cloud.services
    return replace(cloud, services=replace(services, claims=ClaimQueue(services.store, ABSENTEE)))


def test_claims_and_releases_of_one_move_at_once_keep_the_pool_true(services: Services) -> None:
    """Whichever comes first: the instance's claim or the end of its hold."""
    cloud = Cloud.build(services, disk=20)
    for number in range(12):
        instance, migration = new_uuid(), new_uuid()
        cloud.put(instance, cloud.on(cloud.host_1, disk=20))
        cloud.give(instance, migration)
        claimed, released, other = at_once(
            partial(in_another_process(cloud).put, instance, cloud.on(cloud.host_2, disk=20)),
            partial(release, services, consumer=migration, origin=origin()),
            partial(in_another_process(cloud).put, new_uuid(), {cloud.pool: {"DISK_GB": 1}}),
        )
        assert released
        assert find_faults(services) == []
        # The pool is either the instance's or, between release and claim, the other's.
        assert claimed != other
        assert cloud.pool_use() == (20 if claimed else 1)
        for consumer in services.store.read(text("SELECT uuid FROM consumers")):
            release(services, consumer=consumer.uuid, origin=origin())
        assert len(cloud.moves()) == number + 1


def at_once(*works: Callable[[], None]) -> list[bool]:
    """Do all of it at the same time; what had room?"""
    together = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> bool:
        together.wait()
        try:
            work()
        except CapacityExceeded:
            return False
        return True

    with ThreadPoolExecutor(len(works)) as crowd:
        return list(crowd.map(run, works))


def test_moves_at_once_on_one_pool_oversell_nothing(services: Services) -> None:
    """Eight instances fill a pool, and all move at once, there and partly back."""
    cloud = Cloud.build(services, disk=80)
    pairs = [(new_uuid(), new_uuid()) for _ in range(8)]
    for instance, _ in pairs:
        cloud.put(instance, cloud.on(cloud.host_1, disk=10))

    def migrate_one(place: int) -> None:
        instance, migration = pairs[place]
        there = in_another_process(cloud)
        there.give(instance, migration)
        there.put(instance, cloud.on(cloud.host_2, disk=10))
        if place % 2:
            there.give(migration, instance)
        else:
            release(services, consumer=migration, origin=origin())

    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(migrate_one, range(8)))
    assert cloud.pool_use() == 80
    assert sums(services) == 80
    assert find_faults(services) == []
    assert sorted(move.state for move in cloud.moves()) == ["confirmed"] * 4 + ["reverted"] * 4


class Books(RuleBasedStateMachine):
    """Random requests for a few consumers on one SQLite file, alone and in batches."""

    services: Services

    def __init__(self) -> None:
        super().__init__()
        self.cloud = Cloud.build(self.services, disk=20, cpus=8)
        self.providers = [
            self.cloud.host_1,
            self.cloud.host_2,
            self.cloud.pool,
            self.cloud.pool_2,
        ]
        self.consumers = [new_uuid() for _ in range(4)]

    places = st.integers(0, 3)
    wishes = st.dictionaries(st.integers(0, 3), st.integers(1, 9), max_size=3)
    requests = st.sampled_from([None, "req-1", "req-2"])

    def _held(self, wish: dict[int, int]) -> dict[str, dict[str, int]]:
        return {
            self.providers[place]: {"VCPU" if place < 2 else "DISK_GB": amount}
            for place, amount in wish.items()
        }

    @rule(place=places, wish=wishes, request_id=requests)
    def claim(self, place: int, wish: dict[int, int], request_id: str | None) -> None:
        try:
            self.cloud.put(self.consumers[place], self._held(wish), request_id=request_id)
        except Refusal:
            return

    @rule(giver=places, taker=places, request_id=requests)
    def give(self, giver: int, taker: int, request_id: str | None) -> None:
        if giver == taker:
            return
        try:
            self.cloud.give(self.consumers[giver], self.consumers[taker], request_id=request_id)
        except Refusal:
            return

    @rule(giver=places, taker=places, wish=wishes, returns=st.booleans(), request_id=requests)
    def give_and_claim_together(
        self, giver: int, taker: int, wish: dict[int, int], returns: bool, request_id: str | None
    ) -> None:
        """A swap and what follows it, in one transaction."""
        if giver == taker:
            return
        one, other = self.consumers[giver], self.consumers[taker]
        held = self.cloud.held_by(one)
        batch: list[tuple[ConsumerClaim, ...]] = [
            (self.cloud.wish(one, {}), self.cloud.wish(other, held)),
            (claim_for(one, self._held(wish), checks=False),),
        ]
        if returns:
            to_one = claim_for(one, held, checks=False)
            batch.append((claim_for(other, {}, checks=False), to_one))
        asked = asked_with(request_id)
        write_claims(self.services.store, [ClaimRequest(b, asked) for b in batch], ABSENTEE)

    @rule(place=places)
    def release(self, place: int) -> None:
        try:
            release(self.services, consumer=self.consumers[place], origin=origin())
        except Refusal:
            return

    @rule(place=st.integers(2, 3), shares=st.booleans())
    def change_sharing(self, place: int, shares: bool) -> None:
        if shares:
            share(self.services, self.providers[place])
            return
        provider = self.providers[place]
        set_provider_traits(
            self.services,
            provider=provider,
            generation=show_provider(self.services, provider).generation,
            traits=[],
            origin=origin(),
        )

    @rule()
    def count_anew(self) -> None:
        migrate.recount(self.services.store, at=now())

    @invariant()
    def the_books_have_no_fault(self) -> None:
        shared_late = "what a credited move has in common on a sharing provider counts twice"
        assert [fault for fault in find_faults(self.services) if fault != shared_late] == []

    @invariant()
    def sums_follow(self) -> None:
        told = sum_usages(self.services, project_id="project", user_id=None)
        found: dict[str, int] = {}
        for row in self.services.store.read(
            text(
                """SELECT rc.name, SUM(u.used) AS used FROM moorage_usages u
                   JOIN resource_classes rc ON rc.id = u.resource_class_id GROUP BY rc.name"""
            )
        ):
            found[row.name] = int(row.used)
        assert told == {name: used for name, used in found.items() if used}


def test_random_work_keeps_moves_and_credits_true(tmp_path: Path) -> None:
    services = open_services(f"sqlite:///{tmp_path}/books.db")
    machine = type("BooksOnServices", (Books,), {"services": services})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    services.store.close()
