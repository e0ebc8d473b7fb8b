"""Find one provider in the newest snapshot: where every read about a provider begins."""

from moorage.candidates.snapshot import Snapshot
from moorage.domain.refusals import UnknownProvider
from moorage.operations.services import Services


def look_up(services: Services, provider: str) -> tuple[Snapshot, int]:
    """The newest snapshot, and the provider's position in it.

    Raises:
        UnknownProvider
    """
    snapshot = services.keeper.current()
    position = snapshot.positions.get(provider)
    if position is None:
        raise UnknownProvider(provider)
    return snapshot, position
