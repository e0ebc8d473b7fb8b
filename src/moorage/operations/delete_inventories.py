"""Remove all inventories from a provider."""

from moorage.domain.origin import Origin
from moorage.operations.inventory_change import change_inventories, load_shelf
from moorage.operations.services import Services
from moorage.store.transaction import Transaction


def delete_inventories(services: Services, *, provider: str, origin: Origin) -> None:
    """Remove every inventory; nothing may be allocated from any.

    Raises:
        UnknownProvider, InventoryInUse
    """

    def attempt(tx: Transaction) -> None:
        shelf = load_shelf(tx, provider, generation=None)
        change_inventories(tx, shelf, given={}, dropped=list(shelf.stock), origin=origin)

    services.store.run(attempt)
