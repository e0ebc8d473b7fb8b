"""Show a resource class."""

from datetime import datetime

from moorage.domain.refusals import UnknownResourceClass
from moorage.operations.services import Services
from moorage.store.names import read_class


def show_resource_class(services: Services, name: str) -> datetime | None:
    """When a class last changed (naive UTC).

    Raises:
        UnknownResourceClass
    """
    found = read_class(services.store, name)
    if found is None:
        raise UnknownResourceClass(name)
    return found.modified_at
