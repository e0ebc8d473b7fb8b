"""The fleets that workloads run on, as requests; both contestants get the same ones."""

import itertools
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import os_traits

from bench.wire import build_request

Inventories = Mapping[str, Mapping[str, Any]]
Requests = tuple[bytes, ...]

PROJECT: Final = "6f70656e-7374-6163-6b20-626f6f6b7321"
USER: Final = "6f70656e-7374-6163-6b20-757365727321"
RARE_TRAIT: Final = "CUSTOM_RARE"
FPGA_TRAIT: Final = "CUSTOM_FPGA_REGION"
SHARES_TRAIT: Final = "MISC_SHARES_VIA_AGGREGATE"
CONSUMERS_A_REQUEST: Final = 25
CROWD_A_REQUEST: Final = 500
ZONES: Final = 20
WIDTHS: Final = (8, 16, 32)
DEVICE_TRAITS: Final = ("CUSTOM_FAST", "CUSTOM_LARGE", "CUSTOM_QUIET", "CUSTOM_SECURE")
PROBED_HOSTS: Final = 5

UNITS_MAX: Final = 2**31 - 1
HOST_INVENTORIES: Final[Inventories] = {
    "VCPU": {"total": 128, "max_unit": 128, "allocation_ratio": 16.0},
    "MEMORY_MB": {"total": 1 << 20, "reserved": 512, "max_unit": 1 << 20, "allocation_ratio": 1.5},
    "DISK_GB": {"total": 100_000, "max_unit": 100_000},
}
BOUNDLESS_INVENTORIES: Final[Inventories] = {
    name: {"total": UNITS_MAX} for name in HOST_INVENTORIES
}
HOST_TRAITS: Final = tuple(
    sorted(os_traits.get_traits("COMPUTE_"))[:10] + sorted(os_traits.get_traits("HW_CPU_X86_"))[:10]
)
"""As many as a compute agent reports, in order of magnitude."""

INSTANCE: Final = {"VCPU": 1, "MEMORY_MB": 64, "DISK_GB": 1}


@dataclass(frozen=True)
class Sizes:
    """How large the fleets are."""

    hosts: int
    consumers: int
    trees: int
    diskless: int
    pools: int
    crowd: int
    registered: int = 50


@dataclass(frozen=True)
class Fleet:
    """Providers that workloads choose from, how they come to be, and what must agree.

    ``phases``: each is loaded by many clients at once, one after the other. ``probes``: paths whose
    answers must be the same; ``counted_probes``: of these the number of candidates, since a limit
    leaves the choice to the service.
    """

    phases: tuple[tuple[Requests, ...], ...]
    probes: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    boundless: str = ""
    counted_probes: tuple[str, ...] = ()


class Names:
    """Uuids from a seed, so that both contestants and every run have the same fleet."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def uuids(self, count: int) -> tuple[str, ...]:
        return tuple(self.uuid() for _ in range(count))


def register_provider(
    provider: str,
    inventories: Inventories,
    *,
    parent: str | None = None,
    traits: Sequence[str] = (),
    aggregates: Sequence[str] = (),
) -> Requests:
    """The requests of an agent that registers a provider, generations counted along."""
    body = {"uuid": provider, "name": f"host-{provider}"}
    if parent is not None:
        body["parent_provider_uuid"] = parent
    path, generation = f"/resource_providers/{provider}", itertools.count()
    requests = [build_request("POST", "/resource_providers", body)]

    def put(what: str, content: Any) -> None:
        stated = {what: content, "resource_provider_generation": next(generation)}
        requests.append(build_request("PUT", f"{path}/{what}", stated))

    if inventories:
        put("inventories", inventories)
    if traits:
        put("traits", traits)
    if aggregates:
        put("aggregates", aggregates)
    return tuple(requests)


def build_flat_fleet(sizes: Sizes) -> Fleet:
    """Hosts without children in some zones, one in a hundred of them rare, all with instances."""
    names = Names("flat")
    zones, hosts, boundless = names.uuids(ZONES), names.uuids(sizes.hosts), names.uuid()
    registrations = [
        register_provider(
            host,
            HOST_INVENTORIES,
            traits=(*HOST_TRAITS, RARE_TRAIT) if number % 100 == 0 else HOST_TRAITS,
            aggregates=[zones[number % ZONES]],
        )
        for number, host in enumerate(hosts)
    ]
    consumers = zip(names.uuids(sizes.consumers), itertools.cycle(hosts), strict=False)
    search = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:64,DISK_GB:1"
    return Fleet(
        phases=(
            tuple(_ensure(traits=(RARE_TRAIT,))),
            (register_provider(boundless, BOUNDLESS_INVENTORIES), *registrations),
            tuple(_claim_in_batches(consumers, CONSUMERS_A_REQUEST)),
        ),
        probes=(
            "/resource_providers",
            f"/resource_providers?required={RARE_TRAIT}&resources=VCPU:1",
            f"/resource_providers?member_of={zones[0]}",
            f"/usages?project_id={PROJECT}",
            f"/usages?project_id={PROJECT}&user_id={USER}",
            search,
            f"{search}&required={RARE_TRAIT}",
            "/allocation_candidates?resources=MEMORY_MB:10000000",
            *(path for host in hosts[:PROBED_HOSTS] for path in agent_reads(host)),
        ),
        counted_probes=(f"{search}&limit=10", f"{search}&limit=1000"),
        hosts=hosts,
        boundless=boundless,
    )


def build_new_fleet(sizes: Sizes) -> Fleet:
    """A small fleet, to which hosts are added."""
    hosts = Names("new").uuids(sizes.registered)
    registrations = [
        register_provider(host, HOST_INVENTORIES, traits=HOST_TRAITS) for host in hosts
    ]
    probes = [path for host in hosts[:PROBED_HOSTS] for path in agent_reads(host)]
    return Fleet(phases=(tuple(registrations),), probes=tuple(probes), hosts=hosts)


def build_nested_fleet(sizes: Sizes) -> Fleet:
    """Trees of seven: a host, two NUMA nodes, and on each a NIC and an FPGA."""
    names = Names("nested")
    phases: tuple[list[Requests], ...] = ([], [], [])
    hosts = names.uuids(sizes.trees)
    for host in hosts:
        phases[0].append(
            register_provider(host, {"DISK_GB": HOST_INVENTORIES["DISK_GB"]}, traits=HOST_TRAITS)
        )
        for _ in range(2):
            numa, nic, fpga = names.uuids(3)
            cores = {name: HOST_INVENTORIES[name] for name in ("VCPU", "MEMORY_MB")}
            phases[1].append(register_provider(numa, cores, parent=host, traits=["HW_NUMA_ROOT"]))
            phases[2].append(register_provider(nic, {"SRIOV_NET_VF": {"total": 16}}, parent=numa))
            phases[2].append(
                register_provider(fpga, {"FPGA": {"total": 4}}, parent=numa, traits=[FPGA_TRAIT])
            )
    return Fleet(
        phases=(tuple(_ensure(traits=(FPGA_TRAIT,))), *map(tuple, phases)),
        probes=("/resource_providers", nested_search(), *agent_reads(hosts[0])),
        counted_probes=(f"{nested_search()}&limit=1000",),
        hosts=hosts,
    )


def build_sharing_fleet(sizes: Sizes) -> Fleet:
    """Hosts without disks, each in the aggregate of one pool that has them."""
    names = Names("sharing")
    hosts, pools, aggregates = (
        names.uuids(sizes.diskless),
        names.uuids(sizes.pools),
        names.uuids(sizes.pools),
    )
    disk = {"DISK_GB": {"total": UNITS_MAX}}
    cores = {name: HOST_INVENTORIES[name] for name in ("VCPU", "MEMORY_MB")}
    registrations = [
        register_provider(pool, disk, traits=[SHARES_TRAIT], aggregates=[aggregate])
        for pool, aggregate in zip(pools, aggregates, strict=True)
    ] + [
        register_provider(
            host, cores, traits=HOST_TRAITS, aggregates=[aggregates[number % sizes.pools]]
        )
        for number, host in enumerate(hosts)
    ]
    return Fleet(
        phases=(tuple(registrations),),
        probes=(sharing_search(), *agent_reads(hosts[0]), *agent_reads(pools[0])),
        counted_probes=(f"{sharing_search()}&limit=1000",),
        hosts=hosts,
    )


def build_wide_fleet(_: Sizes) -> Fleet:
    """A host of each width with so many devices, each with a unit or two and one trait of four."""
    names = Names("wide")
    hosts = names.uuids(len(WIDTHS))
    devices = [
        register_provider(
            names.uuid(),
            {_device_class(width): {"total": 1 + number // 4 % 2}},
            parent=host,
            traits=[DEVICE_TRAITS[number % len(DEVICE_TRAITS)]],
        )
        for host, width in zip(hosts, WIDTHS, strict=True)
        for number in range(width)
    ]
    # By one client: upstream's processes lose sight of names that are made at the same time.
    classes = tuple(
        build_request("PUT", f"/resource_classes/{_device_class(width)}") for width in WIDTHS
    )
    traits = itertools.chain.from_iterable(_ensure(traits=DEVICE_TRAITS))
    return Fleet(
        phases=(
            ((*traits, *classes),),
            tuple(register_provider(host, HOST_INVENTORIES) for host in hosts),
            tuple(devices),
        ),
        probes=(
            *agent_reads(hosts[0]),
            f"{wide_search(WIDTHS[0], named=True)}&limit=1000",
            wide_search(8, groups=3),
        ),
        counted_probes=(f"{wide_search(8, groups=4)}&limit=1000",),
        hosts=hosts,
    )


def wide_search(
    width: int, *, groups: int = 0, named: bool = False, policy: str = "isolate"
) -> str:
    """A device for each group, for as many groups as there are devices or others.

    ``named``: each group asks for the trait of its device, and for all the units that it has.
    """
    asked = []
    for number in range(groups or width):
        amount = 1 + number // 4 % 2 if named else 1
        asked.append(f"resources_{number}={_device_class(width)}:{amount}")
        if named:
            asked.append(f"required_{number}={DEVICE_TRAITS[number % len(DEVICE_TRAITS)]}")
    return f"/allocation_candidates?{'&'.join(asked)}&group_policy={policy}"


def _device_class(width: int) -> str:
    return f"CUSTOM_DEVICE_OF_{width}"


def build_crowded_fleet(sizes: Sizes) -> Fleet:
    """One boundless provider that very many consumers hold something of, and hosts for few."""
    names = Names("crowded")
    hosts, boundless = names.uuids(sizes.hosts), names.uuid()
    crowd = zip(names.uuids(sizes.crowd), itertools.repeat(boundless), strict=False)
    registrations = [register_provider(host, HOST_INVENTORIES) for host in hosts]
    return Fleet(
        phases=(
            (register_provider(boundless, BOUNDLESS_INVENTORIES), *registrations),
            tuple(_claim_in_batches(crowd, CROWD_A_REQUEST)),
        ),
        probes=(),
        hosts=hosts,
        boundless=boundless,
    )


def agent_reads(host: str) -> tuple[str, ...]:
    """What a compute agent asks about its own host, each time around."""
    path = f"/resource_providers/{host}"
    return (
        f"/resource_providers?in_tree={host}",
        f"{path}/inventories",
        f"{path}/aggregates",
        f"{path}/traits",
        f"{path}/allocations",
    )


def nested_search() -> str:
    """Cores of a NUMA node and an FPGA on the same one."""
    return (
        "/allocation_candidates?resources_CORES=VCPU:1,MEMORY_MB:64"
        f"&resources_FPGA=FPGA:1&required_FPGA={FPGA_TRAIT}"
        "&group_policy=none&same_subtree=_CORES,_FPGA"
    )


def sharing_search() -> str:
    """What an instance needs, its disk from a pool."""
    return "/allocation_candidates?resources=VCPU:1,MEMORY_MB:64,DISK_GB:1"


def build_claim(allocations: Mapping[str, Any], *, project: str = PROJECT) -> dict[str, Any]:
    """The body of a claim for a new consumer."""
    return {
        "allocations": allocations,
        "project_id": project,
        "user_id": USER,
        "consumer_generation": None,
    }


def _claim_in_batches(consumers: Iterable[tuple[str, str]], size: int) -> Iterator[Requests]:
    """One request for each batch of consumers, every consumer an instance on its host."""
    waiting = iter(consumers)
    while batch := tuple(itertools.islice(waiting, size)):
        body = {consumer: build_claim({host: {"resources": INSTANCE}}) for consumer, host in batch}
        yield (build_request("POST", "/allocations", body),)


def _ensure(*, traits: Iterable[str]) -> Iterator[Requests]:
    for trait in traits:
        yield (build_request("PUT", f"/traits/{trait}"),)
