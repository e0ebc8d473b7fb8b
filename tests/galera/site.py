"""A service on each node of a cluster, and what their clients were told."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.concurrency.crowd import Member, Owner, read_held, read_used, sum_held
from tests.support.books import find_faults, open_services
from tests.support.client import Answer, Client
from tests.support.deployments import Deployment, Subject
from tests.support.galera import GaleraCluster
from tests.support.ids import new_uuid
from tests.support.servers import REPOSITORY, Server, serve
from tests.support.world import World

NEWEST = "1.39"
UPGRADE_S_MAX = 60


@dataclass(frozen=True)
class Site:
    """One database, two nodes that hold it, and Moorage on each."""

    cluster: GaleraCluster
    database: str
    first: Server
    second: Server
    _turns: "itertools.count[int]" = field(default_factory=itertools.count)

    def client(self, microversion: str | None = None) -> Client:
        """A client of one side, the next time of the other."""
        return (self.first, self.second)[next(self._turns) % 2].client(microversion)

    def both(self) -> tuple[Client, Client]:
        """A client of each side."""
        return self.first.client(NEWEST), self.second.client(NEWEST)

    def make_hosts(self, count: int, total: int) -> list[str]:
        world = World(self.first.client())
        hosts = [world.provider(f"host-{new_uuid()}") for _ in range(count)]
        for host in hosts:
            world.inventory(host, "VCPU", total)
        return hosts

    def find_faults(self) -> list[str]:
        """What is wrong with the books, as either node has them."""
        faults = []
        for node in (self.cluster.first, self.cluster.second):
            services = open_services(node.url(self.database), upgrade=False)
            faults += find_faults(services)
            services.store.close()
        return faults


@contextmanager
def serve_on_both(cluster: GaleraCluster, database: str, directory: Path) -> Iterator[Site]:
    """Moorage on each node, for as long as the block runs."""
    first = Deployment(directory / "first", cluster.first.url(database))
    second = Deployment(directory / "second", cluster.second.url(database))
    with serve(Subject.MOORAGE, first) as at_first, serve(Subject.MOORAGE, second) as at_second:
        yield Site(cluster, database, at_first, at_second)


def start_upgrade(url: str, directory: Path, *options: str) -> "subprocess.Popen[str]":
    """Start `moorage db upgrade` on a database."""
    conf_path = Deployment(directory, url).write(Subject.MOORAGE)
    return subprocess.Popen(
        [sys.executable, "-m", "moorage", "db", "upgrade", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        env={
            **{name: text for name, text in os.environ.items() if not name.startswith("OS_")},
            "OS_PLACEMENT_CONFIG_DIR": str(conf_path.parent),
            "PYTHONPATH": str(REPOSITORY / "src"),
        },
    )


def finish_upgrade(upgrade: "subprocess.Popen[str]") -> None:
    """Wait for it; fail with what it said where it failed."""
    said, _ = upgrade.communicate(timeout=UPGRADE_S_MAX)
    assert upgrade.returncode == 0, said


def run_beside(aside: Callable[[], object], work: Callable[[], object]) -> None:
    """Run both at the same time; what goes wrong with either comes out here."""
    troubles: list[BaseException] = []

    def live() -> None:
        try:
            aside()
        except BaseException as trouble:
            troubles.append(trouble)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        work()
    finally:
        thread.join()
    if troubles:
        raise troubles[0]


class Ledger:
    """What the only writer of each consumer was told, to be compared with the books."""

    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts
        self._owner = Owner()
        # consumer -> what it holds by host; nothing where it was refused or released
        self.known: dict[str, dict[str, dict[str, int]]] = {}
        # consumer -> both that it may hold, since a 503 leaves open whether the write took
        self.doubtful: dict[str, tuple[dict[str, dict[str, int]], ...]] = {}
        self.pause_s_max = 0.0
        self.acknowledged_at: list[float] = []

    def claim_or_release(self, member: Member) -> str:
        """Claim for a new consumer, or release one that this member made; return which."""
        mine = [
            consumer
            for consumer, held in list(self.known.items())
            if held and consumer.endswith(f"{member.number:04d}")
        ]
        started_at = time.monotonic()
        if mine and member.dice.random() < 0.4:
            consumer = member.dice.choice(mine)
            asked = {}
            answer = member.client.delete(f"/allocations/{consumer}")
        else:
            consumer = f"{new_uuid()[:-4]}{member.number:04d}"
            asked = {member.dice.choice(self._hosts): {"VCPU": member.dice.randint(1, 3)}}
            answer = member.client.put(f"/allocations/{consumer}", self._owner.claim(asked, None))
        ended_at = time.monotonic()
        self.pause_s_max = max(self.pause_s_max, ended_at - started_at)
        self._note(consumer, asked, answer, ended_at)
        return consumer

    def _note(
        self, consumer: str, asked: dict[str, dict[str, int]], answer: Answer, at: float
    ) -> None:
        if answer.status == 204:
            self.known[consumer] = asked
            self.acknowledged_at.append(at)
        elif answer.status == 503:
            assert int(answer.headers["retry-after"]) > 0
            self.doubtful[consumer] = (self.known.pop(consumer, {}), asked)
        else:
            # Nobody else writes these consumers, so only a full host may refuse.
            assert answer.status == 409, repr(answer)
            assert "exceed the capacity" in answer.text, repr(answer)
            self.known[consumer] = {}

    def check(self, client: Client, capacity: int) -> None:
        """Fail where the books, as this client sees them, are not what the writers were told."""
        for consumer, held in self.known.items():
            assert read_held(client, consumer) == held
        certain = [held for held in self.known.values() if held]
        for consumer, possible in self.doubtful.items():
            held = read_held(client, consumer)
            assert held in possible
            certain.append(held)
        for host in self._hosts:
            expected = sum(held.get(host, {}).get("VCPU", 0) for held in certain)
            assert read_used(client, host) == sum_held(client, host) == expected
            assert expected <= capacity
