"""List what is held on a provider."""

from moorage.domain.ids import ProviderId
from moorage.domain.refusals import UnknownProvider
from moorage.operations.look_up import look_up
from moorage.operations.services import Services
from moorage.store.provider_allocations import HeldRows, read_held_on

__all__ = ["HeldRows", "list_provider_allocations"]


def list_provider_allocations(services: Services, provider: str) -> HeldRows:
    """All allocations on a provider, with the generation that it had at the same moment.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, provider)
    found = read_held_on(services.store, ProviderId(int(snapshot.ids[position])))
    if found is None:
        raise UnknownProvider(provider)
    return found
