"""Replace all inventories of a provider."""

from collections.abc import Mapping

from moorage.domain.inventory import Inventory, ProviderInventories, check_capacity
from moorage.domain.origin import Origin
from moorage.operations.inventory_change import decide_inventories
from moorage.operations.provider_changes import ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services


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

    def decide(shelf: Shelf) -> Decision:
        for name, inventory in inventories.items():
            check_capacity(
                inventory,
                provider=provider,
                resource_class=name,
                reserved_may_be_total=reserved_may_be_total,
            )
        dropped = [name for name in shelf.stock if name not in inventories]
        return decide_inventories(shelf, given=inventories, dropped=dropped, origin=origin)

    request = ChangeRequest(
        provider, Part.INVENTORIES, generation, inventories.keys(), origin, decide
    )
    shown: ProviderInventories = services.providers.submit(request)
    return shown
