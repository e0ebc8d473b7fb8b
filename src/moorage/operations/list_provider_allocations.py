"""List what is held on a provider."""

from moorage.candidates.evidence import Evidence, about_provider
from moorage.domain.ids import ProviderId
from moorage.domain.refusals import UnknownProvider
from moorage.operations.look_up import look_up
from moorage.operations.services import Services
from moorage.store.provider_allocations import HeldRows, read_held_on

__all__ = ["HeldRows", "list_provider_allocations"]


def list_provider_allocations(services: Services, provider: str) -> tuple[HeldRows, Evidence]:
    """All allocations on a provider, with the generation that it had at the same moment.

    The evidence is from before they were read: it holds no longer than they are right.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, provider)
    held = read_held_on(services.store, ProviderId(int(snapshot.ids[position])))
    if held is None or held.provider != provider:
        raise UnknownProvider(provider)
    return held, about_provider(snapshot, position)
