"""Show what is in use on a provider."""

from collections.abc import Mapping

from moorage.domain.ids import Generation
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services
from moorage.store.inventories import read_usages


def show_usages(services: Services, provider: str) -> tuple[Generation, Mapping[str, int]]:
    """A provider's generation, and units in use by class name for each of its inventories.

    Raises:
        UnknownProvider
    """
    found = read_usages(services.store, provider)
    if found is None:
        raise UnknownProvider(provider)
    return found
