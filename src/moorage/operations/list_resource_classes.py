"""List resource classes."""

from collections.abc import Sequence
from datetime import datetime

from moorage.operations.services import Services


def list_resource_classes(services: Services) -> tuple[Sequence[str], datetime | None]:
    """All class names, standard ones first, and when one of them last changed."""
    snapshot = services.keeper.current()
    newest = max(snapshot.class_ages.values(), default=None)
    return [name for _, name in sorted(snapshot.class_names.items())], newest
