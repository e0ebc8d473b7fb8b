"""Show the aggregates of a provider."""

from collections.abc import Sequence

from moorage.domain.ids import Generation
from moorage.operations.look_up import look_up
from moorage.operations.services import Services


def show_aggregates(services: Services, provider: str) -> tuple[Generation, Sequence[str]]:
    """A provider's generation and the aggregates it is in.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, provider)
    return snapshot.generation_of(position), snapshot.aggregates_of(position)
