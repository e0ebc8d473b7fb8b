"""Set the aggregates of a provider."""

from collections.abc import Sequence

from moorage.domain.ids import Generation
from moorage.domain.origin import Origin
from moorage.domain.refusals import ProviderGenerationConflict, UnknownProvider
from moorage.operations.services import Services
from moorage.store.associations import link_aggregates, lock_with_aggregates
from moorage.store.journal import Entry, write_journal
from moorage.store.names import ensure_aggregates
from moorage.store.providers import bump_generations
from moorage.store.transaction import Transaction


def set_aggregates(
    services: Services,
    *,
    provider: str,
    aggregates: Sequence[str],
    generation: int | None,
    origin: Origin,
) -> Generation:
    """Put a provider into exactly these aggregates; those that are new come into being.

    Args:
        generation: what the client read; None (before 1.19): it is neither checked nor raised.
    Returns:
        The provider's generation after the change.
    Raises:
        UnknownProvider, ProviderGenerationConflict
    """
    wanted = set(aggregates)

    def attempt(tx: Transaction) -> Generation:
        locked, linked = lock_with_aggregates(tx, provider)
        if locked is None:
            raise UnknownProvider(provider)
        if generation is not None and generation != locked.generation:
            raise ProviderGenerationConflict(provider, locked.generation, generation)
        kept = {key for uuid, key in linked.items() if uuid in wanted}
        # Two spellings may be one aggregate to the database.
        kept_or_new = kept.union(
            ensure_aggregates(tx, sorted(wanted - linked.keys()), at=origin.at).values()
        )
        added = sorted(kept_or_new.difference(linked.values()))
        gone = [key for key in linked.values() if key not in kept_or_new]
        link_aggregates(tx, locked.id, added=added, gone=gone, at=origin.at)
        if generation is not None:
            bump_generations(tx, {locked.id: 1}, at=origin.at)
        if generation is not None or added or gone:
            entry = Entry("aggregates.set", provider, (locked.id,), sorted(linked), sorted(wanted))
            write_journal(tx, [entry], origin)
        return Generation(locked.generation + (generation is not None))

    return services.store.run(attempt)
