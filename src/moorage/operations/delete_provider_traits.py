"""Take all traits from a provider."""

from moorage.domain.origin import Origin
from moorage.operations.services import Services
from moorage.operations.set_provider_traits import set_provider_traits


def delete_provider_traits(services: Services, *, provider: str, origin: Origin) -> None:
    """Leave a provider without traits, whatever its generation.

    Raises:
        UnknownProvider
    """
    set_provider_traits(services, provider=provider, generation=None, traits=(), origin=origin)
