"""Overwrite one inventory of a provider."""

from moorage.domain.inventory import Inventory, ProviderInventories, check_capacity
from moorage.domain.origin import Origin
from moorage.domain.refusals import UnknownInventory, UnknownResourceClass
from moorage.operations.inventory_change import change_inventories, load_shelf
from moorage.operations.services import Services
from moorage.store.names import keep_classes
from moorage.store.transaction import Transaction


def update_inventory(
    services: Services,
    *,
    provider: str,
    resource_class: str,
    generation: int,
    inventory: Inventory,
    reserved_may_be_total: bool,
    origin: Origin,
) -> ProviderInventories:
    """Overwrite an inventory; it may shrink below what is allocated from it.

    Raises:
        UnknownProvider, ProviderGenerationConflict, InventoryCapacityInvalid,
        UnknownResourceClass, UnknownInventory
    """

    def attempt(tx: Transaction) -> ProviderInventories:
        shelf = load_shelf(tx, provider, generation=generation)
        check_capacity(
            inventory,
            provider=provider,
            resource_class=resource_class,
            reserved_may_be_total=reserved_may_be_total,
        )
        if resource_class not in shelf.stock:
            if not keep_classes(tx, [resource_class]):
                raise UnknownResourceClass(resource_class)
            raise UnknownInventory(provider, resource_class)
        given = {resource_class: inventory}
        return change_inventories(tx, shelf, given=given, dropped=(), origin=origin)

    return services.store.run(attempt)
