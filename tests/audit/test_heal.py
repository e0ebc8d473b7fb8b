"""Heals and undos: guarded by what was shown, journaled, and refused where the books moved on."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from moorage.domain.findings import Finding, Kind
from moorage.domain.inventory import Inventory
from moorage.domain.mending import HealRefused, UndoRefused
from moorage.domain.outside import Outside
from moorage.operations.delete_provider import delete_provider
from moorage.operations.release import release
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_usages import show_usages
from moorage.operations.sum_usages import sum_usages
from moorage.operations.undo import list_undos
from tests.audit.cloud import ON_HOST, Cloud
from tests.audit.faults import (
    allocation_without_consumer,
    allocations_missing,
    amounts_that_differ,
    leftovers_of_an_evacuation,
    orphan,
    revert_that_failed,
    total_too_high,
    total_too_low,
)
from tests.support.books import add_host, find_faults, new_uuid, origin


def find(cloud: Cloud, kind: Kind, outside: Outside | None = None) -> Finding:
    (finding,) = [one for one in cloud.audit(outside).findings if one.kind is kind]
    return finding


def test_a_heal_frees_what_an_orphan_held_for_everyone_to_see(cloud: Cloud) -> None:
    uuid = orphan(cloud).subject
    pool = cloud.pools[0]
    assert show_usages(cloud.services, pool)[1] == {"DISK_GB": 40}
    assert sum_usages(cloud.services, project_id="project", user_id=None)["DISK_GB"] == 40
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    assert show_allocations(cloud.services, uuid) is None
    assert show_usages(cloud.services, pool)[1] == {"DISK_GB": 20}
    assert sum_usages(cloud.services, project_id="project", user_id=None)["DISK_GB"] == 20
    assert find_faults(cloud.services) == []
    cloud.undo(healed.undo_id)
    assert show_usages(cloud.services, pool)[1] == {"DISK_GB": 40}
    assert sum_usages(cloud.services, project_id="project", user_id=None)["DISK_GB"] == 40
    assert find_faults(cloud.services) == []


def test_a_heal_and_its_undo_are_in_the_journal(cloud: Cloud) -> None:
    uuid = orphan(cloud).subject
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    cloud.undo(healed.undo_id)
    rows = cloud.services.store.read(
        text("SELECT j.kind FROM moorage_journal j WHERE j.subject = :uuid ORDER BY j.id"),
        {"uuid": uuid},
    )
    assert [row[0] for row in rows] == ["allocation.set", "allocation.heal", "allocation.heal"]
    (kept,) = list_undos(cloud.services, most=10)
    assert (kept.id, kept.kind, kept.subject) == (healed.undo_id, "orphan", uuid)
    assert kept.undone_at is not None


def test_a_diff_says_what_a_heal_will_change(cloud: Cloud) -> None:
    uuid = leftovers_of_an_evacuation(cloud).subject
    diff = find(cloud, Kind.TWO_TREES, cloud.outside()).diff
    changes = {
        (one.place.provider, one.place.resource_class, one.before, one.after)
        for one in diff.allocations
    }
    assert changes == {(cloud.hosts[0], name, amount, 0) for name, amount in ON_HOST.items()}
    assert [(one.consumer, one.before, one.after) for one in diff.consumers] == [(uuid, 1, "kept")]
    assert {(one.place.resource_class, one.before, one.after) for one in diff.totals} == {
        ("VCPU", 4, 2),
        ("MEMORY_MB", 1024, 512),
    }


def test_the_leftovers_of_an_evacuation_go_and_the_pool_stays(cloud: Cloud) -> None:
    uuid = leftovers_of_an_evacuation(cloud).subject
    cloud.heal(find(cloud, Kind.TWO_TREES, cloud.outside()), cloud.outside())
    left = show_allocations(cloud.services, uuid)
    assert left is not None
    assert {key: dict(held) for key, (_, held) in left.resources.items()} == {
        cloud.hosts[1]: ON_HOST,
        cloud.pools[0]: {"DISK_GB": 20},
    }


def test_a_failed_revert_is_finished(cloud: Cloud) -> None:
    migration = revert_that_failed(cloud).subject
    server = cloud.migrations[migration].server
    cloud.heal(find(cloud, Kind.HOLD_LEFT, cloud.outside()), cloud.outside())
    assert show_allocations(cloud.services, migration) is None
    held = show_allocations(cloud.services, server)
    assert held is not None
    assert set(held.resources) == {cloud.hosts[0], cloud.pools[0]}
    assert find_faults(cloud.services) == []


def test_a_consumer_that_changed_since_it_was_shown_is_not_healed(cloud: Cloud) -> None:
    uuid = leftovers_of_an_evacuation(cloud).subject
    finding = find(cloud, Kind.TWO_TREES, cloud.outside())
    cloud.hold(uuid, 0, 1, generation=1, amounts={"VCPU": 1, "MEMORY_MB": 64})
    before = cloud.dump()
    with pytest.raises(HealRefused, match="changed since"):
        cloud.heal(finding, cloud.outside())
    assert cloud.dump() == before
    assert list_undos(cloud.services, most=1) == []


def test_a_finding_that_is_gone_is_not_healed(cloud: Cloud) -> None:
    uuid = orphan(cloud).subject
    finding = find(cloud, Kind.ORPHAN, cloud.outside())
    release(cloud.services, consumer=uuid, origin=origin())
    with pytest.raises(HealRefused, match="not there any more"):
        cloud.heal(finding, cloud.outside())


def test_a_heal_does_not_happen_twice(cloud: Cloud) -> None:
    total_too_high(cloud)
    finding = cloud.only()
    cloud.heal(finding)
    with pytest.raises(HealRefused, match="not there any more"):
        cloud.heal(finding)


def test_what_does_not_fit_is_not_claimed_by_a_heal(cloud: Cloud) -> None:
    allocations_missing(cloud)
    finding = find(cloud, Kind.MISSING, cloud.outside())
    cloud.sql(
        "UPDATE inventories SET total = 30 WHERE resource_provider_id = :p",
        p=cloud.id_of(cloud.pools[0]),
    )
    with pytest.raises(HealRefused, match="does not fit"):
        cloud.heal(finding, cloud.outside())


def test_a_consumer_nobody_told_of_gets_the_absentee_for_its_owner(cloud: Cloud) -> None:
    uuid = allocation_without_consumer(cloud).subject
    healed = cloud.heal(cloud.only())
    held = show_allocations(cloud.services, uuid)
    assert held is not None
    assert (held.project_id, held.user_id) == ("absent-project", "absent-user")
    cloud.undo(healed.undo_id)
    assert cloud.only().kind is Kind.NO_CONSUMER


def test_a_client_that_read_the_healed_state_is_not_up_to_date_after_an_undo(cloud: Cloud) -> None:
    """An undo gives the old generation back; the next change must not reach the healed one."""
    uuid = leftovers_of_an_evacuation(cloud).subject
    finding = find(cloud, Kind.TWO_TREES, cloud.outside())
    healed = cloud.heal(finding, cloud.outside())
    seen = show_allocations(cloud.services, uuid)
    cloud.undo(healed.undo_id)
    cloud.hold(uuid, 0, 1, generation=1)
    now_there = show_allocations(cloud.services, uuid)
    assert seen is not None
    assert now_there is not None
    assert now_there.generation == 2
    assert seen.generation not in {1, 2}


# --- undo ---------------------------------------------------------------------------------------


def test_an_undo_is_refused_once_its_consumer_has_changed(cloud: Cloud) -> None:
    uuid = amounts_that_differ(cloud).subject
    healed = cloud.heal(find(cloud, Kind.AMOUNTS_DIFFER, cloud.outside()), cloud.outside())
    held = show_allocations(cloud.services, uuid)
    assert held is not None
    cloud.hold(uuid, 1, generation=held.generation)
    before = cloud.dump()
    with pytest.raises(UndoRefused, match="has changed since"):
        cloud.undo(healed.undo_id)
    assert cloud.dump() == before


def test_an_undo_is_refused_where_the_consumer_came_back_by_itself(cloud: Cloud) -> None:
    uuid = orphan(cloud).subject
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    cloud.hold(uuid, 1)
    with pytest.raises(UndoRefused, match="made anew"):
        cloud.undo(healed.undo_id)


def test_an_undo_is_refused_where_others_have_taken_the_room(cloud: Cloud) -> None:
    orphan(cloud)
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    cloud.claim(new_uuid(), {cloud.pools[0]: {"DISK_GB": 970}})
    with pytest.raises(UndoRefused, match="others hold by now"):
        cloud.undo(healed.undo_id)


def test_an_undo_goes_beside_claims_of_others_that_leave_room(cloud: Cloud) -> None:
    orphan(cloud)
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    cloud.place(0)
    cloud.undo(healed.undo_id)
    assert show_usages(cloud.services, cloud.pools[0])[1] == {"DISK_GB": 60}
    assert find_faults(cloud.services) == []


def test_an_undo_is_refused_where_a_provider_is_gone(cloud: Cloud) -> None:
    host = add_host(cloud.services, {"VCPU": Inventory(4)})
    uuid = new_uuid()
    cloud.claim(uuid, {host: {"VCPU": 1}})
    cloud.hosts.append(host)
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    delete_provider(cloud.services, uuid=host, origin=origin())
    with pytest.raises(UndoRefused, match="not there any more"):
        cloud.undo(healed.undo_id)


def test_an_undo_happens_once(cloud: Cloud) -> None:
    orphan(cloud)
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    cloud.undo(healed.undo_id)
    with pytest.raises(UndoRefused, match="it was undone at"):
        cloud.undo(healed.undo_id)
    with pytest.raises(UndoRefused, match="no heal of this number"):
        cloud.undo(healed.undo_id + 1)


def test_the_undo_of_a_total_is_refused_once_claims_have_moved_it(cloud: Cloud) -> None:
    total_too_low(cloud)
    healed = cloud.heal(cloud.only())
    cloud.place(0)
    with pytest.raises(UndoRefused, match="newer claims"):
        cloud.undo(healed.undo_id)


def test_rows_whose_numbers_were_given_away_come_back_under_others(cloud: Cloud) -> None:
    """Some databases give the number of a deleted row to the next; whatever they do, it works."""
    uuid = orphan(cloud).subject
    before = show_allocations(cloud.services, uuid)
    healed = cloud.heal(find(cloud, Kind.ORPHAN, cloud.outside()), cloud.outside())
    other = cloud.place(0)
    undone = cloud.undo(healed.undo_id)
    assert undone.renumbered in {0, 3}
    assert before is not None
    after = show_allocations(cloud.services, uuid)
    assert after is not None
    assert after.resources.keys() == before.resources.keys()
    assert after.generation == before.generation
    assert show_allocations(cloud.services, other) is not None
    assert find_faults(cloud.services) == []


def test_totals_heal_while_claims_go_on(cloud: Cloud) -> None:
    pool = cloud.pools[0]
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(8):
                uuid = new_uuid()
                cloud.hold(uuid, 0)
                release(cloud.services, consumer=uuid, origin=origin())
                cloud.hold(new_uuid(), 1)
        except BaseException as error:
            faults.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    healed = 0
    for _ in range(6):
        cloud.sql(
            "UPDATE moorage_usages SET used = used + 11 WHERE resource_provider_id = :p",
            p=cloud.id_of(pool),
        )
        for finding in cloud.audit(replace(cloud.outside(), servers_complete=False)).findings:
            if finding.kind is Kind.TOTAL_WRONG:
                cloud.heal(finding)
                healed += 1
    for worker in workers:
        worker.join()
    assert faults == []
    assert healed == 6
    assert find_faults(cloud.services) == []
