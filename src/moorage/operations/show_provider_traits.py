"""Show the traits of a provider."""

from collections.abc import Sequence
from datetime import datetime

from moorage.domain.ids import Generation
from moorage.domain.refusals import UnknownProvider
from moorage.operations.list_traits import newest
from moorage.operations.services import Services
from moorage.store.associations import read_provider_traits


def show_provider_traits(
    services: Services, provider: str
) -> tuple[Generation, Sequence[str], datetime | None]:
    """A provider's generation, its traits, and when one of them last changed.

    Raises:
        UnknownProvider
    """
    found = read_provider_traits(services.store, provider)
    if found is None:
        raise UnknownProvider(provider)
    generation, traits = found
    return generation, [trait.name for trait in traits], newest(traits)
