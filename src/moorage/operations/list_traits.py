"""List traits."""

from collections.abc import Sequence
from datetime import datetime

from moorage.operations.services import Services
from moorage.store.names import Named, read_traits


def list_traits(
    services: Services,
    *,
    names: Sequence[str] | None,
    prefix: str | None,
    associated: bool | None,
) -> tuple[Sequence[str], datetime | None]:
    """Names of the traits that pass all filters given, and when one of them last changed."""
    found = read_traits(services.store, names=names, prefix=prefix, associated=associated)
    return [trait.name for trait in found], newest(found)


def newest(found: Sequence[Named]) -> datetime | None:
    """When the newest of these rows changed (naive UTC), None where none says so."""
    return max((item.modified_at for item in found if item.modified_at), default=None)
