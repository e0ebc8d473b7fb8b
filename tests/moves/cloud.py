"""Two hosts and a pool that they share, and the requests that make up a migration."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text

from moorage.domain.claim import ConsumerClaim
from moorage.domain.ids import ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.origin import Origin
from moorage.operations.claim import claim
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_usages import show_usages
from tests.support.books import add_host, claim_for, origin, share

Resources = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Cloud:
    """``host_1`` and ``host_2`` have CPUs, ``pool`` and ``pool_2`` the disks."""

    services: Services
    host_1: ProviderUuid
    host_2: ProviderUuid
    pool: ProviderUuid
    pool_2: ProviderUuid

    @classmethod
    def build(cls, services: Services, *, disk: int = 100, cpus: int = 64) -> "Cloud":
        hosts = [add_host(services, {"VCPU": Inventory(cpus)}) for _ in range(2)]
        pools = [add_host(services, {"DISK_GB": Inventory(disk)}) for _ in range(2)]
        for pool in pools:
            share(services, pool)
        return cls(services, *hosts, *pools)

    def on(self, host: ProviderUuid, *, disk: int, cpus: int = 1) -> Resources:
        return {host: {"VCPU": cpus}, self.pool: {"DISK_GB": disk}}

    def pool_use(self) -> int:
        return show_usages(self.services, self.pool)[1]["DISK_GB"]

    def held_by(self, consumer: str) -> Resources:
        found = show_allocations(self.services, consumer)
        if found is None:
            return {}
        return {uuid: dict(amounts) for uuid, (_, amounts) in found.resources.items()}

    def wish(self, consumer: str, resources: Resources) -> ConsumerClaim:
        """A claim of whoever has just read the consumer."""
        found = show_allocations(self.services, consumer)
        generation = None if found is None else found.generation
        return claim_for(consumer, resources, generation=generation)

    def send(self, *claims: ConsumerClaim, request_id: str | None = "req-1") -> None:
        claim(self.services, claims, asked_with(request_id))

    def put(self, consumer: str, resources: Resources, *, request_id: str | None = "req-1") -> None:
        self.send(self.wish(consumer, resources), request_id=request_id)

    def give(self, giver: str, taker: str, *, request_id: str | None = "req-1") -> None:
        """One request that gives all that one consumer holds to another."""
        held = self.held_by(giver)
        self.send(self.wish(giver, {}), self.wish(taker, held), request_id=request_id)

    def moves(self) -> list[Any]:
        return self.services.store.read(text("SELECT * FROM moorage_moves ORDER BY id"))


def asked_with(request_id: str | None) -> Origin:
    return replace(origin(), global_request_id=request_id)
