"""What an unmodified Nova sends to Placement while it moves instances.

Source: the requests of Nova 34.0.0, logged while it did these things: their microversions, which
of them share a global request id, and what they hold; the reads that change nothing are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.client import Answer, Client
from tests.support.world import World, expect, new_uuid

CLAIM = "1.36"
GIVE = "1.28"
PROJECT = "9520f97991e5442a9b55e0f6b2a0a3a9"
USER = "2d3e4f5061724354bbd6c5e4f3a2b1c0"

Resources = dict[str, dict[str, int]]
Flavor = Mapping[str, int]


class NoValidHost(Exception):
    """Nothing was found, or what was found could not be claimed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(repr(answer))
        self.answer = answer


@dataclass
class Action:
    """One user action: an API request to Nova, whose id all that follows carries."""

    client: Client
    request_id: str | None = field(default_factory=lambda: f"req-{new_uuid()}")

    def send(self, method: str, target: str, version: str, body: object = None) -> Answer:
        headers = {"X-Openstack-Request-Id": self.request_id} if self.request_id else {}
        return self.client.at(version).send(method, target, body=body, headers=headers)

    def held_by(self, consumer: str) -> tuple[Resources, int | None]:
        """What a consumer holds, and its generation."""
        shown = self.send("GET", f"/allocations/{consumer}", GIVE).json
        held = {uuid: one["resources"] for uuid, one in shown["allocations"].items()}
        return held, shown.get("consumer_generation")

    def search(self, flavor: Flavor) -> Answer:
        """The scheduler asks where there is room."""
        asked = ",".join(f"{name}:{amount}" for name, amount in sorted(flavor.items()))
        return self.send("GET", f"/allocation_candidates?limit=1000&resources={asked}", CLAIM)

    def claim(self, consumer: str, allocations: Resources) -> Answer:
        """The scheduler claims a candidate."""
        _, generation = self.held_by(consumer)
        body = self._claim(allocations, generation)
        if allocations:
            body["mappings"] = {"": list(allocations)}
        return self.send("PUT", f"/allocations/{consumer}", CLAIM, body)

    def give(self, giver: str, taker: str) -> Answer:
        """The conductor moves what one consumer holds to another."""
        held, giving = self.held_by(giver)
        _, taking = self.held_by(taker)
        body = {giver: self._claim({}, giving), taker: self._claim(held, taking)}
        return self.send("POST", "/allocations", GIVE, body)

    def drop(self, consumer: str) -> Answer:
        """A compute service or the conductor drops a hold."""
        _, generation = self.held_by(consumer)
        body = self._claim({}, generation)
        return self.send("PUT", f"/allocations/{consumer}", GIVE, body)

    def schedule(self, instance: str, flavor: Flavor, host: str) -> None:
        """Search, and claim what the candidates have on this host.

        Raises:
            NoValidHost: as Nova's scheduler does.
        """
        found = self.search(flavor)
        expect(found)
        wanted = [
            {uuid: dict(one["resources"]) for uuid, one in candidate["allocations"].items()}
            for candidate in found.json["allocation_requests"]
            if host in candidate["allocations"]
        ]
        if not wanted:
            raise NoValidHost(found)
        answer = self.claim(instance, wanted[0])
        if answer.status != 204:
            raise NoValidHost(answer)

    def _claim(self, allocations: Resources, generation: int | None) -> dict[str, object]:
        return {
            "allocations": {uuid: {"resources": held} for uuid, held in allocations.items()},
            "project_id": PROJECT,
            "user_id": USER,
            "consumer_generation": generation,
        }


@dataclass
class Site:
    """Hosts that share a pool of disks, behind a Placement API."""

    client: Client
    hosts: list[str]
    pool: str

    @classmethod
    def build(cls, client: Client, *, disk: int, hosts: int = 2, cpus: int = 64) -> "Site":
        world = World(client)
        aggregate = new_uuid()
        made = []
        for number in range(hosts):
            host = world.provider(f"host-{number}", aggregates=[aggregate])
            world.inventory(host, "VCPU", cpus)
            world.inventory(host, "MEMORY_MB", 65536)
            made.append(host)
        pool = world.provider("pool", aggregates=[aggregate])
        world.inventory(pool, "DISK_GB", disk)
        world.traits(pool, "MISC_SHARES_VIA_AGGREGATE")
        return cls(client, made, pool)

    def action(self) -> Action:
        return Action(self.client)

    def boot(self, flavor: Flavor, host: str) -> str:
        instance = new_uuid()
        self.action().schedule(instance, flavor, host)
        return instance

    def used(self, provider: str) -> dict[str, int]:
        shown = self.client.get(f"/resource_providers/{provider}/usages").json
        return dict(shown["usages"])

    def pool_used(self) -> int:
        return self.used(self.pool)["DISK_GB"]

    def project_used(self) -> int:
        shown = self.client.at("1.36").get(f"/usages?project_id={PROJECT}").json
        return int(shown["usages"].get("DISK_GB", 0))

    def summarized(self) -> int:
        """What a provider summary says of the pool, to somebody who moves nothing."""
        found = self.action().search({"VCPU": 1, "MEMORY_MB": 1, "DISK_GB": 1}).json
        return int(found["provider_summaries"][self.pool]["resources"]["DISK_GB"]["used"])
