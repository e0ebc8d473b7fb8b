"""A cloud through the API: hosts, a pool, and who claims what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.app import NEWEST, load_moorage
from tests.support.client import Answer, Client, over_wsgi
from tests.support.deployments import Deployment, Subject
from tests.support.world import World, new_uuid

CLAIMS = "/moorage/v1/claims"
PROJECT, USER = "project", "user"
AGGREGATE = "a0000000-0000-4000-8000-000000000000"


@dataclass
class Cloud:
    """Placement's API and our own, of one service."""

    client: Client
    own: Client
    deployment: Deployment

    @classmethod
    def on(cls, url: str, directory: Path) -> "Cloud":
        deployment = Deployment(directory / "conf", url)
        return cls.of(deployment)

    @classmethod
    def of(cls, deployment: Deployment) -> "Cloud":
        app = load_moorage(deployment.write(Subject.MOORAGE))
        client = Client(over_wsgi(app), microversion=NEWEST)
        return cls(client, client.at(None), deployment)

    def again(self) -> "Cloud":
        """Another service on the same database."""
        return Cloud.of(self.deployment)

    def host(
        self, *, vcpu: int = 8, disk: int = 0, pooled: bool = False, name: str | None = None
    ) -> str:
        world = World(self.client)
        aggregates = [AGGREGATE] if pooled else []
        host = world.provider(name or f"host-{new_uuid()}", aggregates=aggregates)
        if vcpu:
            world.inventory(host, "VCPU", vcpu)
        if disk:
            world.inventory(host, "DISK_GB", disk)
        return host

    def pool(self, *, disk: int) -> str:
        world = World(self.client)
        pool = world.provider(f"pool-{new_uuid()}", aggregates=[AGGREGATE])
        world.inventory(pool, "DISK_GB", disk)
        world.traits(pool, "MISC_SHARES_VIA_AGGREGATE")
        return pool

    def claim(self, request: Any, *consumers: str, **more: Any) -> Answer:
        """Claim for these consumers, or for a new one."""
        return self.own.post(CLAIMS, claim_body(request, consumers or (new_uuid(),), **more))

    def used(self, provider: str, resource_class: str = "VCPU") -> int:
        usages = self.client.get(f"/resource_providers/{provider}/usages").json["usages"]
        used: int = usages[resource_class]
        return used

    def held(self, consumer: str) -> dict[str, dict[str, int]]:
        shown = self.client.get(f"/allocations/{consumer}").json["allocations"]
        return {provider: part["resources"] for provider, part in shown.items()}


def claim_body(request: Any, consumers: Sequence[str], **more: Any) -> dict[str, Any]:
    asking = [
        {"uuid": uuid, "project_id": PROJECT, "user_id": USER, "consumer_type": "INSTANCE"}
        for uuid in consumers
    ]
    return {"consumers": asking, "request": request, **more}


def hosts_of(answer: Answer) -> list[set[str]]:
    """The providers that each claim of an answer is on."""
    assert answer.status == 200, answer
    return [set(claim["allocations"]) for claim in answer.json["claims"]]
