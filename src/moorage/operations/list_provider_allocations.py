"""List what is held on a provider."""

from moorage.domain.consumer import ProviderAllocations
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services
from moorage.store.holdings import read_provider_allocations


def list_provider_allocations(services: Services, provider: str) -> ProviderAllocations:
    """All allocations on a provider.

    Raises:
        UnknownProvider
    """
    found = read_provider_allocations(services.store, provider)
    if found is None:
        raise UnknownProvider(provider)
    return found
