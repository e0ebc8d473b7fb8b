"""Remove all inventories from a provider."""

from moorage.domain.origin import Origin
from moorage.operations.inventory_change import decide_inventories
from moorage.operations.provider_changes import ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services


def delete_inventories(services: Services, *, provider: str, origin: Origin) -> None:
    """Remove every inventory; nothing may be allocated from any.

    Raises:
        UnknownProvider, InventoryInUse
    """

    def decide(shelf: Shelf) -> Decision:
        return decide_inventories(shelf, given={}, dropped=list(shelf.stock), origin=origin)

    services.providers.submit(ChangeRequest(provider, Part.INVENTORIES, None, (), origin, decide))
