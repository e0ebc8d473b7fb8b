"""Show a trait."""

from datetime import datetime

from moorage.domain.refusals import UnknownTrait
from moorage.operations.services import Services
from moorage.store.names import read_trait


def show_trait(services: Services, name: str) -> datetime | None:
    """When a trait last changed (naive UTC).

    Raises:
        UnknownTrait
    """
    trait = read_trait(services.store, name)
    if trait is None:
        raise UnknownTrait(name)
    return trait.modified_at
