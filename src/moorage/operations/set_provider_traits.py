"""Set the traits of a provider."""

from collections.abc import Sequence
from datetime import datetime

from moorage.domain.ids import Generation
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    ProviderGenerationConflict,
    UnknownProvider,
    UnknownTraits,
)
from moorage.operations.services import Services
from moorage.store.associations import link_traits, lock_with_traits
from moorage.store.journal import Entry, write_journal
from moorage.store.names import keep_traits
from moorage.store.providers import bump_generations
from moorage.store.transaction import Transaction


def set_provider_traits(
    services: Services, *, provider: str, generation: int, traits: Sequence[str], origin: Origin
) -> tuple[Generation, Sequence[str], datetime | None]:
    """Give a provider exactly these traits; its generation grows where that changes something.

    Returns:
        The generation, the traits, and when one of them last changed.
    Raises:
        UnknownProvider, ProviderGenerationConflict, UnknownTraits
    """
    wanted = dict.fromkeys(traits)
    return services.store.run(
        lambda tx: change_provider_traits(tx, provider, generation, wanted, origin)
    )


def change_provider_traits(
    tx: Transaction, provider: str, generation: int | None, traits: dict[str, None], origin: Origin
) -> tuple[Generation, Sequence[str], datetime | None]:
    """Set the traits in an open transaction; a generation of None is not checked."""
    locked, linked = lock_with_traits(tx, provider)
    if locked is None:
        raise UnknownProvider(provider)
    if generation is not None and generation != locked.generation:
        raise ProviderGenerationConflict(provider, locked.generation, generation)
    found = keep_traits(tx, traits)
    unknown = tuple(name for name in traits if name not in found)
    if unknown:
        raise UnknownTraits(unknown)
    added = sorted(trait.id for name, trait in found.items() if name not in linked)
    gone = [key for name, key in linked.items() if name not in found]
    if added or gone:
        link_traits(tx, locked.id, added=added, gone=gone, at=origin.at)
        bump_generations(tx, {locked.id: 1}, at=origin.at)
        entry = Entry("traits.set", provider, (locked.id,), sorted(linked), sorted(found))
        write_journal(tx, [entry], origin)
    after = Generation(locked.generation + bool(added or gone))
    ages = [trait.modified_at for trait in found.values() if trait.modified_at is not None]
    return after, list(found), max(ages, default=None)
