"""Hosts that share a pool, and moves that are ordered on them."""

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import text

from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.domain.ids import AggregateUuid, ConsumerUuid, Generation, MoveUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.move import MoveEvent, MoveKind
from moorage.domain.origin import Origin
from moorage.operations.advance_move import Stepping, advance_move, reschedule_move
from moorage.operations.make_claims import Claimant
from moorage.operations.move_places import PlaceSearch
from moorage.operations.open_move import MoveMade, MoveOrdering, open_move
from moorage.operations.services import Services
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_inventories import set_inventories
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_provider import show_provider
from moorage.operations.show_usages import show_usages
from tests.support.books import add_host, claim_for, hold, new_uuid, origin, share

Resources = dict[str, dict[str, int]]


@dataclass
class Fleet:
    """Hosts with CPUs, and a pool of disks that all of them share."""

    services: Services
    pool: ProviderUuid
    hosts: list[ProviderUuid] = field(default_factory=list)
    aggregate: AggregateUuid = field(default_factory=lambda: AggregateUuid(new_uuid()))

    @classmethod
    def build(
        cls, services: Services, *, hosts: int = 3, disk: int = 100, cpus: int = 8
    ) -> "Fleet":
        fleet = cls(services, add_host(services, {"DISK_GB": Inventory(disk)}))
        share(services, fleet.pool)
        fleet.join(fleet.pool)
        fleet.hosts = [fleet.add(cpus=cpus) for _ in range(hosts)]
        return fleet

    def add(self, *, cpus: int) -> ProviderUuid:
        host = add_host(self.services, {"VCPU": Inventory(cpus)})
        self.join(host)
        return host

    def join(self, provider: ProviderUuid) -> None:
        set_aggregates(
            self.services,
            provider=provider,
            aggregates=[self.aggregate],
            generation=show_provider(self.services, provider).generation,
            origin=origin(),
        )

    def stock(self, provider: ProviderUuid, name: str, inventory: Inventory) -> None:
        set_inventories(
            self.services,
            provider=provider,
            generation=show_provider(self.services, provider).generation,
            inventories={name: inventory},
            reserved_may_be_total=True,
            origin=origin(),
        )

    def boot(self, host: int = 0, *, cpus: int = 2, disk: int = 20) -> str:
        instance = new_uuid()
        hold(self.services, claim_for(instance, self.on(host, cpus=cpus, disk=disk)))
        return instance

    def on(self, host: int, *, cpus: int = 2, disk: int = 20) -> Resources:
        held: Resources = {self.hosts[host]: {"VCPU": cpus}}
        return held | ({self.pool: {"DISK_GB": disk}} if disk else {})

    def held_by(self, consumer: str) -> Resources:
        found = show_allocations(self.services, consumer)
        if found is None:
            return {}
        return {uuid: dict(amounts) for uuid, (_, amounts) in found.resources.items()}

    def used(self, provider: ProviderUuid) -> int:
        (amount,) = show_usages(self.services, provider)[1].values()
        return amount

    def moves(self) -> list[Any]:
        return self.services.store.read(text("SELECT * FROM moorage_moves ORDER BY id"))

    def journal(self, move: str) -> list[str]:
        told = text("SELECT kind FROM moorage_journal WHERE subject = :it ORDER BY id")
        return [row.kind for row in self.services.store.read(told, {"it": move})]

    # Moves

    def order(
        self,
        instance: str,
        *,
        uuid: str | None = None,
        kind: MoveKind = MoveKind.MIGRATE,
        alternates: int = 0,
        deadline_s: int | None = None,
        use: int | None = None,
        generation: int | None = None,
        **resources: int,
    ) -> MoveOrdering:
        """An order; without resources, for the same as there are."""
        groups = (RequestGroup("", tuple(sorted(resources.items()))),) if resources else ()
        used = None if use is None else frozenset({self.hosts[use]})
        search = PlaceSearch(CandidatesRequest(groups, trees_used=used), alternates=alternates)
        key = ConsumerUuid(instance)
        said = (instance, kind, alternates, deadline_s, use, generation, resources)
        owner = None if kind.has_source else Claimant(key, "project", "user", "INSTANCE")
        return MoveOrdering(
            uuid=MoveUuid(uuid or new_uuid()),
            kind=kind,
            consumer=key,
            consumer_generation=generation,
            owner=owner,
            search=search,
            same_resources=not resources,
            deadline_s=deadline_s,
            digest=sha256(repr(said).encode()).hexdigest(),
        )

    def open(self, ordering: MoveOrdering) -> MoveMade:
        return open_move(self.services, ordering, self.origin())

    def step(self, made: MoveMade, event: MoveEvent) -> MoveMade:
        """A step of whoever has seen the move as it was."""
        stepping = Stepping(made.move.uuid, event, made.move.generation)
        return advance_move(self.services, stepping, self.origin())

    def reschedule(self, made: MoveMade) -> MoveMade:
        return reschedule_move(
            self.services,
            uuid=made.move.uuid,
            generation=Generation(made.move.generation),
            origin=self.origin(),
        )

    def origin(self, *, after_s: int = 0) -> Origin:
        asked = origin()
        return Origin(
            asked.request_id,
            None,
            asked.project_id,
            asked.user_id,
            asked.at + timedelta(seconds=after_s),
        )


LINKED_TABLES = (
    "moorage_usages",
    "inventories",
    "resource_provider_aggregates",
    "resource_provider_traits",
)


def erase(services: Services, provider: str) -> None:
    """A provider disappears with its inventory, as no API would let it."""
    one = "(SELECT id FROM resource_providers WHERE uuid = :it)"
    statements = [
        *(f"DELETE FROM {table} WHERE resource_provider_id = {one}" for table in LINKED_TABLES),
        # Not every database lets go of a row that refers to itself.
        "UPDATE resource_providers SET root_provider_id = NULL WHERE uuid = :it",
        "DELETE FROM resource_providers WHERE uuid = :it",
    ]
    with services.store.writer.begin() as connection:
        for sql in statements:
            connection.execute(text(sql), {"it": provider})
