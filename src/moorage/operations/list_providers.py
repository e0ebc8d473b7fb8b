"""List resource providers."""

from collections.abc import Sequence

from moorage.candidates.filter import filter_providers
from moorage.domain.provider import Provider, ProviderFilter
from moorage.operations.services import Services
from moorage.store.providers import read_providers, read_providers_by_id


def list_providers(services: Services, wanted: ProviderFilter) -> Sequence[Provider]:
    """The providers for which every part of the filter holds, oldest first.

    Raises:
        UnknownResourceClass, UnknownTraits
    """
    asks_for_more = (
        wanted.member_of
        or wanted.forbidden_aggregates
        or wanted.required_traits
        or wanted.forbidden_traits
        or wanted.resources
    )
    if not asks_for_more:
        # Agents ask for one tree all day long: one statement, whatever else changes meanwhile.
        return read_providers(
            services.store, name=wanted.name, uuid=wanted.uuid, in_tree=wanted.in_tree
        )
    snapshot = services.keeper.current()
    found = [int(snapshot.ids[index]) for index in filter_providers(snapshot, wanted)]
    return read_providers_by_id(services.store, found)
