"""Replace all inventories of a provider."""

from collections.abc import Mapping

from moorage.domain.inventory import Inventory, ProviderInventories, check_capacity
from moorage.domain.origin import Origin
from moorage.operations.inventory_change import change_inventories, load_shelf
from moorage.operations.services import Services
from moorage.store.transaction import Transaction


def set_inventories(
    services: Services,
    *,
    provider: str,
    generation: int,
    inventories: Mapping[str, Inventory],
    reserved_may_be_total: bool,
    origin: Origin,
) -> ProviderInventories:
    """Give a provider exactly these inventories (by class name).

    Raises:
        UnknownProvider, ProviderGenerationConflict, InventoryCapacityInvalid,
        UnknownResourceClass, InventoryInUse
    """

    def attempt(tx: Transaction) -> ProviderInventories:
        shelf = load_shelf(tx, provider, generation=generation)
        for name, inventory in inventories.items():
            check_capacity(
                inventory,
                provider=provider,
                resource_class=name,
                reserved_may_be_total=reserved_may_be_total,
            )
        dropped = [name for name in shelf.stock if name not in inventories]
        return change_inventories(tx, shelf, given=inventories, dropped=dropped, origin=origin)

    return services.store.run(attempt)
