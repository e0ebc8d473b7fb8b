"""Show one inventory of a provider."""

from moorage.domain.inventory import ProviderInventories
from moorage.domain.refusals import UnknownInventory
from moorage.operations.look_up import look_up
from moorage.operations.services import Services


def show_inventory(services: Services, provider: str, resource_class: str) -> ProviderInventories:
    """The provider's inventory of one class, as if it had no other.

    Raises:
        UnknownProvider, UnknownInventory
    """
    snapshot, position = look_up(services, provider)
    found = snapshot.inventories_of(position, only=resource_class)
    if not found.inventories:
        raise UnknownInventory(provider, resource_class)
    return found
