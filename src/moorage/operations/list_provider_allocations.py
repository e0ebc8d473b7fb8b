"""List what is held on a provider."""

from moorage.candidates.evidence import Evidence, about_provider
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ProviderId
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services
from moorage.store.provider_allocations import HeldRows, read_held_on

__all__ = ["HeldRows", "list_provider_allocations"]


def list_provider_allocations(services: Services, provider: str) -> tuple[HeldRows, Evidence]:
    """All allocations on a provider, with the generation that it had at the same moment.

    The evidence is from before they were read: it holds no longer than they are right.

    Raises:
        UnknownProvider
    """
    keeper = services.keeper
    # An old snapshot tells the row id as well as the newest, which would take a question of its
    # own: the row itself says whether it is still this provider's.
    found = _held_on(services, keeper.latest, provider) if keeper.latest else None
    found = found or _held_on(services, keeper.current(), provider)
    if found is None:
        raise UnknownProvider(provider)
    return found


def _held_on(
    services: Services, snapshot: Snapshot, provider: str
) -> tuple[HeldRows, Evidence] | None:
    position = snapshot.positions.get(provider)
    if position is None:
        return None
    found = read_held_on(services.store, ProviderId(int(snapshot.ids[position])))
    if found is None or found.provider != provider:
        return None
    return found, about_provider(snapshot, position)
