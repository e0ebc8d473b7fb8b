"""List resource classes."""

from collections.abc import Sequence
from datetime import datetime

from moorage.operations.list_traits import newest
from moorage.operations.services import Services
from moorage.store.names import read_classes


def list_resource_classes(services: Services) -> tuple[Sequence[str], datetime | None]:
    """All class names, standard ones first, and when one of them last changed."""
    found = read_classes(services.store)
    return [item.name for item in found], newest(found)
