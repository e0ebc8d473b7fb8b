"""Remove one inventory from a provider."""

from moorage.domain.origin import Origin
from moorage.domain.refusals import UnknownInventory, UnknownResourceClass
from moorage.operations.inventory_change import change_inventories, load_shelf
from moorage.operations.services import Services
from moorage.store.names import keep_classes
from moorage.store.transaction import Transaction


def delete_inventory(
    services: Services, *, provider: str, resource_class: str, origin: Origin
) -> None:
    """Remove an inventory that nothing is allocated from.

    Raises:
        UnknownProvider, UnknownResourceClass, UnknownInventory, InventoryInUse
    """

    def attempt(tx: Transaction) -> None:
        shelf = load_shelf(tx, provider, generation=None)
        if resource_class not in shelf.stock:
            if not keep_classes(tx, [resource_class]):
                raise UnknownResourceClass(resource_class)
            raise UnknownInventory(provider, resource_class)
        change_inventories(tx, shelf, given={}, dropped=[resource_class], origin=origin)

    services.store.run(attempt)
