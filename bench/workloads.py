"""The workloads: what the clients ask, and of which fleet."""

import itertools
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench import fleets
from bench.fleets import Fleet, Sizes, agent_reads, build_claim, register_provider
from bench.load import Operation, in_turn
from bench.servers import Options
from bench.wire import build_request

MakeOperations = Callable[[Fleet], Iterator[Operation]]
SWAPPED_INSTANCES: Final = 64
"""Instances that migrate to and fro; more than clients, so that none waits for another."""

AGENTS: Final = 500
"""Hosts whose agents ask again and again; those of the others have just been started."""

NEW_AGGREGATE_EVERY: Final = 10
WARM_UP: Final = 32


@dataclass(frozen=True)
class Workload:
    """A load by a number of clients on one fleet.

    ``scene``: the name of the fleet. ``warm_up``: operations before the first that is timed.
    ``project``: the project whose VCPU count the operations done, where they are claims.
    ``rival``: what Moorage is measured against on itself, where upstream has no part in it;
    ``alone``: upstream is not asked, since it does not answer in reasonable time.
    ``beside``: what as many other clients do meanwhile, but not while the rival has its turn.
    """

    name: str
    told: str
    scene: str
    clients: int
    operations: MakeOperations
    warm_up: int = 2
    project: str | None = None
    rival: MakeOperations | None = None
    beside: MakeOperations | None = None
    alone: bool = False


SCENES: Final[Mapping[str, Callable[[Sizes], Fleet]]] = {
    "flat": fleets.build_flat_fleet,
    "nested": fleets.build_nested_fleet,
    "sharing": fleets.build_sharing_fleet,
    "wide": fleets.build_wide_fleet,
    "new": fleets.build_new_fleet,
    "crowded": fleets.build_crowded_fleet,
}


UPSTREAM_OPTIONS: Final[Mapping[str, Options]] = {
    "wide": {"workarounds": {"optimize_for_wide_provider_trees": True}},
}
"""What upstream is configured with for a scene, where its own manual says so."""


def read(*targets: str) -> MakeOperations:
    """The same reads again and again."""
    requests = [build_request("GET", target) for target in targets]

    def operations(_: Fleet) -> Iterator[Operation]:
        while True:
            yield in_turn(*requests)

    return operations


def read_all_kinds(fleet: Fleet) -> Iterator[Operation]:
    """In turn a search, the usages of a project, the allocations and inventories of a host."""
    searches = [f"{FLAT_SEARCH}&limit=10", f"/usages?project_id={fleets.PROJECT}"]
    while True:
        host = f"/resource_providers/{random.choice(fleet.hosts)}"
        for target in (*searches, f"{host}/allocations", f"{host}/inventories"):
            yield in_turn(build_request("GET", target))


def read_as_agent(fleet: Fleet) -> Iterator[Operation]:
    """Each time the five reads of some host's agent, which asks the same again and again."""
    hosts = fleet.hosts[:AGENTS]
    loops = [[build_request("GET", target) for target in agent_reads(host)] for host in hosts]
    while True:
        yield in_turn(*random.choice(loops))


def read_as_new_agents(fleet: Fleet) -> Iterator[Operation]:
    """The same of agents that have just been started, as far as there are others."""
    for host in itertools.cycle(fleet.hosts[AGENTS:] or fleet.hosts):
        yield in_turn(*[build_request("GET", target) for target in agent_reads(host)])


def claim_somewhere(project: str) -> MakeOperations:
    """A new instance on a random host."""

    def operations(fleet: Fleet) -> Iterator[Operation]:
        while True:
            yield in_turn(_claim(random.choice(fleet.hosts), project))

    return operations


def claim_on_one(project: str) -> MakeOperations:
    """A new instance, always on the same host."""

    def operations(fleet: Fleet) -> Iterator[Operation]:
        while True:
            yield in_turn(_claim(fleet.boundless, project))

    return operations


def search_and_claim(project: str) -> MakeOperations:
    """What a scheduler does: five candidates, and a claim on one of them."""
    search = build_request("GET", f"{FLAT_SEARCH}&limit=5")

    def operation() -> Operation:
        answer = yield search
        if not answer.succeeded:
            return
        chosen = random.choice(answer.json["allocation_requests"])
        body = build_claim(chosen["allocations"], project=project)
        yield build_request("PUT", f"/allocations/{uuid.uuid4()}", body)

    def operations(_: Fleet) -> Iterator[Operation]:
        while True:
            yield operation()

    return operations


def register_hosts(_: Fleet) -> Iterator[Operation]:
    """New hosts in known zones, one in NEW_AGGREGATE_EVERY also in an aggregate of its own."""
    zones = fleets.Names("zones").uuids(fleets.ZONES)
    for number in itertools.count():
        aggregates = [zones[number % fleets.ZONES]]
        if number % NEW_AGGREGATE_EVERY == 0:
            aggregates.append(str(uuid.uuid4()))
        yield in_turn(
            *register_provider(
                str(uuid.uuid4()),
                fleets.HOST_INVENTORIES,
                traits=fleets.HOST_TRAITS,
                aggregates=aggregates,
            )
        )


def swap_allocations(fleet: Fleet) -> Iterator[Operation]:
    """Nova's first step of a migration: all that one consumer holds goes to another.

    The first SWAPPED_INSTANCES operations claim the instances, so they belong to the warm-up.
    """
    idle = deque[_Instance]()
    for _ in range(SWAPPED_INSTANCES):
        instance = _Instance(random.choice(fleet.hosts))
        yield _claim_instance(instance, idle)
    while True:
        yield _swap(idle.popleft(), idle)


@dataclass
class _Instance:
    host: str
    holder: str = ""


def _claim_instance(instance: _Instance, idle: deque[_Instance]) -> Operation:
    instance.holder = str(uuid.uuid4())
    body = build_claim({instance.host: {"resources": fleets.INSTANCE}})
    answer = yield build_request("PUT", f"/allocations/{instance.holder}", body)
    if answer.succeeded:
        idle.append(instance)


def _swap(instance: _Instance, idle: deque[_Instance]) -> Operation:
    taker = str(uuid.uuid4())
    emptied = build_claim({}) | {"consumer_generation": 1}
    taken = build_claim({instance.host: {"resources": fleets.INSTANCE}})
    request = build_request("POST", "/allocations", {instance.holder: emptied, taker: taken})
    answer = yield request
    if answer.succeeded:
        instance.holder = taker
    idle.append(instance)


def _claim(host: str, project: str) -> bytes:
    body: dict[str, Any] = build_claim({host: {"resources": fleets.INSTANCE}}, project=project)
    return build_request("PUT", f"/allocations/{uuid.uuid4()}", body)


def _project_of(workload: str) -> str:
    return str(uuid.uuid5(uuid.UUID(fleets.PROJECT), workload))


def _claims(name: str, told: str, clients: int, make: Callable[[str], MakeOperations]) -> Workload:
    project = _project_of(name)
    return Workload(name, told, "flat", clients, make(project), WARM_UP, project)


FLAT_SEARCH: Final = fleets.sharing_search()

WORKLOADS: Final = (
    # Reads first: claims make the fleet fuller, and Moorage's the more since it makes more.
    Workload(
        "usages", "GET /usages of a project", "flat", 1,
        read(f"/usages?project_id={fleets.PROJECT}"),
    ),
    Workload("agent", "agent's five reads", "flat", 8, read_as_agent, AGENTS * 4),
    Workload("agent-first", "the same, asked first", "flat", 8, read_as_new_agents, 32),
    Workload("candidates-10", "flat, limit=10", "flat", 1, read(f"{FLAT_SEARCH}&limit=10")),
    Workload("candidates-1000", "flat, limit=1000", "flat", 1, read(f"{FLAT_SEARCH}&limit=1000")),
    Workload("candidates-all", "flat, no limit", "flat", 1, read(FLAT_SEARCH)),
    Workload(
        "candidates-rare", "rare trait", "flat", 1,
        read(f"{FLAT_SEARCH}&required={fleets.RARE_TRAIT}&limit=1000"),
    ),
    Workload(
        "candidates-none", "no match", "flat", 1,
        read("/allocation_candidates?resources=VCPU:1,MEMORY_MB:10000000&limit=1000"),
    ),
    Workload("swap", "swap, POST /allocations", "flat", 8, swap_allocations, SWAPPED_INSTANCES * 2),
    _claims("claims-1", "PUT /allocations, random hosts", 1, claim_somewhere),
    _claims("claims-8", "PUT /allocations, random hosts", 8, claim_somewhere),
    _claims("claims-32", "PUT /allocations, random hosts", 32, claim_somewhere),
    _claims("claims-one-host-1", "PUT /allocations, one host", 1, claim_on_one),
    _claims("claims-one-host-8", "PUT /allocations, one host", 8, claim_on_one),
    _claims("claims-one-host-32", "PUT /allocations, one host", 32, claim_on_one),
    _claims("schedule", "candidates limit=5, then PUT", 8, search_and_claim),
    Workload(
        "reads-under-writes", "reads beside as many writers / without", "flat", 8,
        read_all_kinds, WARM_UP, rival=read_all_kinds, beside=claim_somewhere(fleets.PROJECT),
    ),
    Workload(
        "candidates-nested", "trees of 7, same_subtree, limit=1000", "nested", 1,
        read(f"{fleets.nested_search()}&limit=1000"),
    ),
    Workload(
        "candidates-sharing", "sharing pools, limit=1000", "sharing", 1,
        read(f"{fleets.sharing_search()}&limit=1000"),
    ),
    *(
        Workload(
            f"wide-{width}", f"{width} groups on {width} devices, limit=1000", "wide", 1,
            read(f"{fleets.wide_search(width)}&limit=1000"), alone=True,
        )
        for width in fleets.WIDTHS
    ),
    *(
        Workload(
            f"wide-named-{width}", "the same, each device meant", "wide", 1,
            read(f"{fleets.wide_search(width, named=True)}&limit=1000"),
            # Upstream answers this where one candidate in all is possible; it tries them all.
            alone=width > fleets.WIDTHS[0],
        )
        for width in fleets.WIDTHS
    ),
    *(
        Workload(
            f"wide-named-none-{width}", "the same, group_policy=none", "wide", 1,
            read(f"{fleets.wide_search(width, named=True, policy='none')}&limit=1000"), alone=True,
        )
        for width in fleets.WIDTHS
    ),
    *(
        Workload(
            f"wide-{groups}-on-8", f"{groups} groups on 8 devices, limit=1000", "wide", 1,
            read(f"{fleets.wide_search(8, groups=groups)}&limit=1000"),
        )
        for groups in (4, 5)
    ),
    Workload(
        "wide-33-on-32", "33 groups on 32 devices: none", "wide", 1,
        read(f"{fleets.wide_search(32, groups=33)}&limit=1000"), alone=True,
    ),
    Workload(
        "wide-9-on-8", "9 groups on 8 devices: none", "wide", 1,
        read(f"{fleets.wide_search(8, groups=9)}&limit=1000"), alone=True,
    ),
    Workload(
        "registering", "provider, inventories, traits, aggregates", "new", 8, register_hosts, 16
    ),
    Workload(
        "crowded", "claim on a crowded provider / an empty one", "crowded", 1,
        claim_on_one(fleets.PROJECT), WARM_UP, rival=claim_somewhere(fleets.PROJECT),
    ),
)  # fmt: skip


def choose(names: list[str]) -> list[Workload]:
    """The workloads of these names, or whose names begin with one of them; all for none.

    Raises:
        LookupError: a name that no workload has.
    """
    for name in names:
        if not any(_is_meant(workload, name) for workload in WORKLOADS):
            known = ", ".join(workload.name for workload in WORKLOADS)
            raise LookupError(f"no workload is called {name}; there are: {known}")
    return [
        workload
        for workload in WORKLOADS
        if not names or any(_is_meant(workload, name) for name in names)
    ]


def _is_meant(workload: Workload, name: str) -> bool:
    return workload.name == name or workload.name.startswith(f"{name}-")
