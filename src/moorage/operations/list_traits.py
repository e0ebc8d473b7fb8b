"""List traits."""

from collections.abc import Container, Sequence
from datetime import datetime

from moorage.operations.services import Services


def list_traits(
    services: Services,
    *,
    names: Container[str] | None,
    prefix: str | None,
    associated: bool | None,
) -> tuple[Sequence[str], datetime | None]:
    """Names of the traits that pass all filters given, and when one of them last changed.

    Args:
        associated: those that some provider has, or those that none has.
    """
    snapshot = services.keeper.current()
    found = sorted(snapshot.trait_names.items())
    if names is not None:
        found = [(key, name) for key, name in found if name in names]
    if prefix:
        found = [(key, name) for key, name in found if name.startswith(prefix)]
    if associated is not None:
        in_use = snapshot.traits_in_use()
        found = [(key, name) for key, name in found if (key in in_use) is associated]
    ages = (snapshot.trait_ages.get(key) for key, _ in found)
    newest = max((age for age in ages if age is not None), default=None)
    return [name for _, name in found], newest
