"""Add one inventory to a provider."""

from moorage.domain.inventory import Inventory, ProviderInventories, check_capacity
from moorage.domain.origin import Origin
from moorage.domain.refusals import InventoryExists
from moorage.operations.inventory_change import decide_inventories
from moorage.operations.provider_changes import ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services


def add_inventory(
    services: Services,
    *,
    provider: str,
    resource_class: str,
    inventory: Inventory,
    reserved_may_be_total: bool,
    origin: Origin,
) -> ProviderInventories:
    """Give a provider an inventory of a class it had none of.

    Raises:
        UnknownProvider, InventoryCapacityInvalid, UnknownResourceClass, InventoryExists
    """

    def decide(shelf: Shelf) -> Decision:
        check_capacity(
            inventory,
            provider=provider,
            resource_class=resource_class,
            reserved_may_be_total=reserved_may_be_total,
        )
        if resource_class in shelf.stock:
            raise InventoryExists(provider, resource_class)
        given = {resource_class: inventory}
        return decide_inventories(shelf, given=given, dropped=(), origin=origin)

    request = ChangeRequest(provider, Part.INVENTORIES, None, [resource_class], origin, decide)
    shown: ProviderInventories = services.providers.submit(request)
    return shown
