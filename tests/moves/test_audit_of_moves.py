"""What the auditor makes of observed moves: credits are no faults, and a hold left over is one."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from moorage.domain.claim import ConsumerClaim
from moorage.domain.findings import CreditDiff, Kind, MoveDiff, Place
from moorage.domain.ids import ConsumerUuid
from moorage.domain.mending import UndoRefused
from moorage.domain.move import MoveState
from moorage.operations.claim import claim
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_usages import show_usages
from moorage.operations.sum_usages import sum_usages
from tests.audit.cloud import FLAVOR, LONG_AGO, ON_HOST, ON_POOL, Cloud
from tests.support.books import find_faults, new_uuid, origin


@pytest.fixture
def cloud(services: Services) -> Cloud:
    return Cloud(services)


def held_by(cloud: Cloud, consumer: str) -> dict[str, dict[str, int]]:
    found = show_allocations(cloud.services, consumer)
    return {} if found is None else {u: dict(held) for u, (_, held) in found.resources.items()}


def move(cloud: Cloud) -> tuple[str, str]:
    """A server that is about to be confirmed on the second host; it and its migration."""
    server, migration = cloud.place(0), new_uuid()
    asked = replace(origin(), at=LONG_AGO, global_request_id="req-1")
    source = {cloud.hosts[0]: ON_HOST, cloud.pools[0]: ON_POOL}
    destination = {cloud.hosts[1]: ON_HOST, cloud.pools[0]: ON_POOL}
    for wanted in (
        {server: {}, migration: source},
        {server: destination},
    ):
        claims = [
            ConsumerClaim(ConsumerUuid(uuid), held, "project", "user", False, None, "MIGRATION")
            for uuid, held in wanted.items()
        ]
        claim(cloud.services, claims, asked)
    cloud.tell(server, 1)
    return server, migration


def pool_use(cloud: Cloud) -> int:
    return show_usages(cloud.services, cloud.pools[0])[1]["DISK_GB"]


def project_use(cloud: Cloud) -> int:
    return sum_usages(cloud.services, project_id="project", user_id=None)["DISK_GB"]


@pytest.mark.parametrize("state", ["finished", "confirmed"])
def test_what_a_move_has_in_common_is_neither_a_wrong_total_nor_a_duplicate(
    cloud: Cloud, state: str
) -> None:
    _, migration = move(cloud)
    assert pool_use(cloud) == 2 * FLAVOR["DISK_GB"]
    cloud.tell_migration(migration, cloud.keeper, state)
    kinds = {kind for found in cloud.kinds().values() for kind in found}
    assert not kinds & {Kind.TOTAL_WRONG, Kind.POOL_DUPLICATE}


def test_a_hold_that_was_left_over_is_healed_and_its_credits_end(cloud: Cloud) -> None:
    server, migration = move(cloud)
    cloud.tell_migration(migration, server, "confirmed")
    assert project_use(cloud) == 2 * FLAVOR["DISK_GB"]
    before = cloud.dump()
    finding = cloud.only(cloud.outside())
    assert (finding.kind, finding.subject) == (Kind.HOLD_LEFT, migration)
    healed = cloud.heal(finding, cloud.outside())
    assert held_by(cloud, migration) == {}
    assert (pool_use(cloud), project_use(cloud)) == (40, 40)
    assert find_faults(cloud.services) == []
    cloud.undo(healed.undo_id)
    # The move is open again, so that what was put back counts once.
    assert (pool_use(cloud), project_use(cloud)) == (40, 40)
    assert cloud.dump() == before
    assert find_faults(cloud.services) == []


def test_a_diff_says_that_a_move_and_its_credits_end(cloud: Cloud) -> None:
    """The pool keeps what it has: the hold goes, and what counted once for both counts in full."""
    server, migration = move(cloud)
    cloud.tell_migration(migration, server, "confirmed")
    (row,) = cloud.services.store.read(text("SELECT uuid FROM moorage_moves"))
    diff = cloud.only(cloud.outside()).diff
    assert diff.moves == (MoveDiff(row.uuid, MoveState.CLAIMED, MoveState.ABANDONED),)
    place = Place(cloud.pools[0], "DISK_GB")
    assert diff.credits == (CreditDiff(row.uuid, place, FLAVOR["DISK_GB"], 0),)
    assert {one.place.provider for one in diff.totals} == {cloud.hosts[0]}


def test_a_heal_is_not_undone_once_the_consumer_of_the_move_that_it_ended_has_changed(
    cloud: Cloud,
) -> None:
    server, migration = move(cloud)
    cloud.tell_migration(migration, server, "confirmed")
    healed = cloud.heal(cloud.only(cloud.outside()), cloud.outside())
    release(cloud.services, consumer=server, origin=origin())
    before = cloud.dump()
    with pytest.raises(UndoRefused):
        cloud.undo(healed.undo_id)
    assert cloud.dump() == before
