"""Show a resource class."""

from datetime import datetime

from moorage.domain.refusals import UnknownResourceClass
from moorage.operations.services import Services


def show_resource_class(services: Services, name: str) -> datetime | None:
    """When a class last changed (naive UTC), None where that is not known.

    Raises:
        UnknownResourceClass
    """
    snapshot = services.keeper.current()
    key = snapshot.class_ids.get(name)
    if key is None:
        raise UnknownResourceClass(name)
    return snapshot.class_ages.get(key)
