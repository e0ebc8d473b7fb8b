"""List resource providers."""

from collections.abc import Sequence

from moorage.candidates.filter import filter_providers
from moorage.domain.provider import Provider, ProviderFilter
from moorage.operations.services import Services


def list_providers(services: Services, wanted: ProviderFilter) -> Sequence[Provider]:
    """The providers for which every part of the filter holds, oldest first.

    Raises:
        UnknownResourceClass, UnknownTraits
    """
    snapshot = services.keeper.current()
    return [snapshot.provider(index) for index in filter_providers(snapshot, wanted)]
