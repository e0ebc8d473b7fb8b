"""Create a resource provider."""

from moorage.domain.origin import Origin
from moorage.domain.provider import Provider
from moorage.domain.refusals import ParentIsSelf, ProviderNameMissing
from moorage.operations.provider_queue import Creation
from moorage.operations.services import Services


def create_provider(
    services: Services, *, uuid: str, name: str, parent_uuid: str | None, origin: Origin
) -> Provider:
    """Add a provider: a root, or a child of ``parent_uuid``.

    Raises:
        ProviderNameMissing, ParentIsSelf, UnknownParent, DuplicateProvider
    """
    if not name:
        raise ProviderNameMissing(uuid, name)
    if parent_uuid == uuid:
        raise ParentIsSelf(uuid, name)
    provider: Provider = services.providers.submit(Creation(uuid, name, parent_uuid, origin))
    return provider
