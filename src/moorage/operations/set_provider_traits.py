"""Set the traits of a provider."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from moorage.domain.ids import Generation
from moorage.domain.origin import Origin
from moorage.domain.refusals import UnknownTraits
from moorage.operations.provider_changes import Change, ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services
from moorage.store.journal import Entry


def set_provider_traits(
    services: Services,
    *,
    provider: str,
    generation: int | None,
    traits: Iterable[str],
    origin: Origin,
) -> tuple[Generation, Sequence[str], datetime | None]:
    """Give a provider exactly these traits; its generation grows where that changes something.

    Args:
        generation: what the client read; None: it is not checked.
    Returns:
        The generation, the traits, and when one of them last changed.
    Raises:
        UnknownProvider, ProviderGenerationConflict, UnknownTraits
    """
    wanted = dict.fromkeys(traits)

    def decide(shelf: Shelf) -> Decision:
        locked, linked = shelf.provider, shelf.linked
        unknown = tuple(name for name in wanted if name not in shelf.known_traits)
        if unknown:
            raise UnknownTraits(unknown)
        found = [shelf.known_traits[name] for name in wanted]
        ages = [trait.modified_at for trait in found if trait.modified_at is not None]
        modified_at = max(ages, default=None)
        added = sorted(trait.id for trait in found if trait.name not in linked)
        gone = [key for name, key in linked.items() if name not in wanted]
        if not (added or gone):
            return None, (locked.generation, list(wanted), modified_at)
        entry = Entry("traits.set", provider, (locked.id,), sorted(linked), sorted(wanted))
        change = Change(entry, traits_added=added, traits_gone=gone)
        return change, (Generation(locked.generation + 1), list(wanted), modified_at)

    request = ChangeRequest(provider, Part.TRAITS, generation, wanted, origin, decide)
    shown: tuple[Generation, Sequence[str], datetime | None] = services.providers.submit(request)
    return shown
