"""Show the inventories of a provider."""

from moorage.domain.inventory import ProviderInventories
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services
from moorage.store.inventories import read_inventories


def show_inventories(services: Services, provider_uuid: str) -> ProviderInventories:
    """All inventories of a provider.

    Raises:
        UnknownProvider
    """
    found = read_inventories(services.store, provider_uuid)
    if found is None:
        raise UnknownProvider(provider_uuid)
    return found
