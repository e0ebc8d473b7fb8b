"""Show a resource provider."""

from moorage.domain.provider import Provider
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services
from moorage.store.providers import read_provider


def show_provider(services: Services, uuid: str) -> Provider:
    """One provider.

    Raises:
        UnknownProvider
    """
    provider = read_provider(services.store, uuid)
    if provider is None:
        raise UnknownProvider(uuid)
    return provider
