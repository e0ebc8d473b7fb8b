"""``moorage audit --nova`` against a real Nova with two cells, of which one fails."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.cli.audit import FOUND
from moorage.domain.findings import Confidence, Doubt, Kind
from moorage.operations.show_provider import show_provider
from tests.audit.cloud import Cloud
from tests.audit.nova_api import Nova, NovaBooks
from tests.frame.test_command_line import ENVIRONMENT
from tests.support.books import new_uuid
from tests.support.keystone import Keystone
from tests.support.processes import COMMAND_S_MAX

pytestmark = pytest.mark.slow

# The cloud's first two hosts share a pool, and a cell; the third has both to itself.
NODES = {"node0": "cell1", "node1": "cell1", "node2": "cell2"}
IN_SECOND_CELL = "node2"

Findings = dict[str, tuple[str, str]]
"""Kind and confidence by subject."""


class Setting:
    """Moorage's books and Nova's, side by side, and what is to be found between them."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.nova = NovaBooks()
        # Nodes whose service was deleted are not shown, and leave their page short.
        for number in range(2):
            gone = new_uuid()
            self.nova.add_host(f"old{number}", "cell1", gone, gone, service_deleted=True)
        for host, (node, cell) in zip(cloud.hosts, NODES.items(), strict=True):
            name = show_provider(cloud.services, host).name
            assert name is not None
            self.nova.add_host(node, cell, host, name)
        self.nova.add_server(cloud.keeper, "node0")
        self.expected: Findings = {}
        self.strayed = ""

    def expect(self, subject: str, kind: Kind, confidence: Confidence) -> None:
        self.expected[subject] = (kind.value, confidence.value)

    def server(self, *holding: int, node: str | None, **more: Any) -> str:
        """A server of Nova's that holds its flavor on these hosts."""
        uuid = new_uuid()
        if holding:
            self.cloud.hold(uuid, *holding)
        self.nova.add_server(uuid, node, **more)
        return uuid

    def migration(self, server: str, status: str, *, source: str, kind: str, **more: Any) -> str:
        uuid = new_uuid()
        self.nova.add_migration(
            uuid, server, status, source=source, destination="node1", kind=kind, **more
        )
        return uuid


def what_is_right(setting: Setting) -> None:
    """Servers of every kind that hold what they should."""
    cloud = setting.cloud
    for number, node in enumerate(NODES):
        setting.server(number, node=node)
    # On a volume, and with more than a root disk.
    volume, large = new_uuid(), new_uuid()
    cloud.hold(volume, 0, on_pool={})
    setting.nova.add_server(volume, "node0", image="")
    cloud.hold(large, 0, on_pool={"DISK_GB": 27})
    setting.nova.add_server(large, "node0", flavor={"ephemeral_gb": 5, "swap": 1_500})
    # By its flavor's own words.
    worded = new_uuid()
    cloud.hold(worded, 1, amounts={"VCPU": 1, "MEMORY_MB": 512})
    setting.nova.add_server(worded, "node1", flavor={"extra_specs": {"resources:VCPU": "1"}})
    # On its way: it holds the destination, and its migration the source.
    resized = setting.server(1, node="node1", vm_state="resized")
    hold = setting.migration(resized, "finished", source="node0", kind="resize")
    cloud.hold(hold, 0)
    setting.expect(hold, Kind.POOL_DUPLICATE, Confidence.UNKNOWN)
    # Evacuated, and the old host has been back since.
    evacuated = setting.server(1, node="node1")
    setting.migration(evacuated, "completed", source="node0", kind="evacuation")
    # Without a host: one holds already, the other no longer.
    setting.server(0, node=None, vm_state="building", task_state="scheduling")
    setting.server(node=None, vm_state="shelved_offloaded")


def what_is_wrong(setting: Setting) -> None:
    """One of each that only Nova can tell, on hosts of the first cell."""
    cloud, expect = setting.cloud, setting.expect
    certain, likely = Confidence.CERTAIN, Confidence.LIKELY
    never = new_uuid()
    cloud.hold(never, 0)
    expect(never, Kind.ORPHAN, certain)
    expect(setting.server(0, node="node0", deleted=True), Kind.ORPHAN, certain)
    expect(setting.server(node="node1"), Kind.MISSING, likely)
    larger = setting.server(1, node="node1", flavor={"vcpus": 4, "root_gb": 10})
    expect(larger, Kind.AMOUNTS_DIFFER, likely)
    expect(setting.server(1, node="node0"), Kind.HELD_ELSEWHERE, certain)
    # What it holds is on a host of the first cell, itself it is in the second.
    setting.strayed = setting.server(0, node=IN_SECOND_CELL)
    expect(setting.strayed, Kind.HELD_ELSEWHERE, certain)
    shelved = setting.server(1, node=None, vm_state="shelved_offloaded")
    expect(shelved, Kind.HOLDS_UNPLACED, likely)
    evacuated = setting.server(0, 1, node="node1")
    setting.migration(evacuated, "done", source="node0", kind="evacuation")
    expect(evacuated, Kind.TWO_TREES, certain)
    confirmed = setting.server(1, node="node1")
    left = setting.migration(confirmed, "confirmed", source="node0", kind="migration")
    cloud.hold(left, 0)
    # Lists begin with the newest. What they do not show must not keep them from the others.
    setting.migration(confirmed, "done", source="node0", kind="migration", hidden=True)
    expect(left, Kind.POOL_DUPLICATE, certain)
    # It can still be restored, and no list shows it.
    deleted = setting.server(0, node="node0", vm_state="soft-delete")
    expect(deleted, Kind.UNSEEN, Confidence.UNKNOWN)


@pytest.fixture
def keystone(tmp_path: Path) -> Iterator[Keystone]:
    directory = tmp_path / "keystone"
    directory.mkdir()
    keystone = Keystone(directory)
    yield keystone
    keystone.end()


@pytest.fixture
def setting(sqlite_cloud: Cloud) -> Setting:
    setting = Setting(sqlite_cloud)
    what_is_right(setting)
    what_is_wrong(setting)
    return setting


@pytest.fixture
def nova(setting: Setting, keystone: Keystone, tmp_path: Path) -> Nova:
    directory = tmp_path / "nova"
    directory.mkdir()
    return Nova(directory, keystone, setting.nova)


@pytest.fixture
def audit(nova: Nova, sqlite_url: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the command as an operator does, with a cloud of clouds.yaml."""
    (tmp_path / "placement.conf").write_text("")
    environment = ENVIRONMENT | {
        "OS_PLACEMENT_DATABASE__CONNECTION": sqlite_url,
        "OS_PLACEMENT_CONFIG_DIR": str(tmp_path),
        "OS_CLIENT_CONFIG_FILE": str(nova.write_clouds_yaml()),
        "OS_CLOUD": "here",
        "PYTHONWARNINGS": "ignore",
    }

    def run() -> dict[str, Any]:
        finished = subprocess.run(
            [sys.executable, "-m", "moorage", "audit", "--nova", "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        assert finished.returncode == FOUND, finished.stderr
        answer: dict[str, Any] = json.loads(finished.stdout)
        return answer

    return run


def told(answer: dict[str, Any]) -> Findings:
    found = {one["subject"]: (one["kind"], one["confidence"]) for one in answer["findings"]}
    assert len(found) == len(answer["findings"])
    return found


def test_every_fault_is_found_and_a_cell_that_is_away_is_unknown(
    setting: Setting, nova: Nova, audit: Callable[..., dict[str, Any]]
) -> None:
    with nova.served():
        assert told(audit()) == setting.expected
    nova.take_away(NODES[IN_SECOND_CELL])
    # One more that nobody knows, where nobody can be asked.
    lost = new_uuid()
    setting.cloud.hold(lost, 2)
    with nova.served():
        answer = audit()
    there = [one["uuid"] for one in setting.nova.servers if one["host"] == IN_SECOND_CELL]
    doubts = dict.fromkeys([*there, lost], Doubt.HOST_UNSEEN.value)
    # All hosts that it holds on are seen, and Nova, asked for it, does not say that it is gone.
    doubts[setting.strayed] = Doubt.NOT_ASKED.value
    assert len(doubts) == 3
    unknown = dict.fromkeys(doubts, (Kind.UNSEEN.value, Confidence.UNKNOWN.value))
    assert told(answer) == setting.expected | unknown
    evidence = {one["subject"]: one["evidence"] for one in answer["findings"]}
    assert {uuid: evidence[uuid]["unknown_because"] for uuid in doubts} == doubts
