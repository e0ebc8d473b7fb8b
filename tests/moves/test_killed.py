"""Serving processes that are killed in the middle of moves and claims, and what is left then."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.claims.cloud import AGGREGATE, CLAIMS, claim_body
from tests.frame.test_command_line import COMMAND, ENVIRONMENT, answers, children
from tests.support.client import Answer, Client, over_http
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject
from tests.support.processes import (
    COMMAND_S_MAX,
    START_S_MAX,
    Running,
    find_free_port,
    start,
    wait_until,
)
from tests.support.world import World

SEED = 2_026
ROUNDS = 3
CUSTOMERS = 4
LOAD_S = (0.8, 2.0)
"""How long there is work before all processes are killed; a worker dies at some time in it."""

ASKED = "resources=VCPU:1,DISK_GB:10"
RESIZED = "resources=VCPU:2,DISK_GB:15"
MOVES = "/moorage/v1/moves"
SENT_AGAIN = (OSError, HTTPException)
"""What a client sees of a process that dies."""

Held = dict[str, dict[str, int]]


@dataclass
class Service:
    """``moorage serve`` on one database, which may be killed and started again."""

    deployment: Deployment
    port: int = 0
    running: Running | None = None

    @property
    def environment(self) -> dict[str, str]:
        return ENVIRONMENT | {"OS_PLACEMENT_CONFIG_DIR": str(self.deployment.directory)}

    def start(self) -> None:
        self.port = find_free_port()
        self.running = start(
            [*COMMAND, "serve", "--port", str(self.port), "--workers", "2"],
            log_path=self.deployment.directory / "serve.log",
            cwd=self.deployment.directory,
            env=self.environment,
        )
        wait_until(lambda: answers(self.client()), self.running, "moorage serve")

    def client(self, microversion: str | None = "1.39") -> Client:
        """A client with a connection of its own."""
        return Client(over_http("127.0.0.1", self.port), microversion=microversion)

    def workers(self) -> list[int]:
        """The processes that serve; they have names of their own where setproctitle is there."""
        assert self.running is not None
        return [
            child
            for child in children(self.running.process.pid)
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def kill_worker(self, dice: random.Random) -> None:
        os.kill(dice.choice(self.workers()), signal.SIGKILL)

    def kill(self) -> None:
        """Kill all its processes, the one that would replace the others first."""
        assert self.running is not None
        # It must not start another one meanwhile.
        self.running.process.send_signal(signal.SIGSTOP)
        family = children(self.running.process.pid)
        self.running.process.kill()
        for child in family:
            os.kill(child, signal.SIGKILL)
        self.running.process.wait()

    def audit(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "audit", "--age-guard", "0", "--fail-on", "unknown", "--details"],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
            env=self.environment,
        )


@pytest.fixture
def service(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> Iterator[Service]:
    deployment = Deployment(tmp_path / "conf", fresh_database(database_kind))
    deployment.write(Subject.MOORAGE)
    found = Service(deployment)
    found.start()
    yield found
    assert found.running is not None
    found.running.end()


@dataclass
class Request:
    """One request, and what its answer tells the customer; it may have to be sent again."""

    method: str
    path: str
    body: Any
    hear: Callable[[Answer], None]
    sendings: int = 0


@dataclass
class Customer:
    """One client that claims for an instance, moves it about and gives it up, again and again.

    ``held``: what it was told that its instance has; ``move``: the last move that it was told of.
    """

    service: Service
    dice: random.Random
    instance: str = ""
    held: Held = field(default_factory=dict)
    move: dict[str, Any] | None = None
    sent: Request | None = None
    acknowledged: Counter[str] = field(default_factory=Counter)

    def live(self, ended: threading.Event) -> None:
        """Act until the service is killed."""
        client = self.service.client(None)
        while not ended.is_set():
            self.sent = self.sent or self.choose()
            try:
                self.send(client)
            except SENT_AGAIN:
                client = self.service.client(None)
                time.sleep(0.02)

    def send(self, client: Client) -> None:
        """Send the request that is to be answered, perhaps once more, and hear the answer."""
        request = self.sent
        assert request is not None
        request.sendings += 1
        answer = client.send(request.method, request.path, body=request.body)
        if answer.status == 503:
            return
        request.hear(answer)
        self.sent = None

    def choose(self) -> Request:
        if not self.instance:
            return self._claim()
        if self.move is None or self.move["state"] not in ("claimed", "started"):
            return self.dice.choice((self._order, self._order, self._order, self._give_up))()
        steps = ["revert", "reschedule"]
        steps += ["confirm"] * 3 if self.move["state"] == "started" else ["start"] * 4
        return self._step(self.dice.choice(steps))

    def _claim(self) -> Request:
        instance = self.name()
        body = claim_body(ASKED, [instance], strategy="random")

        def hear(answer: Answer) -> None:
            assert answer.status == 200, answer
            self.instance, self.move = instance, None
            self.held = held_in(answer.json["claims"][0]["allocations"])
            self.acknowledged["claim"] += 1

        return Request("POST", CLAIMS, body, hear)

    def _order(self) -> Request:
        kind = self.dice.choice(("migrate", "live-migrate", "evacuate", "resize"))
        body = {"consumer": self.instance, "kind": kind, "alternates": 1, "strategy": "random"}
        if kind == "resize":
            body["request"] = self.dice.choice((ASKED, RESIZED))
        return Request("PUT", f"{MOVES}/{self.name()}", body, self._hear_move)

    def _step(self, name: str) -> Request:
        assert self.move is not None
        body = {"generation": self.move["generation"]}
        return Request("POST", f"{MOVES}/{self.move['uuid']}/{name}", body, self._hear_move)

    def _hear_move(self, answer: Answer) -> None:
        assert answer.status == 200, answer
        self.move = answer.json["move"]
        self.held, _ = told_by(self.move)
        self.acknowledged[self.move["state"]] += 1

    def _give_up(self) -> Request:
        request = Request("DELETE", f"/allocations/{self.instance}", None, lambda _: None)

        def hear(answer: Answer) -> None:
            # The second time there may be nothing left to delete.
            assert answer.status == 204 or (answer.status == 404 and request.sendings > 1), answer
            self.instance, self.held, self.move = "", {}, None
            self.acknowledged["delete"] += 1

        request.hear = hear
        return request

    def name(self) -> str:
        return new_uuid_of(self.dice)

    def check(self, cloud: "Site") -> None:
        """See that what was acknowledged is there, and no more than that."""
        if self.instance:
            assert cloud.held(self.instance) == self.held
        if self.move is not None:
            assert cloud.move(self.move["uuid"]) == self.move
            assert cloud.held(self.move["hold"]) == told_by(self.move)[1]


def new_uuid_of(dice: random.Random) -> str:
    number = f"{dice.getrandbits(128):032x}"
    return f"{number[:8]}-{number[8:12]}-4{number[13:16]}-8{number[17:20]}-{number[20:]}"


def held_in(allocations: dict[str, Any]) -> Held:
    return {provider: part["resources"] for provider, part in allocations.items()}


def told_by(move: dict[str, Any]) -> tuple[Held, Held]:
    """What a move says that its consumer and its hold have."""
    source = held_in(move["source"])
    if move["state"] in ("reverted", "failed"):
        return source, {}
    there = held_in(move["destination"]["allocations"])
    return there, source if move["state"] in ("claimed", "started") else {}


@dataclass
class Site:
    """What the hosts and the pool of a service show to somebody who looks."""

    service: Service
    hosts: list[str]
    pool: str

    @classmethod
    def build(cls, service: Service) -> "Site":
        world = World(service.client())
        pool = world.provider("pool", aggregates=[AGGREGATE])
        world.inventory(pool, "DISK_GB", 200)
        world.traits(pool, "MISC_SHARES_VIA_AGGREGATE")
        hosts = []
        for number in range(4):
            hosts.append(world.provider(f"host-{number}", aggregates=[AGGREGATE]))
            world.inventory(hosts[-1], "VCPU", 16)
        return cls(service, hosts, pool)

    def held(self, consumer: str) -> Held:
        shown = self.service.client().get(f"/allocations/{consumer}")
        assert shown.status == 200, shown
        return held_in(shown.json["allocations"])

    def move(self, uuid: str) -> dict[str, Any]:
        shown = self.service.client(None).get(f"{MOVES}/{uuid}")
        assert shown.status == 200, shown
        found: dict[str, Any] = shown.json["move"]
        return found

    def used(self) -> Counter[str]:
        client = self.service.client()
        used = Counter[str]()
        for provider in (*self.hosts, self.pool):
            shown = client.get(f"/resource_providers/{provider}/usages").json["usages"]
            used[provider] = sum(shown.values())
        return +used


def footprint(customers: list[Customer]) -> Counter[str]:
    """What is in use if there is nothing but what the customers know of; what they share, once."""
    used = Counter[str]()
    for one in customers:
        kept = {} if one.move is None else told_by(one.move)[1]
        for provider in {*one.held, *kept}:
            mine, theirs = one.held.get(provider, {}), kept.get(provider, {})
            used[provider] += max(mine.get("DISK_GB", 0), theirs.get("DISK_GB", 0))
            used[provider] += mine.get("VCPU", 0) + theirs.get("VCPU", 0)
    return +used


class Due:
    """What the runner has to do once the service is there again."""

    def __init__(self, service: Service, site: Site, dice: random.Random) -> None:
        self.site = site
        own = service.client(None)
        self.leased, self.overdue, self.deleted, move, left = (new_uuid_of(dice) for _ in range(5))
        self.move, self.left = move, left
        self.source: Held = {}
        asked = claim_body(ASKED, [self.leased], expires_in_s=1)
        expect(own.post(CLAIMS, asked))
        for consumer, uuid in ((self.overdue, move), (self.deleted, left)):
            made = expect(own.post(CLAIMS, claim_body(ASKED, [consumer])))
            if consumer == self.overdue:
                self.source = held_in(made.json["claims"][0]["allocations"])
            order = {"consumer": consumer, "kind": "migrate", "deadline_s": 1}
            expect(own.put(f"{MOVES}/{uuid}", order))
        expect(own.delete(f"/allocations/{self.deleted}"))
        self.prepared_at_s = time.monotonic()

    def is_done(self) -> bool:
        site = self.site
        return (
            not site.held(self.leased)
            and not site.held(self.left)
            and site.move(self.move)["state"] == "reverted"
            and site.move(self.left)["state"] in ("abandoned", "reverted")
        )

    def clear(self, service: Service) -> None:
        assert self.site.held(self.overdue) == self.source
        expect(service.client(None).delete(f"/allocations/{self.overdue}"))


def expect(answer: Answer) -> Answer:
    assert answer.status in (200, 204), answer
    return answer


@pytest.mark.slow
def test_what_a_killed_service_has_acknowledged_is_there_and_nothing_else(
    service: Service,
) -> None:
    dice = random.Random(SEED)
    site = Site.build(service)
    customers = [
        Customer(service, random.Random(SEED + number)) for number in range(1, 1 + CUSTOMERS)
    ]
    for _ in range(ROUNDS):
        due = Due(service, site, dice)
        kill_in_the_middle(service, customers, dice)
        # What was due when the service died, or became it while there was none.
        time.sleep(max(0.0, due.prepared_at_s + 1.1 - time.monotonic()))
        service.start()
        resumed_s = wait_for(due.is_done)
        sys.stdout.write(f"all that was due was done {resumed_s:.2f} s after the first answer\n")
        due.clear(service)
        for customer in customers:
            if customer.sent is None:
                customer.check(site)
        for customer in customers:
            answer_all(customer)
            customer.check(site)
        assert site.used() == footprint(customers)
        audited = service.audit()
        assert audited.returncode == 0, audited.stdout + audited.stderr
    told = sum((customer.acknowledged for customer in customers), Counter[str]())
    assert all(told[name] for name in ("claim", "claimed", "started", "confirmed", "reverted"))


def kill_in_the_middle(service: Service, customers: list[Customer], dice: random.Random) -> None:
    """Let the customers act; kill one worker, and after a while the whole service."""
    ended = threading.Event()
    troubles: list[BaseException] = []

    def live(customer: Customer) -> None:
        try:
            customer.live(ended)
        except BaseException as trouble:
            troubles.append(trouble)

    threads = [threading.Thread(target=live, args=(one,)) for one in customers]
    for thread in threads:
        thread.start()
    for kill in (lambda: service.kill_worker(dice), service.kill):
        time.sleep(dice.uniform(*LOAD_S))
        kill()
    ended.set()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]


def answer_all(customer: Customer) -> None:
    """Send again what the customer has no answer to."""
    client = customer.service.client(None)
    while customer.sent is not None:
        customer.send(client)


def wait_for(is_done: Callable[[], bool]) -> float:
    """How long it took, in seconds; it must happen sooner or later."""
    began = time.monotonic()
    while not is_done():
        assert time.monotonic() - began < START_S_MAX
        time.sleep(0.02)
    return time.monotonic() - began
