"""Show the aggregates of a provider."""

from collections.abc import Sequence

from moorage.domain.ids import Generation
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services
from moorage.store.associations import read_aggregates


def show_aggregates(services: Services, provider: str) -> tuple[Generation, Sequence[str]]:
    """A provider's generation and the aggregates it is in.

    Raises:
        UnknownProvider
    """
    found = read_aggregates(services.store, provider)
    if found is None:
        raise UnknownProvider(provider)
    return found
