"""Hosts, pools and what is asked of them, as calls."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from sqlalchemy import text

from moorage.domain.ids import SHARING_TRAIT
from moorage.domain.inventory import Inventory
from moorage.domain.origin import Origin
from moorage.operations.create_provider import create_provider
from moorage.operations.delete_inventory import delete_inventory
from moorage.operations.delete_provider import delete_provider
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_inventories import set_inventories
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.update_inventory import update_inventory
from tests.simulation.model import Effect, Provider, Refused, Slot, Stock
from tests.simulation.world import Call, Process, World

AGGREGATES = (
    "a0000000-0000-4000-8000-000000000001",
    "a0000000-0000-4000-8000-000000000002",
)


TABLES_OF_PROVIDERS = (
    "moorage_usages",
    "inventories",
    "resource_provider_aggregates",
    "resource_provider_traits",
)


def inventory_of(stock: Stock) -> Inventory:
    return Inventory(
        stock.total, stock.reserved, stock.min_unit, stock.max_unit, stock.step_size, stock.ratio
    )


class Fleet:
    """Makes the calls that providers are changed with."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.names = 0
        self.anchors: set[str] = set()

    def build(self) -> None:
        """A new fleet: two pools, hosts that share them, some with a child, some with disks."""
        random, perform = self.random, self._perform
        for aggregate in AGGREGATES:
            pool = self.world.new_uuid("b")
            perform(self.create(pool, None))
            perform(self.stock(pool, {"DISK_GB": Stock(random.randint(60, 140))}))
            perform(self.join(pool, {aggregate} if random.random() < 0.8 else set(AGGREGATES)))
            perform(self.share(pool, shares=True))
        for _ in range(random.randint(4, 8)):
            for call in self.host():
                perform(call)

    def host(self) -> list[Call]:
        """A new host, in its steps."""
        random = self.random
        uuid = self.world.new_uuid("c")
        stock = {
            "VCPU": Stock(random.choice((4, 6, 8)), ratio=random.choice((1.0, 1.0, 1.5, 2.0))),
            "MEMORY_MB": Stock(random.choice((16, 32)), reserved=random.choice((0, 2))),
        }
        joined = set(random.choice(((0,), (1,), (0, 1), (0,), (1,), ())))
        if not joined or random.random() < 0.15:
            stock["DISK_GB"] = Stock(random.randint(20, 60))
        calls = [
            self.create(uuid, None),
            self.stock(uuid, stock),
            self.join(uuid, {AGGREGATES[n] for n in joined}),
        ]
        if random.random() < 0.4:
            child = self.world.new_uuid("d")
            calls += [self.create(child, uuid), self.stock(child, {"VGPU": Stock(3)})]
        return calls

    def _perform(self, call: Call) -> None:
        self.world.perform(call, self.world.processes[0])

    def seen(self, provider: str, *, behind: int = 0) -> Callable[[], int]:
        """The generation of a provider as its client sees it when it first asks for a change."""
        return cache(lambda: (self.world.reader.generation_of(provider) or 0) - behind)

    def _enter(self, change: Callable[[], None]) -> Effect:
        def enter() -> None:
            change()
            self.world.model.version += 1

        return enter

    def create(self, uuid: str, parent: str | None) -> Call:
        model = self.world.model
        self.names += 1
        name = f"provider-{self.names}"

        def decide(_: Origin) -> Effect:
            if uuid in model.providers:
                raise Refused("DuplicateProvider")
            if parent is not None and parent not in model.providers:
                raise Refused("UnknownParent")
            new = Provider(uuid, model.providers[parent].root if parent else uuid)
            return self._enter(lambda: model.providers.__setitem__(uuid, new))

        return Call(
            "create provider",
            lambda p, o: create_provider(
                p.services, uuid=uuid, name=name, parent_uuid=parent, origin=o
            ),
            decide,
        )

    def _changing(
        self, provider: str, generation: Callable[[], int], change: Callable[[Provider], Effect]
    ):  # type: ignore[no-untyped-def]
        """What the model makes of a change of a provider by somebody who has seen it so."""

        def decide(_: Origin) -> Effect:
            found = self.world.model.providers.get(provider)
            if found is None:
                raise Refused("UnknownProvider")
            if self.generations[provider] != generation():
                raise Refused("ProviderGenerationConflict")
            return self._enter(change(found))

        return decide

    @property
    def generations(self) -> dict[str, int]:
        """As the service has last committed them, before what it commits now."""
        return {} if self.world.picture is None else self.world.picture.generations

    def stock(self, provider: str, stock: dict[str, Stock]) -> Call:
        generation = self.seen(provider)
        model = self.world.model

        def change(found: Provider) -> Effect:
            gone = [name for name in found.stock if name not in stock]
            if any(model.used()[provider, name] for name in gone):
                raise Refused("InventoryInUse")
            return lambda: setattr(found, "stock", dict(stock))

        def send(process: Process, origin: Origin) -> object:
            return set_inventories(
                process.services,
                provider=provider,
                generation=generation(),
                inventories={name: inventory_of(one) for name, one in stock.items()},
                reserved_may_be_total=True,
                origin=origin,
            )

        return Call("set inventories", send, self._changing(provider, generation, change))

    def restock(self, slot: Slot, stock: Stock, *, behind: int = 0) -> Call:
        """Overwrite an inventory, perhaps to less than is in use; ``behind``: as seen before."""
        provider, name = slot
        generation = self.seen(provider, behind=behind)

        def change(found: Provider) -> Effect:
            if name not in found.stock:
                raise Refused("UnknownInventory")
            return lambda: found.stock.__setitem__(name, stock)

        def send(process: Process, origin: Origin) -> object:
            return update_inventory(
                process.services,
                provider=provider,
                resource_class=name,
                generation=generation(),
                inventory=inventory_of(stock),
                reserved_may_be_total=True,
                origin=origin,
            )

        return Call("restock", send, self._changing(provider, generation, change))

    def join(self, provider: str, aggregates: set[str]) -> Call:
        generation = self.seen(provider)

        def send(process: Process, origin: Origin) -> object:
            return set_aggregates(
                process.services,
                provider=provider,
                aggregates=sorted(aggregates),
                generation=generation(),
                origin=origin,
            )

        return Call(
            "join",
            send,
            self._changing(
                provider,
                generation,
                lambda found: lambda: setattr(found, "aggregates", frozenset(aggregates)),
            ),
        )

    def share(self, provider: str, *, shares: bool) -> Call:
        generation = self.seen(provider)

        def send(process: Process, origin: Origin) -> object:
            return set_provider_traits(
                process.services,
                provider=provider,
                generation=generation(),
                traits=[SHARING_TRAIT] if shares else [],
                origin=origin,
            )

        return Call(
            "share" if shares else "share no more",
            send,
            self._changing(
                provider, generation, lambda found: lambda: setattr(found, "shares", shares)
            ),
        )

    def drop_stock(self, slot: Slot) -> Call:
        provider, name = slot
        model = self.world.model

        def decide(_: Origin) -> Effect:
            found = model.providers.get(provider)
            if found is None:
                raise Refused("UnknownProvider")
            if name not in found.stock:
                raise Refused("UnknownInventory")
            if model.used()[slot]:
                raise Refused("InventoryInUse")
            return self._enter(lambda: found.stock.pop(name) and None)

        return Call(
            "delete inventory",
            lambda p, o: delete_inventory(
                p.services, provider=provider, resource_class=name, origin=o
            ),
            decide,
        )

    def drop(self, provider: str) -> Call:
        model = self.world.model

        def decide(_: Origin) -> Effect:
            if provider not in model.providers:
                raise Refused("UnknownProvider")
            reasons = set()
            if any(slot[0] == provider for h in model.holders.values() for slot in h.held):
                reasons.add("ProviderInUse")
            if any(p.root == provider != p.uuid for p in model.providers.values()):
                reasons.add("ProviderHasChildren")
            if reasons:
                raise Refused(*reasons)
            return self._enter(lambda: model.providers.__delitem__(provider))

        return Call(
            "delete provider",
            lambda p, o: delete_provider(p.services, uuid=provider, origin=o),
            decide,
        )

    def vanish(self, provider: str) -> Call:
        """Another service deletes a provider, whatever is held there, and tells nobody."""
        model = self.world.model
        if self.world.reader.newest_provider() not in self.anchors:
            # SQLite would give its row id to the next provider, and with it all that is held there.
            anchor = self.world.new_uuid("a")
            self.anchors.add(anchor)
            return self.create(anchor, None)

        def decide(_: Origin) -> Effect:
            return self._enter(lambda: model.providers.__delitem__(provider))

        def send(process: Process, _: Origin) -> None:
            one = "(SELECT id FROM resource_providers WHERE uuid = :it)"
            with process.services.store.writer.begin() as connection:
                for table in TABLES_OF_PROVIDERS:
                    sql = f"DELETE FROM {table} WHERE resource_provider_id = {one}"
                    connection.execute(text(sql), {"it": provider})
                sql = "DELETE FROM resource_providers WHERE uuid = :it"
                connection.execute(text(sql), {"it": provider})
            decide(_)()

        return Call("vanish", send, decide, may_repeat=lambda: provider in model.providers)

    def changed(self, stock: Stock, used: int) -> Stock:
        """Another stock of the same: mostly less or more of it, at times in other portions."""
        random = self.random
        chance = random.random()
        if chance < 0.5:
            return replace(stock, total=max(1, int(used * random.uniform(0.5, 1.3))), reserved=0)
        if chance < 0.85:
            return replace(stock, total=stock.total + random.randint(1, 20))
        return replace(
            stock, max_unit=random.choice((2, 8, 1000)), step_size=random.choice((1, 1, 2))
        )
