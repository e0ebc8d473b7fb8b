"""Three hosts with processors and memory, two pools with their disk, and what Nova would say."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from moorage.candidates.request import CandidatesRequest
from moorage.domain.claim import ConsumerClaim
from moorage.domain.findings import Finding, Kind
from moorage.domain.ids import ConsumerUuid, MoveUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.move import MoveEvent, MoveKind
from moorage.domain.move_record import MoveRecord
from moorage.domain.origin import Origin
from moorage.domain.outside import Migration, Outside, Server
from moorage.operations.advance_move import Stepping, advance_move
from moorage.operations.audit import Ask, AuditReport, audit
from moorage.operations.claim import claim
from moorage.operations.heal import Healed, heal
from moorage.operations.move_places import PlaceSearch
from moorage.operations.open_move import MoveOrdering, open_move
from moorage.operations.services import Services
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_provider import show_provider
from moorage.operations.undo import Undone, undo
from moorage.store.tables import (
    PLACEMENT_TABLES,
    moorage_credits,
    moorage_moves,
    moorage_usages,
)
from tests.support.books import add_host, new_uuid, now, origin

ON_HOST = {"VCPU": 2, "MEMORY_MB": 512}
ON_POOL = {"DISK_GB": 20}
FLAVOR = {**ON_HOST, **ON_POOL}
LONG_AGO = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - the store knows naive UTC only


class Cloud:
    """The books of a small cloud, and the truth about it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        stock = {"VCPU": Inventory(64), "MEMORY_MB": Inventory(65_536)}
        self.hosts = [add_host(services, stock) for _ in range(3)]
        self.pools = [add_host(services, {"DISK_GB": Inventory(1_000)}) for _ in range(2)]
        # The first two hosts share the first pool, the third has the second to itself.
        shared, other = new_uuid(), new_uuid()
        for host in (*self.hosts[:2], self.pools[0]):
            self._join(host, shared)
        for host in (self.hosts[2], self.pools[1]):
            self._join(host, other)
        for pool in self.pools:
            self._share(pool)
        self.servers: dict[str, Server] = {}
        self.migrations: dict[str, Migration] = {}
        # A shared project and user, so that consumers made anew need no new rows for them.
        self.keeper = self.place(0)

    def _join(self, provider: str, aggregate: str) -> None:
        generation = show_provider(self.services, provider).generation
        set_aggregates(
            self.services,
            provider=provider,
            aggregates=[aggregate],
            generation=generation,
            origin=origin(),
        )

    def _share(self, pool: str) -> None:
        generation = show_provider(self.services, pool).generation
        set_provider_traits(
            self.services,
            provider=pool,
            generation=generation,
            traits=["MISC_SHARES_VIA_AGGREGATE"],
            origin=origin(),
        )

    # --- what is so -------------------------------------------------------------------------

    def place(self, host: int, *, at: datetime = LONG_AGO) -> str:
        """A server on a host, held for as it should be, and listed outside."""
        uuid = new_uuid()
        self.hold(uuid, host, at=at)
        self.tell(uuid, host)
        return uuid

    def hold(
        self,
        uuid: str,
        *hosts: int,
        at: datetime = LONG_AGO,
        consumer_type: str | None = None,
        generation: int | None = None,
        amounts: Mapping[str, int] = ON_HOST,
        on_pool: Mapping[str, int] = ON_POOL,
    ) -> None:
        """Let a consumer hold a server's resources on these hosts, the pool of the first once."""
        resources = {self.hosts[host]: dict(amounts) for host in hosts}
        if on_pool and hosts:
            resources[self.pools[hosts[0] // 2]] = dict(on_pool)
        self.claim(uuid, resources, at=at, consumer_type=consumer_type, generation=generation)

    def claim(
        self,
        uuid: str,
        resources: Mapping[ProviderUuid, dict[str, int]],
        *,
        at: datetime = LONG_AGO,
        consumer_type: str | None = None,
        generation: int | None = None,
        origin_given: Origin | None = None,
    ) -> None:
        wanted = ConsumerClaim(
            ConsumerUuid(uuid), resources, "project", "user", True, generation, consumer_type
        )
        claim(self.services, [wanted], origin_given or replace(origin(), at=at))

    def order(self, server: str, to: int, *, deadline_s: int | None = None) -> MoveRecord:
        """A move of a server to another host that was ordered long ago."""
        search = PlaceSearch(
            CandidatesRequest((), trees_used=frozenset({ProviderUuid(self.hosts[to])}))
        )
        ordering = MoveOrdering(
            uuid=MoveUuid(new_uuid()),
            kind=MoveKind.MIGRATE,
            consumer=ConsumerUuid(server),
            consumer_generation=None,
            owner=None,
            search=search,
            same_resources=True,
            deadline_s=deadline_s,
            digest=server,
        )
        return open_move(self.services, ordering, replace(origin(), at=LONG_AGO)).move

    def step(self, move: MoveRecord, event: MoveEvent) -> MoveRecord:
        """A step of a move that was taken long ago."""
        stepping = Stepping(move.uuid, event, move.generation)
        return advance_move(self.services, stepping, replace(origin(), at=LONG_AGO)).move

    def observe(self, server: str, to: int, *, at: datetime = LONG_AGO) -> str:
        """A move of a server as Nova makes it, up to its claim; returns the hold."""
        hold = new_uuid()
        asked = replace(origin(), at=at, global_request_id=f"req-{hold}")
        held = show_allocations(self.services, server)
        assert held is not None
        source = {uuid: dict(amounts) for uuid, (_, amounts) in held.resources.items()}
        destination = {self.hosts[to]: dict(ON_HOST), self.pools[to // 2]: dict(ON_POOL)}
        for wishes in ({server: {}, hold: source}, {server: destination}):
            claims = [
                ConsumerClaim(ConsumerUuid(uuid), wanted, "project", "user", False, None, None)
                for uuid, wanted in wishes.items()
            ]
            claim(self.services, claims, asked)
        return hold

    def tell(self, uuid: str, host: int | None, **more: Any) -> None:
        """Say outside that there is this server."""
        name = None if host is None else self.hosts[host]
        given = {"state": "ACTIVE", "resources": FLAVOR} | more
        self.servers[uuid] = Server(uuid=uuid, host=name, **given)

    def tell_migration(self, uuid: str, server: str, state: str, kind: str = "migration") -> None:
        self.migrations[uuid] = Migration(uuid, server, kind, state)

    def outside(self, **more: Any) -> Outside:
        """The truth as a source tells it."""
        return Outside(
            **{
                "taken_at": now(),
                "servers": self.servers,
                "migrations": self.migrations,
                "hosts": dict.fromkeys(self.hosts, "cell1"),
                **more,
            }
        )

    # --- what is asked ----------------------------------------------------------------------

    def audit(
        self, outside: Outside | None = None, *, ask: Ask | None = None, age_guard_s: float = 600.0
    ) -> AuditReport:
        return audit(self.services, outside=outside, ask=ask, age_guard_s=age_guard_s)

    def kinds(self, outside: Outside | None = None) -> dict[str, list[Kind]]:
        """Kinds of findings by subject."""
        found: dict[str, list[Kind]] = {}
        for finding in self.audit(outside).findings:
            found.setdefault(finding.subject, []).append(finding.kind)
        return found

    def only(self, outside: Outside | None = None) -> Finding:
        """The one finding there is."""
        (finding,) = self.audit(outside).findings
        return finding

    def heal(self, finding: Finding, outside: Outside | None = None) -> Healed:
        return heal(self.services, finding, outside=outside, origin=origin())

    def undo(self, number: int) -> Undone:
        return undo(self.services, number, origin=origin())

    # --- rows -------------------------------------------------------------------------------

    def sql(self, statement: str, **values: Any) -> None:
        """Change rows behind everybody's back, as another program would."""
        with self.services.store.writer.begin() as connection:
            connection.execute(text(statement), values)

    def id_of(self, provider: str) -> int:
        rows = self.services.store.read(
            text("SELECT p.id FROM resource_providers p WHERE p.uuid = :uuid"), {"uuid": provider}
        )
        return int(rows[0][0])

    def class_id(self, name: str) -> int:
        rows = self.services.store.read(
            text("SELECT n.id FROM resource_classes n WHERE n.name = :name"), {"name": name}
        )
        return int(rows[0][0])

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of Placement's tables, of totals, moves and credits, as the driver has them."""
        dumped = {}
        for table in (*PLACEMENT_TABLES, moorage_usages, moorage_moves, moorage_credits):
            rows = self.services.store.read(text(f"SELECT * FROM {table.name}"))
            dumped[table.name] = sorted((tuple(row) for row in rows), key=repr)
        return dumped


def later(minutes: float) -> datetime:
    return now() + timedelta(minutes=minutes)
