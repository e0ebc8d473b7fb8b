"""Overwrite one inventory of a provider."""

from moorage.domain.inventory import Inventory, ProviderInventories, check_capacity
from moorage.domain.origin import Origin
from moorage.operations.inventory_change import check_present, decide_inventories
from moorage.operations.provider_changes import ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services


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

    def decide(shelf: Shelf) -> Decision:
        check_capacity(
            inventory,
            provider=provider,
            resource_class=resource_class,
            reserved_may_be_total=reserved_may_be_total,
        )
        check_present(shelf, resource_class)
        given = {resource_class: inventory}
        return decide_inventories(shelf, given=given, dropped=(), origin=origin)

    request = ChangeRequest(
        provider, Part.INVENTORIES, generation, [resource_class], origin, decide
    )
    shown: ProviderInventories = services.providers.submit(request)
    return shown
