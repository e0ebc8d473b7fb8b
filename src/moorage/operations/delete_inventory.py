"""Remove one inventory from a provider."""

from moorage.domain.origin import Origin
from moorage.operations.inventory_change import check_present, decide_inventories
from moorage.operations.provider_changes import ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services


def delete_inventory(
    services: Services, *, provider: str, resource_class: str, origin: Origin
) -> None:
    """Remove an inventory that nothing is allocated from.

    Raises:
        UnknownProvider, UnknownResourceClass, UnknownInventory, InventoryInUse
    """

    def decide(shelf: Shelf) -> Decision:
        check_present(shelf, resource_class)
        return decide_inventories(shelf, given={}, dropped=[resource_class], origin=origin)

    services.providers.submit(
        ChangeRequest(provider, Part.INVENTORIES, None, [resource_class], origin, decide)
    )
