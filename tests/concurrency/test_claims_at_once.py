"""A thousand claims at once through several served processes: all there is, and no more."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.claims.cloud import CLAIMS as CLAIMS_PATH
from tests.claims.cloud import claim_body
from tests.concurrency.crowd import read_used, sum_held
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, Subject
from tests.support.ids import new_uuid
from tests.support.servers import HOST, Server, serve
from tests.support.world import World

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("claims-at-once")]

WORKERS: Final = 3
CLAIMS: Final = 1_000
PORTION_GB: Final = 5
ROOM: Final = 700
"""How many of the claims the pool has room for."""


@pytest.fixture
def server(
    database_kind: DatabaseKind, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    deployment = Deployment(tmp_path_factory.mktemp("served"), databases.fresh(database_kind))
    with serve(Subject.MOORAGE, deployment, workers=WORKERS) as server:
        yield server


def make_pool(world: World) -> str:
    """A pool that three hosts share; they have more processors than anybody asks for."""
    aggregate = new_uuid()
    pool = world.provider(f"pool-{new_uuid()}")
    # What is left over at the end is less than anybody asks for.
    world.inventory(pool, "DISK_GB", ROOM * PORTION_GB + PORTION_GB - 1)
    world.traits(pool, "MISC_SHARES_VIA_AGGREGATE")
    world.aggregates(pool, aggregate)
    for _ in range(3):
        host = world.provider(f"host-{new_uuid()}")
        world.inventory(host, "VCPU", CLAIMS)
        world.aggregates(host, aggregate)
    return pool


async def post_all_at_once(port: int, path: str, bodies: list[bytes]) -> list[tuple[int, bytes]]:
    """Send every body over a connection of its own; none waits for another's answer."""
    connections = [await asyncio.open_connection(HOST, port) for _ in bodies]

    async def ask(number: int) -> tuple[int, bytes]:
        reader, writer = connections[number]
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Auth-Token: admin\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(bodies[number])}\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode() + bodies[number])
        answer = await reader.read()
        writer.close()
        first, _, rest = answer.partition(b"\r\n")
        return int(first.split()[1]), rest.partition(b"\r\n\r\n")[2]

    return await asyncio.gather(*(ask(number) for number in range(len(bodies))))


def body_for(strategy: str) -> dict[str, Any]:
    request = f"resources=VCPU:1,DISK_GB:{PORTION_GB}"
    return claim_body(request, [new_uuid()], strategy=strategy)


def test_a_thousand_claims_at_once_take_all_that_a_pool_has_and_no_more(server: Server) -> None:
    pool = make_pool(World(server.client()))
    bodies = [body_for(("spread", "pack", "first", "random")[n % 4]) for n in range(CLAIMS)]
    texts = [json.dumps(body).encode() for body in bodies]
    answers = asyncio.run(post_all_at_once(server.port, CLAIMS_PATH, texts))
    told = Counter(status for status, _ in answers)
    # Whoever is refused is refused because the pool is full: were it contention, fewer would hold.
    assert told == {200: ROOM, 409: CLAIMS - ROOM}, next(
        (body for status, body in answers if status not in (200, 409)), b""
    )
    codes = {json.loads(body)["errors"][0]["code"] for status, body in answers if status == 409}
    assert codes == {"moorage.nothing_fits"}
    reader = server.client("1.39")
    assert read_used(reader, pool, "DISK_GB") == ROOM * PORTION_GB
    assert sum_held(reader, pool, "DISK_GB") == ROOM * PORTION_GB
    held = reader.get(f"/resource_providers/{pool}/allocations").json["allocations"]
    asked = [body["consumers"][0]["uuid"] for body in bodies]
    told_to_hold = {one for one, (status, _) in zip(asked, answers, strict=True) if status == 200}
    assert set(held) == told_to_hold
