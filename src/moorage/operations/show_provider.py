"""Show a resource provider."""

from moorage.domain.provider import Provider
from moorage.operations.look_up import look_up
from moorage.operations.services import Services


def show_provider(services: Services, uuid: str) -> Provider:
    """One provider.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, uuid)
    return snapshot.provider(position)
