"""The worlds that upstream's gabbi files name, under the same names, built through the REST API.

Each publishes the same environment variables as upstream's, since the files read them.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from gabbi import fixture

from tests.contract.stage import STAGE
from tests.support.app import load
from tests.support.client import Client, over_wsgi
from tests.support.deployments import Deployment, Option
from tests.support.ids import new_uuid
from tests.support.world import World

SHARING = "MISC_SHARES_VIA_AGGREGATE"

# What the environment held under the names that are published now.
_before: dict[str, str | None] = {}


class APIFixture(fixture.GabbiFixture):
    """A new service on an empty database; nothing in it but the names the tests will use."""

    options: Mapping[str, Mapping[str, Option]] = {}

    def start_fixture(self) -> None:
        self._ending = ExitStack()
        self._ending.callback(_withdraw_published)
        directory = self._ending.enter_context(tempfile.TemporaryDirectory())
        deployment = Deployment(
            Path(directory),
            STAGE.fresh_database(),
            self.options,
            self.choose_policy(),
        )
        STAGE.app = load(STAGE.subject, deployment)
        for name in (
            "RP_UUID", "RP_NAME", "RP_UUID1", "RP_NAME1", "RP_UUID2", "RP_NAME2",
            "PROJECT_ID", "ADMIN_PROJECT_ID", "SERVICE_PROJECT_ID", "PROJECT_ID_ALT",
            "USER_ID", "USER_ID_ALT", "INSTANCE_UUID", "MIGRATION_UUID", "CONSUMER_UUID",
            "PARENT_PROVIDER_UUID", "ALT_PARENT_PROVIDER_UUID",
        ):  # fmt: skip
            publish(name, new_uuid())
        publish("CUSTOM_RES_CLASS", "CUSTOM_IRON_NFV")
        publish("CUSTOM_RES_CLASS1", "CUSTOM_IRON_NFV1")
        publish("CUSTOM_RES_CLASS2", "CUSTOM_IRON_NFV2")
        self.build(World(Client(over_wsgi(STAGE.app))))

    def stop_fixture(self) -> None:
        STAGE.app = None
        self._ending.close()

    def choose_policy(self) -> Mapping[str, str]:
        """Rules that the deployment's policy file overrides."""
        return {}

    def build(self, world: World) -> None:
        """Create what the files of this fixture expect to find."""


class AllocationFixture(APIFixture):
    """One provider with VCPU and DISK_GB, held by two consumers of one user and one of another."""

    def build(self, world: World) -> None:
        project, user = os.environ["PROJECT_ID"], os.environ["USER_ID"]
        user_alt = publish("ALT_USER_ID", new_uuid())
        provider = world.provider(os.environ["RP_NAME"], uuid=os.environ["RP_UUID"])
        world.inventory(provider, "DISK_GB", 2048, step_size=10, min_unit=10, max_unit=1000)
        world.inventory(provider, "VCPU", 10, max_unit=10)
        for name, holder, resources in (
            ("CONSUMER_0", user, {"DISK_GB": 1000}),
            ("CONSUMER_ID", user, {"VCPU": 6}),
            ("ALT_CONSUMER_ID", user_alt, {"DISK_GB": 20, "VCPU": 1}),
        ):
            publish(name, world.claim({provider: resources}, project=project, user=holder))
        publish("ALT_RP_UUID", new_uuid())
        publish("ALT_RP_NAME", new_uuid())


class SharedStorageFixture(APIFixture):
    """Two hosts, each with two NUMA nodes with a PF below, and two disk pools, in one aggregate."""

    def build(self, world: World) -> None:
        aggregate = publish("AGG_UUID", new_uuid())
        hosts = [
            publish(f"{name.upper()}_UUID", world.provider(name, aggregates=[aggregate]))
            for name in ("cn1", "cn2")
        ]
        pools = [
            publish(f"{name.upper()}_UUID", world.provider(name, aggregates=[aggregate]))
            for name in ("ss", "ss2")
        ]
        numa_nodes = {
            place: publish(
                f"NUMA{place}_UUID", world.provider(f"numa{place}", parent=hosts[int(place[0]) - 1])
            )
            for place in ("1_1", "1_2", "2_1", "2_2")
        }
        functions = [
            publish(f"PF{place}_UUID", world.provider(f"pf{place}", parent=numa_node))
            for place, numa_node in numa_nodes.items()
        ]
        for host in hosts:
            world.inventory(host, "VCPU", 24, allocation_ratio=16.0)
            world.inventory(host, "MEMORY_MB", 128 * 1024, allocation_ratio=1.5)
        world.traits(hosts[0], "HW_CPU_X86_SSE", "HW_CPU_X86_SSE2")
        world.inventory(hosts[1], "DISK_GB", 2000, reserved=100, allocation_ratio=1.0)
        for pool in pools:
            world.inventory(pool, "DISK_GB", 2000, reserved=100, allocation_ratio=1.0)
            world.traits(pool, SHARING)
        for function in functions:
            world.inventory(function, "SRIOV_NET_VF", 8, allocation_ratio=1.0)


class NUMAAggregateFixture(APIFixture):
    """Two hosts with CPUs in their NUMA nodes; one pool shared by hosts, one by a NUMA node."""

    def build(self, world: World) -> None:
        of_hosts, of_second, of_numa = (
            publish(name, new_uuid()) for name in ("AGGA_UUID", "AGGB_UUID", "AGGC_UUID")
        )
        host_1 = publish("CN1_UUID", world.provider("cn1", aggregates=[of_hosts]))
        host_2 = publish("CN2_UUID", world.provider("cn2", aggregates=[of_hosts, of_second]))
        pools = [
            publish("SS1_UUID", world.provider("ss1", aggregates=[of_hosts])),
            publish("SS2_UUID", world.provider("ss2", aggregates=[of_numa])),
        ]
        numa_nodes = [
            world.provider(name, parent=host, aggregates=aggregates)
            for name, host, aggregates in (
                ("numa1_1", host_1, [of_numa]),
                ("numa1_2", host_1, []),
                ("numa2_1", host_2, []),
                ("numa2_2", host_2, []),
            )
        ]
        for place, numa_node in zip(("1_1", "1_2", "2_1", "2_2"), numa_nodes, strict=True):
            publish(f"NUMA{place}_UUID", numa_node)
            world.inventory(numa_node, "VCPU", 24, allocation_ratio=16.0)
        for pool in pools:
            world.inventory(pool, "DISK_GB", 2000, reserved=100, allocation_ratio=1.0)
            world.traits(pool, SHARING)


class NUMANetworkFixture(APIFixture):
    """One host of NUMA nodes with devices and network agents, one plain host with NICs, one pool.

    The first host has no resources of its own: VCPU and memory are in its NUMA nodes, disk in the
    pool that both hosts share.
    """

    def build(self, world: World) -> None:
        aggregate = publish("AGGA_UUID", new_uuid())
        pool = publish("SS1_UUID", world.provider("ss1", aggregates=[aggregate]))
        world.traits(pool, SHARING)
        world.inventory(pool, "DISK_GB", 2000)
        parent_1, parent_2 = self.build_above(world)
        self._build_numa_host(world, aggregate, parent_1)
        self._build_nic_host(world, aggregate, parent_2)

    def build_above(self, world: World) -> tuple[str | None, str | None]:
        """Create what is above the hosts; return the parents of the two."""
        return None, None

    def _build_numa_host(self, world: World, aggregate: str, parent: str | None) -> None:
        host = world.provider("cn1", parent=parent, aggregates=[aggregate])
        publish("CN1_UUID", host)
        world.traits(host, "COMPUTE_VOLUME_MULTI_ATTACH")
        numa_nodes = [
            publish(f"NUMA{place}_UUID", world.provider(f"numa{place}", parent=host))
            for place in (0, 1)
        ]
        world.traits(numa_nodes[0], "HW_NUMA_ROOT")
        world.traits(numa_nodes[1], "HW_NUMA_ROOT", "CUSTOM_FOO")
        for numa_node in numa_nodes:
            world.inventory(numa_node, "VCPU", 4)
        world.inventory(numa_nodes[0], "MEMORY_MB", 2048, min_unit=512, step_size=256)
        world.inventory(numa_nodes[1], "MEMORY_MB", 2048, min_unit=256, max_unit=1024)
        world.claim({numa_nodes[0]: {"VCPU": 2}}, project="numafx-project", user="numafx-user")
        for name, numa_node, resource_class, total in (
            ("fpga0", numa_nodes[0], "FPGA", 1),
            ("pgpu0", numa_nodes[0], "VGPU", 8),
            ("fpga1_0", numa_nodes[1], "FPGA", 1),
            ("fpga1_1", numa_nodes[1], "FPGA", 1),
        ):
            device = publish(f"{name.upper()}_UUID", world.provider(name, parent=numa_node))
            world.inventory(device, resource_class, total)
        direct_agent = world.provider("sriov_agent", parent=host)
        publish("SRIOV_AGENT_UUID", direct_agent)
        world.traits(direct_agent, "CUSTOM_VNIC_TYPE_DIRECT")
        for number in (1, 2):
            card = world.provider(f"esn{number}", parent=direct_agent)
            publish(f"ESN{number}_UUID", card)
            world.traits(card, f"CUSTOM_PHYSNET{number}")
            world.inventory(card, "NET_BW_EGR_KILOBIT_PER_SEC", 10000 * number)
        switch_agent = publish("OVS_AGENT_UUID", world.provider("ovs_agent", parent=host))
        world.traits(switch_agent, "CUSTOM_VNIC_TYPE_NORMAL")
        bridge = publish("BR_INT_UUID", world.provider("br_int", parent=switch_agent))
        world.traits(bridge, "CUSTOM_PHYSNET0")
        world.inventory(bridge, "NET_BW_EGR_KILOBIT_PER_SEC", 1000)

    def _build_nic_host(self, world: World, aggregate: str, parent: str | None) -> None:
        host = world.provider("cn2", parent=parent, aggregates=[aggregate])
        publish("CN2_UUID", host)
        world.inventory(host, "VCPU", 8)
        world.claim({host: {"VCPU": 3}}, project="numafx-project", user="numafx-user")
        world.inventory(host, "MEMORY_MB", 2048, min_unit=1024, step_size=128)
        world.inventory(host, "DISK_GB", 1000)
        world.traits(host, "CUSTOM_FOO")
        nics = []
        for number in (1, 2, 3):
            nic = publish(f"NIC{number}_UUID", world.provider(f"nic{number}", parent=host))
            world.traits(nic, "CUSTOM_HW_NIC_ROOT")
            nics.append(nic)
        for place, nic, network, function_count in (
            ("1_1", nics[0], 1, 4),
            ("1_2", nics[0], 2, 4),
            ("2_1", nics[1], 1, 2),
            ("2_2", nics[1], 2, 2),
            ("2_3", nics[1], 1, 2),
            ("2_4", nics[1], 2, 2),
            ("3_1", nics[2], 1, 8),
        ):
            physical = publish(f"PF{place}_UUID", world.provider(f"pf{place}", parent=nic))
            world.traits(physical, f"CUSTOM_PHYSNET{network}")
            world.inventory(physical, "CUSTOM_VF", function_count)


class DeepNUMANetworkFixture(NUMANetworkFixture):
    """The same two hosts below parents and a common grandparent that have nothing."""

    def build_above(self, world: World) -> tuple[str | None, str | None]:
        grandparent = world.provider("gp1")
        return world.provider("p1", parent=grandparent), world.provider("p2", parent=grandparent)


class NonSharedStorageFixture(APIFixture):
    """Three hosts with disks of their own, and three aggregates that nobody is in yet."""

    def build(self, world: World) -> None:
        for name in ("AGGA_UUID", "AGGB_UUID", "AGGC_UUID"):
            publish(name, new_uuid())
        hosts = [
            publish(f"{name.upper()}_UUID", world.provider(name)) for name in ("cn1", "cn2", "cn3")
        ]
        for host in hosts:
            world.inventory(host, "VCPU", 24)
            world.inventory(host, "MEMORY_MB", 128 * 1024)
            world.inventory(host, "DISK_GB", 2000)


class CORSFixture(APIFixture):
    """A service that one foreign origin may use from a browser."""

    options: Mapping[str, Mapping[str, Option]] = {
        "cors": {
            "allowed_origin": "http://valid.example.com",
            "allow_headers": "openstack-api-version",
        }
    }


class GranularFixture(APIFixture):
    """Three hosts of different make, two disk pools and a network pool, in three aggregates."""

    def build(self, world: World) -> None:
        world.resource_class("CUSTOM_NET_MBPS")
        first, second, third = (publish(name, new_uuid()) for name in ("AGGA", "AGGB", "AGGC"))
        plain = {"VCPU": 8, "MEMORY_MB": 4096}
        network = {"SRIOV_NET_VF": 8, "CUSTOM_NET_MBPS": 4000}
        for name, aggregates, totals, traits in (
            (
                "cn_left", [first], plain | {"DISK_GB": 500, "VGPU": 8} | network,
                ["HW_CPU_X86_AVX", "HW_CPU_X86_AVX2", "HW_GPU_API_DXVA", "HW_NIC_DCB_PFC",
                 "CUSTOM_FOO"],
            ),
            (
                "cn_middle", [first, second], plain | network,
                ["HW_CPU_X86_AVX", "HW_CPU_X86_AVX2", "HW_CPU_X86_SSE", "HW_NIC_ACCEL_TLS"],
            ),
            (
                "cn_right", [second, third], plain | {"DISK_GB": 500, "VGPU": 8},
                ["HW_CPU_X86_MMX", "HW_GPU_API_DXVA", "CUSTOM_DISK_SSD"],
            ),
            ("shr_disk_1", [first], {"DISK_GB": 1000}, [SHARING, "CUSTOM_DISK_SSD"]),
            ("shr_disk_2", [first, second], {"DISK_GB": 1000}, [SHARING]),
            ("shr_net", [third], {"SRIOV_NET_VF": 16, "CUSTOM_NET_MBPS": 40000}, [SHARING]),
        ):  # fmt: skip
            provider = world.provider(name, aggregates=aggregates)
            publish(name.upper(), provider)
            for resource_class, total in totals.items():
                more = {"max_unit": 2} if (name, resource_class) == ("cn_right", "VGPU") else {}
                world.inventory(provider, resource_class, total, **more)
            world.traits(provider, *traits)


class OpenPolicyFixture(APIFixture):
    """A service whose policy lets everyone do everything."""

    def choose_policy(self) -> Mapping[str, str]:
        from placement import policies

        # "admin_api" is a base rule that the others were made from, not a thing to do.
        return {rule.name: "@" for rule in policies.list_rules() if rule.name != "admin_api"}


class SecureRBACPolicyFixture(APIFixture):
    """A service with the newer default policies: scopes, and roles by project."""

    options: Mapping[str, Mapping[str, Option]] = {"oslo_policy": {"enforce_new_defaults": True}}


class LegacyRBACPolicyFixture(APIFixture):
    """A service with the older default policies, said out loud."""

    options: Mapping[str, Mapping[str, Option]] = {"oslo_policy": {"enforce_new_defaults": False}}


class NeutronQoSMultiSegmentFixture(APIFixture):
    """Four hosts with bandwidth on physical networks, as Neutron's agents report it.

    A host has an Open vSwitch agent with bridges below and a NIC switch agent with PFs below.
    Host 0 reaches another network, 1 and 2 a segment each, and 3 both, with little bandwidth.
    """

    def build(self, world: World) -> None:
        for number, networks, bandwidth_bridge, bandwidth_function in (
            (0, ["OTHER"], 5000, 10000),
            (1, ["MSN_S1"], 5000, 10000),
            (2, ["MSN_S2"], 5000, 10000),
            (3, ["MSN_S1", "MSN_S2"], 1000, 1000),
        ):
            host = self._build_host(world, f"compute{number}")
            self._build_switch_agent(world, host, number, networks, bandwidth_bridge)
            self._build_direct_agent(world, host, number, networks, bandwidth_function)
        # Upstream's fixture publishes host 2's agent under host 3's name, and the files were
        # written against that.
        publish("compute3:sriov_agent", os.environ["compute2:sriov_agent"])  # noqa: SIM112

    def _build_host(self, world: World, name: str) -> str:
        host = publish(name, world.provider(name))
        for resource_class, total in (("VCPU", 8), ("MEMORY_MB", 4096), ("DISK_GB", 500)):
            world.inventory(host, resource_class, total)
        return host

    def _build_switch_agent(
        self, world: World, host: str, number: int, networks: list[str], bandwidth: int
    ) -> None:
        name = f"compute{number}:Open vSwitch agent"
        agent = publish(f"compute{number}:ovs_agent", world.provider(name, parent=host))
        world.inventory(agent, "NET_PACKET_RATE_KILOPACKET_PER_SEC", 1000)
        world.traits(agent, "CUSTOM_VNIC_TYPE_NORMAL")
        for place, network in enumerate(networks):
            suffix = str(place + 1) if place else ""
            bridge = world.provider(f"{name}:br-ex{suffix}", parent=agent)
            publish(f"compute{number}:br_ex{suffix}", bridge)
            _give_bandwidth(world, bridge, bandwidth)
            world.traits(bridge, "CUSTOM_VNIC_TYPE_NORMAL", f"CUSTOM_PHYSNET_{network}")

    def _build_direct_agent(
        self, world: World, host: str, number: int, networks: list[str], bandwidth: int
    ) -> None:
        name = f"compute{number}:NIC Switch agent"
        direct = [f"CUSTOM_VNIC_TYPE_{kind}" for kind in ("DIRECT", "DIRECT_PHYSICAL", "MACVTAP")]
        agent = publish(f"compute{number}:sriov_agent", world.provider(name, parent=host))
        world.traits(agent, *direct)
        for place, network in enumerate(networks):
            function = world.provider(f"{name}:enp129s0f{place}", parent=agent)
            publish(f"compute{number}:pf{place}", function)
            _give_bandwidth(world, function, bandwidth)
            world.traits(function, *direct, f"CUSTOM_PHYSNET_{network}")


def publish(name: str, text: str) -> str:
    """Put a name where the gabbi files look for it."""
    _before.setdefault(name, os.environ.get(name))
    os.environ[name] = text
    return text


def _withdraw_published() -> None:
    for name, text in _before.items():
        os.environ.pop(name, None)
        if text is not None:
            os.environ[name] = text
    _before.clear()


def _give_bandwidth(world: World, provider: str, total: int) -> None:
    world.inventory(provider, "NET_BW_EGR_KILOBIT_PER_SEC", total)
    world.inventory(provider, "NET_BW_IGR_KILOBIT_PER_SEC", total)
