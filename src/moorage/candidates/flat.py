"""The fast path: one group, and every provider stands alone."""

from collections.abc import MutableSequence, Sequence

from moorage.candidates.groups import Slot
from moorage.candidates.request import Candidate
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ProviderUuid


def candidates_alone(
    snapshot: Snapshot, slot: Slot, providers: Sequence[int] | MutableSequence[int]
) -> Sequence[Candidate]:
    """One candidate for each provider, in their order, which serves the slot whole.

    The candidates share one mapping of amounts: nobody may change it.
    """
    amounts = {p.stock.resource_class: p.amount for p in slot.portions}
    candidates = []
    for index in providers:
        uuid = ProviderUuid(snapshot.uuids[index])
        allocations = {uuid: amounts} if amounts else {}
        candidates.append(Candidate(allocations, {slot.suffix: (uuid,)}))
    return candidates
