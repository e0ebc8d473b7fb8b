"""Show what is in use on a provider."""

from collections.abc import Mapping

from moorage.domain.ids import Generation
from moorage.operations.look_up import look_up
from moorage.operations.services import Services


def show_usages(services: Services, provider: str) -> tuple[Generation, Mapping[str, int]]:
    """A provider's generation, and units in use by class name for each of its inventories.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, provider)
    used = {name: used for name, (_, used) in snapshot.resources_of(position).items()}
    return snapshot.generation_of(position), used
