"""What is free for a request that has begun moves: the parts of pools that they already have."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from moorage.candidates.request import CandidatesRequest
from moorage.candidates.rows import UsageRow
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import MoveUuid
from moorage.domain.ledger import Slot
from moorage.operations.services import Services
from moorage.store.moves import read_swapped_holds

MOVES_MAX: Final = 500
"""Moves of one request that a search looks at, the youngest; a caller may give many one id."""


def free_for_moves(
    services: Services,
    snapshot: Snapshot,
    request: CandidatesRequest,
    moves: Collection[MoveUuid],
) -> Snapshot:
    """The snapshot with what one of these moves has on sharing providers as free.

    A search does not say which consumer it is for, so that of several moves those count that have
    as much as is asked for, if there are such. This is advice: the claim is exact.
    """
    holds = read_swapped_holds(services.store, list(moves)[-MOVES_MAX:])
    if not holds:
        return snapshot
    asked: Counter[str] = Counter()
    for group in request.groups:
        asked.update(dict(group.resources))
    alike = [held for held in holds.values() if amounts_by_class(snapshot, held) == asked]
    sharing = set(snapshot.ids[snapshot.sharing].tolist())
    free: dict[Slot, int] = {}
    for held in alike or holds.values():
        for slot, amount in held.items():
            if slot[0] in sharing:
                free[slot] = max(amount, free.get(slot, 0))
    return snapshot.with_usages(
        UsageRow(provider, class_id, max(0, used_of(snapshot, (provider, class_id)) - amount))
        for (provider, class_id), amount in free.items()
    )


def amounts_by_class(snapshot: Snapshot, held: Mapping[Slot, int]) -> Mapping[str, int]:
    """What is held of each class, on all providers together."""
    amounts: Counter[str] = Counter()
    for (_, class_id), amount in held.items():
        amounts[snapshot.class_names.get(class_id, "")] += amount
    return amounts


def used_of(snapshot: Snapshot, slot: Slot) -> int:
    """What is in use of an inventory; 0 where there is none."""
    position = snapshot.positions_by_id.get(slot[0])
    if position is None:
        return 0
    _, used = snapshot.resources_of(position).get(snapshot.class_names[slot[1]], (0, 0))
    return used
