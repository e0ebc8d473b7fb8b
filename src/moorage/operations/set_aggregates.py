"""Set the aggregates of a provider."""

from collections.abc import Sequence

from moorage.domain.ids import Generation
from moorage.domain.origin import Origin
from moorage.operations.provider_changes import Change, ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services
from moorage.store.journal import Entry


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

    def decide(shelf: Shelf) -> Decision:
        locked, linked = shelf.provider, shelf.linked
        joined = sorted(wanted - linked.keys())
        kept = [key for uuid, key in linked.items() if uuid in wanted]
        left = [key for uuid, key in linked.items() if uuid not in wanted]
        raises = generation is not None
        after = Generation(locked.generation + raises)
        if not (raises or joined or left):
            return None, after
        entry = Entry("aggregates.set", provider, (locked.id,), sorted(linked), sorted(wanted))
        change = Change(entry, raises_generation=raises, joined=joined, kept=kept, left=left)
        return change, after

    request = ChangeRequest(provider, Part.AGGREGATES, generation, wanted, origin, decide)
    after: Generation = services.providers.submit(request)
    return after
