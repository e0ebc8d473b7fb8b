"""Moves under way are nobody's fault: whoever is in one is no orphan, no leftover, no duplicate."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from moorage.domain.findings import Confidence, Doubt, Kind
from moorage.domain.mending import HealRefused
from moorage.domain.move import MoveEvent
from moorage.domain.outside import Outside
from tests.audit.cloud import ON_HOST, ON_POOL, Cloud
from tests.audit.faults import (
    Injected,
    hold_of_an_observed_move_that_nobody_lists,
    overdue_and_deleted,
    overdue_and_never_started,
)
from tests.support.books import new_uuid, now

InFlight = Callable[[Cloud], str]


def observed(cloud: Cloud) -> str:
    """A server that Nova moves to another host of the same pool; Nova lists no migration of it."""
    server = cloud.place(0)
    cloud.observe(server, 1)
    cloud.tell(server, 0, state="RESIZE", task="resize_migrating")
    return server


def observed_and_young(cloud: Cloud) -> str:
    """The same, just begun; the list of servers is a moment older."""
    server = cloud.place(0)
    cloud.observe(server, 1, at=now())
    return server


def ordered(cloud: Cloud) -> str:
    """A move that one of our clients has ordered, without a deadline."""
    server = cloud.place(0)
    cloud.order(server, 2)
    return server


def ordered_and_started(cloud: Cloud) -> str:
    server = cloud.place(0)
    cloud.step(cloud.order(server, 1, deadline_s=400 * 86_400), MoveEvent.START)
    return server


def observed_on_a_pool(cloud: Cloud) -> str:
    """What moves holds on a pool alone."""
    server = new_uuid()
    cloud.claim(server, {cloud.pools[0]: dict(ON_POOL)})
    cloud.observe(server, 1)
    cloud.tell(server, 0, state="MIGRATING")
    return server


FLIGHTS: tuple[InFlight, ...] = (
    observed,
    observed_and_young,
    ordered,
    ordered_and_started,
    observed_on_a_pool,
)
each_flight = pytest.mark.parametrize("begin", FLIGHTS, ids=lambda begin: begin.__name__)


def check_nothing_is_held_against_it(cloud: Cloud, outside: Outside | None) -> None:
    for finding in cloud.audit(outside).findings:
        assert finding.confidence is Confidence.UNKNOWN, finding
        assert finding.remedy is None
        assert finding.kind not in {Kind.ORPHAN, Kind.HOLD_LEFT, Kind.POOL_DUPLICATE}


@each_flight
def test_nothing_is_found_where_a_move_is_in_flight(cloud: Cloud, begin: InFlight) -> None:
    begin(cloud)
    assert cloud.audit().findings == ()
    told = {one.evidence["unknown_because"] for one in cloud.audit(cloud.outside()).findings}
    assert told <= {Doubt.YOUNG}
    check_nothing_is_held_against_it(cloud, cloud.outside())


@each_flight
def test_a_move_whose_cell_does_not_answer_is_left_alone(cloud: Cloud, begin: InFlight) -> None:
    server = begin(cloud)
    silent = replace(cloud.outside(), servers={}, silent_cells=frozenset({"cell1"}))
    check_nothing_is_held_against_it(cloud, silent)
    # Nova lists what it knows of a server in such a cell: that it exists.
    cloud.tell(server, None, state="UNKNOWN", resources=None)
    check_nothing_is_held_against_it(cloud, cloud.outside())


@each_flight
def test_a_move_on_hosts_that_nobody_listed_is_left_alone(cloud: Cloud, begin: InFlight) -> None:
    server = begin(cloud)
    del cloud.servers[server]
    del cloud.servers[cloud.keeper]
    check_nothing_is_held_against_it(cloud, cloud.outside(hosts={}))


@pytest.mark.parametrize(
    "begin", [ordered, ordered_and_started], ids=lambda begin: str(begin.__name__)
)
def test_whoever_is_in_an_ordered_move_is_no_orphan_though_no_list_names_it(
    cloud: Cloud, begin: InFlight
) -> None:
    server = begin(cloud)
    del cloud.servers[server]
    (finding,) = cloud.audit(cloud.outside()).findings
    assert (finding.kind, finding.subject) == (Kind.UNSEEN, server)
    assert finding.evidence["unknown_because"] is Doubt.IN_FLIGHT


def test_the_hold_of_an_observed_move_is_an_orphan_only_if_its_instance_is_gone(
    cloud: Cloud,
) -> None:
    server = cloud.place(0)
    hold = cloud.observe(server, 2)
    del cloud.servers[server]
    asked: list[set[str]] = []

    def ask_of(gone: set[str]) -> Callable[[object], set[str]]:
        def ask(uuids: object) -> set[str]:
            asked.append(set(uuids))  # type: ignore[call-overload]
            return gone

        return ask

    listed = cloud.outside(gone=frozenset())
    there = cloud.audit(listed, ask=ask_of({hold})).findings
    assert asked == [{server, hold}]
    assert {one.kind for one in there} == {Kind.UNSEEN}
    gone = cloud.audit(listed, ask=ask_of({hold, server})).findings
    assert {one.subject: one.kind for one in gone} == {hold: Kind.ORPHAN, server: Kind.ORPHAN}


def test_a_hold_that_no_list_names_is_kept_where_not_all_migrations_are_listed(
    cloud: Cloud,
) -> None:
    hold = hold_of_an_observed_move_that_nobody_lists(cloud).subject
    (finding,) = cloud.audit(cloud.outside(migrations_complete=False)).findings
    assert (finding.kind, finding.subject) == (Kind.UNSEEN, hold)
    assert finding.evidence["unknown_because"] is Doubt.MIGRATIONS_UNLISTED


def test_a_server_in_an_ordered_move_on_two_trees_is_no_leftover(cloud: Cloud) -> None:
    server = cloud.place(0)
    moved = cloud.order(server, 2)
    cloud.claim(
        server,
        {cloud.hosts[1]: dict(ON_HOST), cloud.hosts[2]: dict(ON_HOST)},
        generation=2,
    )
    for outside in (None, cloud.outside()):
        for finding in cloud.audit(outside).findings:
            assert (finding.kind, finding.confidence) == (Kind.TWO_TREES, Confidence.UNKNOWN)
            assert finding.evidence["unknown_because"] is Doubt.IN_FLIGHT
    cloud.step(replace(moved, generation=moved.generation + 1), MoveEvent.REVERT)
    assert cloud.audit(cloud.outside()).findings == ()


def test_what_a_move_holds_of_an_inventory_that_is_gone_is_its_clients_to_leave(
    cloud: Cloud,
) -> None:
    server = cloud.place(0)
    moved = cloud.order(server, 2)
    for table in ("inventories", "moorage_usages"):
        cloud.sql(
            f"DELETE FROM {table} WHERE resource_provider_id = :p AND resource_class_id = :c",
            p=cloud.id_of(cloud.hosts[0]),
            c=cloud.class_id("MEMORY_MB"),
        )
    told = {one.subject: one for one in cloud.audit().findings}
    assert told[moved.uuid].kind is Kind.NO_INVENTORY
    assert told[moved.uuid].remedy is None


def test_a_move_is_overdue_from_its_deadline_on(cloud: Cloud) -> None:
    server = cloud.place(0)
    age = now() - cloud.order(server, 1, deadline_s=60).created_at
    later = int(age / timedelta(seconds=1)) + 3_600
    assert [one.kind for one in cloud.audit().findings] == [Kind.MOVE_OVERDUE]
    other = cloud.place(1)
    uuid = cloud.order(other, 2, deadline_s=later).uuid
    assert uuid not in {one.subject for one in cloud.audit().findings}


def test_an_overdue_move_that_cannot_go_back_has_no_remedy(cloud: Cloud) -> None:
    overdue_and_never_started(cloud)
    for table in ("inventories", "moorage_usages"):
        cloud.sql(
            f"DELETE FROM {table} WHERE resource_provider_id = :p AND resource_class_id = :c",
            p=cloud.id_of(cloud.hosts[0]),
            c=cloud.class_id("MEMORY_MB"),
        )
    (finding,) = [one for one in cloud.audit().findings if one.kind is Kind.MOVE_OVERDUE]
    assert finding.remedy is None
    assert "source is gone" in finding.evidence["no_remedy_because"]


def test_an_overdue_move_that_was_started_since_it_was_shown_is_not_healed(cloud: Cloud) -> None:
    server = cloud.place(0)
    moved = cloud.order(server, 1, deadline_s=60)
    finding = cloud.only()
    cloud.step(moved, MoveEvent.START)
    before = cloud.dump()
    with pytest.raises(HealRefused):
        cloud.heal(finding)
    assert cloud.dump() == before


@pytest.mark.parametrize("fault", [overdue_and_never_started, overdue_and_deleted])
def test_an_overdue_move_of_which_nobody_is_left_can_be_ended(
    cloud: Cloud, fault: Callable[[Cloud], Injected]
) -> None:
    """Another service has served for a time, and dropped what both consumers held."""
    uuid = fault(cloud).subject
    cloud.sql("DELETE FROM allocations")
    cloud.sql("DELETE FROM consumers")
    before = cloud.dump()
    (finding,) = (one for one in cloud.audit().findings if one.kind is Kind.MOVE_OVERDUE)
    assert [(one.move, one.after.is_open) for one in finding.diff.moves] == [(uuid, False)]
    healed = cloud.heal(finding)
    assert uuid not in cloud.kinds()
    cloud.undo(healed.undo_id)
    assert cloud.dump() == before
