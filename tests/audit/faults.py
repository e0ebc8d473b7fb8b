"""Every fault that the auditor knows, and how to put it into a database."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from moorage.domain.findings import Confidence, Kind
from moorage.domain.ids import Generation
from moorage.domain.move import MoveEvent
from moorage.operations.release import release
from tests.audit.cloud import FLAVOR, LONG_AGO, ON_HOST, Cloud
from tests.support.books import new_uuid, origin


@dataclass(frozen=True, slots=True)
class Injected:
    """What the auditor must say of a fault that was put in; ``heals``: it has a remedy."""

    kind: Kind
    subject: str
    confidence: Confidence = Confidence.CERTAIN
    heals: bool = True


Fault = Callable[[Cloud], Injected]


def total_too_high(cloud: Cloud) -> Injected:
    host = cloud.hosts[0]
    cloud.sql(
        "UPDATE moorage_usages SET used = used + 7 WHERE resource_provider_id = :p"
        " AND resource_class_id = :c",
        p=cloud.id_of(host),
        c=cloud.class_id("MEMORY_MB"),
    )
    return Injected(Kind.TOTAL_WRONG, f"{host}/MEMORY_MB")


def total_too_low(cloud: Cloud) -> Injected:
    pool = cloud.pools[0]
    cloud.sql("UPDATE moorage_usages SET used = 0 WHERE resource_provider_id = :p",
              p=cloud.id_of(pool))  # fmt: skip
    return Injected(Kind.TOTAL_WRONG, f"{pool}/DISK_GB")


def total_missing(cloud: Cloud) -> Injected:
    host = cloud.hosts[1]
    cloud.sql(
        "DELETE FROM moorage_usages WHERE resource_provider_id = :p AND resource_class_id = :c",
        p=cloud.id_of(host),
        c=cloud.class_id("MEMORY_MB"),
    )
    return Injected(Kind.TOTAL_MISSING, f"{host}/MEMORY_MB")


def total_without_inventory(cloud: Cloud) -> Injected:
    pool = cloud.pools[1]
    cloud.sql(
        "INSERT INTO moorage_usages (resource_provider_id, resource_class_id, used)"
        " VALUES (:p, :c, 4)",
        p=cloud.id_of(pool),
        c=cloud.class_id("VGPU"),
    )
    return Injected(Kind.TOTAL_EXTRA, f"{pool}/VGPU")


def over_capacity(cloud: Cloud) -> Injected:
    host = cloud.hosts[0]
    cloud.sql(
        "UPDATE inventories SET total = 1 WHERE resource_provider_id = :p"
        " AND resource_class_id = :c",
        p=cloud.id_of(host),
        c=cloud.class_id("VCPU"),
    )
    return Injected(Kind.OVER_CAPACITY, f"{host}/VCPU", heals=False)


def allocation_without_provider(cloud: Cloud) -> Injected:
    uuid = cloud.place(1)
    cloud.sql(
        "INSERT INTO allocations (resource_provider_id, consumer_id, resource_class_id, used,"
        " created_at) VALUES (999999, :uuid, 0, 3, :at)",
        uuid=uuid,
        at=LONG_AGO,
    )
    return Injected(Kind.NO_PROVIDER, uuid)


def allocation_without_inventory(cloud: Cloud) -> Injected:
    uuid = cloud.place(1)
    cloud.sql(
        "INSERT INTO allocations (resource_provider_id, consumer_id, resource_class_id, used,"
        " created_at) VALUES (:p, :uuid, :c, 1, :at)",
        p=cloud.id_of(cloud.hosts[1]),
        uuid=uuid,
        c=cloud.class_id("VGPU"),
        at=LONG_AGO,
    )
    return Injected(Kind.NO_INVENTORY, uuid, Confidence.LIKELY)


def allocation_without_consumer(cloud: Cloud) -> Injected:
    uuid = cloud.place(1)
    cloud.tell(uuid, 1, project_id="project", user_id="user")
    cloud.sql("DELETE FROM consumers WHERE uuid = :uuid", uuid=uuid)
    return Injected(Kind.NO_CONSUMER, uuid)


def consumer_without_allocations(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.sql(
        "INSERT INTO consumers (uuid, project_id, user_id, generation, created_at)"
        " SELECT :uuid, c.project_id, c.user_id, 3, :at FROM consumers c WHERE c.uuid = :like",
        uuid=uuid,
        at=LONG_AGO,
        like=cloud.keeper,
    )
    return Injected(Kind.EMPTY_CONSUMER, uuid)


def leftovers_of_an_evacuation(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.hold(uuid, 0, 1)
    cloud.tell(uuid, 1)
    return Injected(Kind.TWO_TREES, uuid)


def leftovers_on_another_pool(cloud: Cloud) -> Injected:
    """An evacuation to a host that another pool serves."""
    uuid = new_uuid()
    cloud.claim(
        uuid,
        {
            cloud.hosts[0]: dict(ON_HOST),
            cloud.pools[0]: {"DISK_GB": 20},
            cloud.hosts[2]: dict(ON_HOST),
            cloud.pools[1]: {"DISK_GB": 20},
        },
    )
    cloud.tell(uuid, 2)
    return Injected(Kind.TWO_TREES, uuid)


def duplicate_on_a_pool(cloud: Cloud) -> Injected:
    """A confirmed migration whose hold was never dropped."""
    server, migration = cloud.place(1), new_uuid()
    cloud.hold(migration, 0)
    cloud.tell_migration(migration, server, "confirmed")
    return Injected(Kind.POOL_DUPLICATE, migration)


def hold_without_a_pool(cloud: Cloud) -> Injected:
    server, migration = cloud.place(2), new_uuid()
    cloud.hold(migration, 0)
    cloud.tell_migration(migration, server, "failed")
    return Injected(Kind.HOLD_LEFT, migration)


def revert_that_failed(cloud: Cloud) -> Injected:
    """The server is back on its source; the migration holds that, the server the destination."""
    server, migration = new_uuid(), new_uuid()
    cloud.hold(server, 2)
    cloud.tell(server, 0)
    cloud.hold(migration, 0)
    cloud.tell_migration(migration, server, "error")
    return Injected(Kind.HOLD_LEFT, migration, Confidence.LIKELY)


def revert_that_lost_the_server(cloud: Cloud) -> Injected:
    """The same, and the destination was given up: the server itself holds nothing."""
    server, migration = new_uuid(), new_uuid()
    cloud.tell(server, 0)
    cloud.hold(migration, 0)
    cloud.tell_migration(migration, server, "error")
    return Injected(Kind.HOLD_LEFT, migration, Confidence.LIKELY)


def orphan(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.hold(uuid, 0)
    return Injected(Kind.ORPHAN, uuid)


def typed_orphan(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.hold(uuid, 2, consumer_type="INSTANCE")
    return Injected(Kind.ORPHAN, uuid)


def shelved_and_holding(cloud: Cloud) -> Injected:
    uuid = cloud.place(1)
    cloud.tell(uuid, None, state="SHELVED_OFFLOADED")
    return Injected(Kind.HOLDS_UNPLACED, uuid, Confidence.LIKELY)


def held_elsewhere(cloud: Cloud) -> Injected:
    uuid = cloud.place(1)
    cloud.tell(uuid, 0)
    return Injected(Kind.HELD_ELSEWHERE, uuid, heals=False)


def allocations_missing(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.tell(uuid, 1, project_id="project", user_id="user")
    return Injected(Kind.MISSING, uuid)


def amounts_that_differ(cloud: Cloud) -> Injected:
    uuid = cloud.place(1)
    cloud.tell(uuid, 1, resources=FLAVOR | {"VCPU": 4, "DISK_GB": 10})
    return Injected(Kind.AMOUNTS_DIFFER, uuid)


def class_not_held(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.hold(uuid, 0, on_pool={})
    cloud.tell(uuid, 0)
    return Injected(Kind.AMOUNTS_DIFFER, uuid)


def overdue_and_never_started(cloud: Cloud) -> Injected:
    """Nobody has begun, so it can go back; the runner that does so does not run."""
    server = cloud.place(0)
    return Injected(Kind.MOVE_OVERDUE, cloud.order(server, 1, deadline_s=60).uuid)


def overdue_and_started(cloud: Cloud) -> Injected:
    """Somebody has begun, so only they know where the server is."""
    server = cloud.place(0)
    moved = cloud.step(cloud.order(server, 1, deadline_s=60), MoveEvent.START)
    return Injected(Kind.MOVE_OVERDUE, moved.uuid, heals=False)


def overdue_and_deleted(cloud: Cloud) -> Injected:
    """The server is gone, so its hold only waits for the runner."""
    server = cloud.place(0)
    moved = cloud.order(server, 2, deadline_s=60)
    cloud.claim(server, {}, generation=2)
    del cloud.servers[server]
    return Injected(Kind.MOVE_OVERDUE, moved.uuid)


def hold_of_a_move_that_was_confirmed(cloud: Cloud) -> Injected:
    """Somebody has written the hold's allocations again once its move was over."""
    server = cloud.place(0)
    moved = cloud.step(cloud.order(server, 2), MoveEvent.START)
    cloud.step(moved, MoveEvent.CONFIRM)
    cloud.tell(server, 2)
    cloud.hold(moved.uuid, 0, consumer_type="MIGRATION")
    return Injected(Kind.HOLD_LEFT, moved.uuid)


def hold_of_a_move_that_was_reverted(cloud: Cloud) -> Injected:
    """The same, and nothing says from outside where the server is."""
    server = cloud.place(0)
    moved = cloud.step(cloud.order(server, 1), MoveEvent.REVERT)
    cloud.hold(moved.uuid, 0, consumer_type="MIGRATION")
    return Injected(Kind.HOLD_LEFT, moved.uuid)


def hold_of_a_move_that_was_abandoned(cloud: Cloud) -> Injected:
    """A server that was given up on its way holds elsewhere by now, and its first source again."""
    server = cloud.place(0)
    moved = cloud.order(server, 1)
    release(cloud.services, consumer=server, origin=origin())
    cloud.step(replace(moved, generation=Generation(2)), MoveEvent.CLEAN_UP)
    cloud.hold(server, 2)
    cloud.tell(server, 2)
    cloud.hold(moved.uuid, 0, consumer_type="MIGRATION")
    return Injected(Kind.HOLD_LEFT, moved.uuid)


def hold_of_an_observed_move_that_nobody_lists(cloud: Cloud) -> Injected:
    """Nova has forgotten the migration; the server has arrived and is on its way nowhere."""
    server = cloud.place(0)
    hold = cloud.observe(server, 2)
    cloud.tell(server, 2)
    return Injected(Kind.HOLD_LEFT, hold, Confidence.LIKELY)


def revert_of_an_observed_move_that_nobody_lists(cloud: Cloud) -> Injected:
    """The same, and the server is where it was."""
    server = cloud.place(0)
    return Injected(Kind.HOLD_LEFT, cloud.observe(server, 2), Confidence.LIKELY)


def credit_of_no_move(cloud: Cloud) -> Injected:
    uuid = new_uuid()
    cloud.sql(
        "INSERT INTO moorage_credits (move, resource_provider_id, resource_class_id, used)"
        " VALUES (:uuid, :p, :c, 5)",
        uuid=uuid,
        p=cloud.id_of(cloud.pools[0]),
        c=cloud.class_id("DISK_GB"),
    )
    return Injected(Kind.CREDIT_WRONG, uuid)


def credit_of_a_move_that_is_over(cloud: Cloud) -> Injected:
    server = cloud.place(0)
    moved = cloud.step(cloud.order(server, 1), MoveEvent.REVERT)
    cloud.sql(
        "INSERT INTO moorage_credits (move, resource_provider_id, resource_class_id, used)"
        " VALUES (:uuid, :p, :c, 20)",
        uuid=moved.uuid,
        p=cloud.id_of(cloud.pools[0]),
        c=cloud.class_id("DISK_GB"),
    )
    return Injected(Kind.CREDIT_WRONG, moved.uuid)


def credit_too_high(cloud: Cloud) -> Injected:
    server = cloud.place(0)
    moved = cloud.order(server, 1)
    cloud.sql("UPDATE moorage_credits SET used = 33 WHERE move = :uuid", uuid=moved.uuid)
    return Injected(Kind.CREDIT_WRONG, moved.uuid)


# Those that get in the way of claims come last.
FAULTS: tuple[Fault, ...] = (
    allocation_without_provider,
    allocation_without_consumer,
    allocation_without_inventory,
    consumer_without_allocations,
    leftovers_of_an_evacuation,
    leftovers_on_another_pool,
    duplicate_on_a_pool,
    hold_without_a_pool,
    revert_that_failed,
    revert_that_lost_the_server,
    orphan,
    typed_orphan,
    shelved_and_holding,
    held_elsewhere,
    allocations_missing,
    amounts_that_differ,
    class_not_held,
    overdue_and_never_started,
    overdue_and_started,
    overdue_and_deleted,
    hold_of_a_move_that_was_confirmed,
    hold_of_a_move_that_was_reverted,
    hold_of_a_move_that_was_abandoned,
    hold_of_an_observed_move_that_nobody_lists,
    revert_of_an_observed_move_that_nobody_lists,
    credit_of_no_move,
    credit_of_a_move_that_is_over,
    credit_too_high,
    total_too_high,
    total_too_low,
    total_missing,
    total_without_inventory,
    over_capacity,
)

ALONE: frozenset[Fault] = frozenset(
    (
        total_too_high,
        total_too_low,
        total_missing,
        total_without_inventory,
        over_capacity,
        allocation_without_provider,
        allocation_without_inventory,
        allocation_without_consumer,
        consumer_without_allocations,
        overdue_and_never_started,
        overdue_and_started,
        overdue_and_deleted,
        hold_of_a_move_that_was_confirmed,
        hold_of_a_move_that_was_reverted,
        credit_of_no_move,
        credit_of_a_move_that_is_over,
        credit_too_high,
    )
)
"""Faults that the books show by themselves."""

# What belongs to one fault and is told as two: the failed revert leaves its server elsewhere, or
# with nothing.
COMPANIONS: dict[Fault, frozenset[Kind]] = {
    revert_that_failed: frozenset({Kind.HELD_ELSEWHERE}),
    revert_that_lost_the_server: frozenset({Kind.MISSING}),
    revert_of_an_observed_move_that_nobody_lists: frozenset({Kind.HELD_ELSEWHERE}),
}
