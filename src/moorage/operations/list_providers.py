"""List resource providers."""

from collections.abc import Sequence

from moorage.candidates.filter import filter_providers
from moorage.domain.provider import Provider, ProviderFilter
from moorage.operations.services import Services
from moorage.store.providers import read_providers, read_providers_by_id


def list_providers(services: Services, filter: ProviderFilter) -> Sequence[Provider]:
    """The providers for which every part of the filter holds, oldest first.

    Raises:
        UnknownResourceClass, UnknownTraits
    """
    asks_for_more = (
        filter.member_of
        or filter.forbidden_aggregates
        or filter.required_traits
        or filter.forbidden_traits
        or filter.resources
    )
    if not asks_for_more:
        # Agents ask for one tree all day long: one statement, whatever else changes meanwhile.
        return read_providers(
            services.store, name=filter.name, uuid=filter.uuid, in_tree=filter.in_tree
        )
    snapshot = services.keeper.current()
    found = [int(snapshot.ids[index]) for index in filter_providers(snapshot, filter)]
    return read_providers_by_id(services.store, found)
