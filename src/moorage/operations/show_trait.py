"""Show a trait."""

from datetime import datetime

from moorage.domain.refusals import UnknownTrait
from moorage.operations.services import Services


def show_trait(services: Services, name: str) -> datetime | None:
    """When a trait last changed (naive UTC), None where that is not known.

    Raises:
        UnknownTrait
    """
    snapshot = services.keeper.current()
    key = snapshot.trait_ids.get(name)
    if key is None:
        raise UnknownTrait(name)
    return snapshot.trait_ages.get(key)
