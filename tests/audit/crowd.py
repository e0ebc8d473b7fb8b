"""A large cloud: rows of many hosts and servers, written at once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select, update

from moorage.domain.outside import Server
from moorage.store.tables import (
    allocations,
    consumers,
    inventories,
    moorage_usages,
    resource_providers,
)
from tests.audit.cloud import FLAVOR, LONG_AGO, ON_HOST, ON_POOL, Cloud
from tests.support.books import new_uuid

FIRST_ID = 100_000
"""Row ids of the hosts begin here, behind those that the cloud has."""

POOL_TOTAL = 10**8

Slot = tuple[int, int]


def fill(cloud: Cloud, *, hosts: int, servers: int) -> None:
    """Add hosts, with servers spread over them that have their disks on the cloud's first pool."""
    names = {FIRST_ID + number: new_uuid() for number in range(hosts)}
    placed = {new_uuid(): FIRST_ID + number % hosts for number in range(servers)}
    on_host = {cloud.class_id(name): amount for name, amount in ON_HOST.items()}
    on_pool = {cloud.class_id(name): amount for name, amount in ON_POOL.items()}
    pool = cloud.id_of(cloud.pools[0])
    held = [
        (key, class_id, uuid, amount)
        for uuid, host in placed.items()
        for key, units in ((host, on_host), (pool, on_pool))
        for class_id, amount in units.items()
    ]
    with cloud.services.store.writer.begin() as connection:
        _add_hosts(connection, names, on_host, each=-(-servers // hosts))
        _add_allocations(connection, list(placed), held)
        connection.execute(
            update(inventories)
            .where(inventories.c.resource_provider_id == pool)
            .values(total=POOL_TOTAL, max_unit=POOL_TOTAL)
        )
    cloud.hosts += names.values()
    for uuid, host in placed.items():
        cloud.servers[uuid] = Server(uuid, names[host], "ACTIVE", resources=FLAVOR)


def _add_hosts(
    connection: Connection, names: Mapping[int, str], on_host: Mapping[int, int], *, each: int
) -> None:
    """Hosts that have room for so many servers each."""
    units = {"reserved": 0, "min_unit": 1, "max_unit": 10**6, "step_size": 1}
    slots = [
        {"resource_provider_id": key, "resource_class_id": class_id, "total": each * amount}
        for key in names
        for class_id, amount in on_host.items()
    ]
    _insert(
        connection,
        resource_providers,
        [
            {"id": key, "uuid": name, "name": name, "generation": 1, "root_provider_id": key}
            for key, name in names.items()
        ],
    )
    _insert(connection, inventories, [{"allocation_ratio": 1.0, **units, **one} for one in slots])
    totals = [{name: one[name] for name in one if name != "total"} | {"used": 0} for one in slots]
    _insert(connection, moorage_usages, totals)


def _add_allocations(
    connection: Connection, uuids: Sequence[str], held: Sequence[tuple[int, int, str, int]]
) -> None:
    """Consumers of a project and a user that there are, what they hold, and the running totals."""
    owner = connection.execute(select(consumers.c.project_id, consumers.c.user_id).limit(1)).one()
    _insert(
        connection,
        consumers,
        [
            {"uuid": uuid, "generation": 1, "created_at": LONG_AGO, **owner._mapping}
            for uuid in uuids
        ],
    )
    columns = ("resource_provider_id", "resource_class_id", "consumer_id", "used")
    _insert(connection, allocations, [dict(zip(columns, row, strict=True)) for row in held])
    used = Counter[Slot]()
    for key, class_id, _, amount in held:
        used[key, class_id] += amount
    for (key, class_id), amount in used.items():
        connection.execute(
            update(moorage_usages)
            .where(
                moorage_usages.c.resource_provider_id == key,
                moorage_usages.c.resource_class_id == class_id,
            )
            .values(used=moorage_usages.c.used + amount)
        )


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    connection.execute(table.insert(), list(rows))
