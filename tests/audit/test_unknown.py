"""What the auditor cannot see it calls unknown, and never an orphan; and it heals nothing of it."""

from dataclasses import replace

import pytest

from moorage.domain.findings import Confidence, Doubt, Finding, Kind
from moorage.domain.mending import HealRefused
from moorage.domain.outside import Outside
from moorage.operations.heal import heal
from tests.audit.cloud import LONG_AGO, ON_POOL, Cloud
from tests.audit.faults import (
    amounts_that_differ,
    duplicate_on_a_pool,
    leftovers_of_an_evacuation,
    orphan,
)
from tests.support.books import new_uuid, now, origin


def unknown(cloud: Cloud, uuid: str, outside: Outside) -> Doubt:
    """Why the auditor knows nothing about a consumer, and says nothing else about it."""
    (finding,) = [one for one in cloud.audit(outside).findings if uuid in one.consumers]
    assert finding.kind is Kind.UNSEEN
    assert finding.confidence is Confidence.UNKNOWN
    assert finding.remedy is None
    return Doubt(finding.evidence["unknown_because"])


# --- the four cases ----------------------------------------------------------------------------


def test_a_cell_that_does_not_answer_leaves_its_servers_alone(cloud: Cloud) -> None:
    uuids = [cloud.place(host) for host in (0, 1, 2)]
    silent = replace(cloud.outside(), servers={}, silent_cells=frozenset({"cell1"}))
    assert {unknown(cloud, uuid, silent) for uuid in uuids} == {Doubt.CELL_SILENT}


def test_hosts_that_nobody_listed_leave_their_servers_alone(cloud: Cloud) -> None:
    """A silent cell may just as well be missing from every list."""
    uuid = cloud.place(0)
    del cloud.servers[uuid]
    unlisted = cloud.outside(hosts={cloud.hosts[1]: "cell1"})
    assert unknown(cloud, uuid, unlisted) is Doubt.HOST_UNSEEN


def test_a_server_of_a_silent_cell_whose_uuid_is_all_there_is_has_no_faults(cloud: Cloud) -> None:
    uuid = leftovers_of_an_evacuation(cloud).subject
    cloud.tell(uuid, None, state="UNKNOWN", resources=None)
    (finding,) = cloud.audit(cloud.outside()).findings
    assert finding.confidence is Confidence.UNKNOWN
    assert finding.evidence["unknown_because"] is Doubt.CELL_SILENT


def test_a_young_consumer_is_left_alone(cloud: Cloud) -> None:
    uuid = new_uuid()
    cloud.hold(uuid, 0, at=now())
    assert unknown(cloud, uuid, cloud.outside()) is Doubt.YOUNG


def test_a_consumer_younger_than_the_truth_is_left_alone_however_old_both_are(
    cloud: Cloud,
) -> None:
    uuid = new_uuid()
    cloud.hold(uuid, 0, at=LONG_AGO)
    assert unknown(cloud, uuid, cloud.outside(taken_at=LONG_AGO)) is Doubt.YOUNG


@pytest.mark.parametrize("state", ["migrating", "post-migrating", "finished", "accepted"])
def test_a_migration_in_flight_is_left_alone(cloud: Cloud, state: str) -> None:
    server, migration = cloud.place(2), new_uuid()
    cloud.hold(migration, 0)
    cloud.tell_migration(migration, server, state)
    assert cloud.audit(cloud.outside()).findings == ()


def test_a_server_in_flight_is_left_alone_at_its_destination(cloud: Cloud) -> None:
    """Its server is listed at the source until it has arrived; its allocations are elsewhere."""
    server, migration = new_uuid(), new_uuid()
    cloud.hold(server, 1)
    cloud.tell(server, 0, state="RESIZE", task="resize_migrating")
    cloud.hold(migration, 0)
    cloud.tell_migration(migration, server, "migrating")
    for finding in cloud.audit(cloud.outside()).findings:
        assert (finding.kind, finding.confidence) == (Kind.POOL_DUPLICATE, Confidence.UNKNOWN)
        assert finding.evidence["unknown_because"] is Doubt.IN_FLIGHT


def test_a_migration_that_only_its_type_tells_is_no_orphan_where_migrations_are_not_listed(
    cloud: Cloud,
) -> None:
    uuid, typed = new_uuid(), new_uuid()
    cloud.hold(uuid, 0)
    cloud.hold(typed, 2, consumer_type="MIGRATION")
    unlisted = cloud.outside(migrations_complete=False)
    assert unknown(cloud, uuid, unlisted) is Doubt.MIGRATIONS_UNLISTED
    assert unknown(cloud, typed, unlisted) is Doubt.MIGRATIONS_UNLISTED


def test_a_pool_is_no_host_so_that_what_it_holds_is_no_orphan(cloud: Cloud) -> None:
    uuid = new_uuid()
    cloud.claim(uuid, {cloud.pools[0]: dict(ON_POOL)})
    assert unknown(cloud, uuid, cloud.outside()) is Doubt.POOL_ONLY
    cloud.place(0)
    assert {one.subject for one in cloud.audit(cloud.outside()).findings} == {uuid}


# --- and more of the kind ----------------------------------------------------------------------


@pytest.mark.parametrize("consumer_type", ["VOLUME", "RESERVATION"])
def test_consumers_that_are_no_instances_are_left_alone(cloud: Cloud, consumer_type: str) -> None:
    uuid = new_uuid()
    cloud.hold(uuid, 0, consumer_type=consumer_type)
    assert unknown(cloud, uuid, cloud.outside()) is Doubt.OTHER_TYPE


def test_a_list_of_some_servers_proves_nothing_about_others(cloud: Cloud) -> None:
    uuid = orphan(cloud).subject
    some = cloud.outside(servers_complete=False)
    assert unknown(cloud, uuid, some) is Doubt.SERVERS_UNLISTED


def test_whom_nobody_has_asked_for_by_uuid_is_no_orphan_where_that_is_needed(cloud: Cloud) -> None:
    gone, there = orphan(cloud).subject, orphan(cloud).subject
    listed = cloud.outside(gone=frozenset())
    assert unknown(cloud, gone, listed) is Doubt.NOT_ASKED
    asked: list[set[str]] = []

    def ask(uuids: object) -> set[str]:
        asked.append(set(uuids))  # type: ignore[call-overload]
        return {gone}

    kinds = {one.subject: one.kind for one in cloud.audit(listed, ask=ask).findings}
    assert kinds == {gone: Kind.ORPHAN, there: Kind.UNSEEN}
    assert asked == [{gone, there}]


def test_a_server_that_was_deleted_since_the_truth_was_taken_misses_nothing(cloud: Cloud) -> None:
    uuid = cloud.place(0)
    outside = cloud.outside()
    from moorage.operations.release import release

    release(cloud.services, consumer=uuid, origin=origin())
    (finding,) = cloud.audit(outside).findings
    assert (finding.kind, finding.confidence) == (Kind.MISSING, Confidence.UNKNOWN)
    assert finding.remedy is None


def test_an_empty_consumer_that_is_young_may_be_about_to_hold(cloud: Cloud) -> None:
    cloud.sql(
        "INSERT INTO consumers (uuid, project_id, user_id, generation, created_at)"
        " SELECT :uuid, c.project_id, c.user_id, 0, :at FROM consumers c WHERE c.uuid = :like",
        uuid=new_uuid(),
        at=now(),
        like=cloud.keeper,
    )
    assert cloud.only().confidence is Confidence.UNKNOWN


@pytest.mark.parametrize("state", ["BUILD", "MIGRATING", "RESIZE", "VERIFY_RESIZE", "REBUILD"])
def test_a_server_on_its_way_is_not_judged(cloud: Cloud, state: str) -> None:
    for fault in (amounts_that_differ, leftovers_of_an_evacuation):
        uuid = fault(cloud).subject
        cloud.servers[uuid] = replace(cloud.servers[uuid], state=state)
    away = new_uuid()
    cloud.tell(away, 1, state=state)
    for finding in cloud.audit(cloud.outside()).findings:
        assert finding.confidence is Confidence.UNKNOWN
        assert finding.remedy is None


def test_a_task_counts_as_a_move_whatever_the_state(cloud: Cloud) -> None:
    uuid = leftovers_of_an_evacuation(cloud).subject
    cloud.tell(uuid, 1, task="rebuilding")
    assert cloud.only(cloud.outside()).evidence["unknown_because"] is Doubt.IN_FLIGHT


def test_flavors_worked_out_from_what_nova_shows_are_not_certain(cloud: Cloud) -> None:
    uuid = amounts_that_differ(cloud).subject
    assert cloud.only(cloud.outside(amounts_exact=False)).confidence is Confidence.LIKELY
    # Dedicated processors may be the image's wish, which a list of servers does not show.
    cloud.tell(uuid, 1, resources={"PCPU": 2, "MEMORY_MB": 512, "DISK_GB": 20})
    assert cloud.audit(cloud.outside(amounts_exact=False)).findings == ()


def test_two_instances_alike_on_one_pool_are_no_duplicates(cloud: Cloud) -> None:
    cloud.place(0)
    cloud.place(1)
    assert cloud.audit().findings == ()


def test_a_migration_and_one_of_many_like_it_are_no_pair(cloud: Cloud) -> None:
    cloud.place(1)
    cloud.hold(new_uuid(), 0, consumer_type="MIGRATION")
    assert cloud.audit().findings == ()


def test_what_is_unknown_cannot_be_healed(cloud: Cloud) -> None:
    uuid = new_uuid()
    cloud.hold(uuid, 0, at=now())
    finding: Finding = cloud.only(cloud.outside())
    with pytest.raises(HealRefused):
        cloud.heal(finding, cloud.outside())


def test_what_was_certain_is_not_healed_once_it_is_unknown(cloud: Cloud) -> None:
    injected = duplicate_on_a_pool(cloud)
    finding = next(
        one for one in cloud.audit(cloud.outside()).findings if one.subject == injected.subject
    )
    before = cloud.dump()
    cloud.tell_migration(injected.subject, next(iter(cloud.servers)), "migrating")
    with pytest.raises(HealRefused):
        cloud.heal(finding, cloud.outside())
    with pytest.raises(HealRefused):
        # A wider age guard than the audit's is kept to as well.
        heal(
            cloud.services,
            finding,
            outside=cloud.outside(),
            age_guard_s=1e9,
            origin=origin(),
        )
    assert cloud.dump() == before
