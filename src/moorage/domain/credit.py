"""Credits: what the two consumers of a move have in common on sharing providers counts once.

A disk on a shared pool stays where it is while its instance moves from host to host. Both
consumers of the move hold it, and both are shown to, but the pool gives it out once: the usage of
an inventory is the sum of its allocations less the credits. On a provider that does not share,
source and destination are different things even if they have one name: nothing is credited.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from moorage.domain.ids import ProviderId
from moorage.domain.ledger import Slot


def credits_of(
    mover: Mapping[Slot, int], hold: Mapping[Slot, int], sharing: Collection[ProviderId]
) -> dict[Slot, int]:
    """What two consumers of one move have in common on sharing providers, in units by slot."""
    return {
        slot: min(amount, hold[slot])
        for slot, amount in mover.items()
        if slot in hold and slot[0] in sharing
    }


def footprint_of(
    mover: Mapping[Slot, int], hold: Mapping[Slot, int], credited: Mapping[Slot, int]
) -> dict[Slot, int]:
    """What a move really takes of each slot: both holdings, the credited part once."""
    total: Counter[Slot] = Counter(mover)
    total.update(hold)
    total.subtract(credited)
    return dict(total)
