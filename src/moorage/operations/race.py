"""The rounds of one request that looks for places while others take what it finds."""

import time
from dataclasses import dataclass, field
from typing import Final

from moorage.candidates.snapshot import Snapshot
from moorage.coherence.keeper import Keeper
from moorage.domain.ids import ProviderUuid
from moorage.domain.refusals import (
    CapacityExceeded,
    ConsumerGenerationConflict,
    ConsumerHolds,
    InventoryMissing,
    StoreUnavailable,
    UnitsViolated,
    UnknownAllocationProvider,
)
from moorage.store.transaction import RETRY_AFTER_S

WAYS_FIRST: Final = 2
WAYS_MAX: Final = 32
"""Places that are offered to one transaction: few at first, twice as many after each race lost."""

RACE_S_MAX: Final = 30.0
"""How long a request goes on looking while others take what it finds."""

NoRoom = CapacityExceeded | InventoryMissing | UnitsViolated | UnknownAllocationProvider
"""What a place is refused for that says nothing about the others."""

NO_ROOM: Final = (CapacityExceeded, InventoryMissing, UnitsViolated, UnknownAllocationProvider)
"""The same, to be caught."""


@dataclass(slots=True)
class Race:
    """What one request has learned in the rounds that it lost.

    Each round offers places of the newest snapshot, ``ways_max`` of them at most. If all are
    refused, somebody was faster, and the next snapshot shows it. One that does not show it is
    untrue: somebody has changed the database past the journal. Then all of it is read anew, so that
    the request ends with a place or with the knowledge that there is none.
    """

    keeper: Keeper
    ways_max: int = WAYS_FIRST
    _deadline_s: float = field(default_factory=lambda: time.monotonic() + RACE_S_MAX)
    _seen: Snapshot | None = None
    _read_anew: Snapshot | None = None
    _refusal: NoRoom | None = None
    _hidden: tuple[str, int | None] | None = None

    def look(self) -> Snapshot:
        """The snapshot for the next round.

        Raises:
            Refusal: of the round before, if nothing has changed since that could mend it.
        """
        snapshot = self.keeper.current()
        refusal, self._refusal = self._refusal, None
        if refusal is not None and (snapshot is self._seen or is_denied(snapshot, refusal)):
            if snapshot is self._read_anew:
                raise refusal
            snapshot = self._read_anew = self.keeper.read_anew(snapshot)
        self._seen = snapshot
        return snapshot

    def lose(self, refusal: NoRoom) -> None:
        """Note that all the places of a round were refused, the last one so."""
        self._refusal = refusal
        self.ways_max = min(2 * self.ways_max, WAYS_MAX)

    def find_hidden(self, conflict: ConsumerGenerationConflict) -> None:
        """Note that a round was refused since a consumer holds something which no reader shows.

        That has gone in the meantime, or it is on providers that are gone.

        Raises:
            ConsumerHolds: the round before was refused for the same.
        """
        found = conflict.consumer, conflict.expected
        if conflict.expected is not None and found == self._hidden:
            raise ConsumerHolds(conflict.consumer, conflict.expected)
        self._hidden = found

    def check_time(self) -> None:
        """See whether there is time for another round.

        Raises:
            StoreUnavailable: others were faster all the time.
        """
        if time.monotonic() > self._deadline_s:
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S)


def is_denied(snapshot: Snapshot, refusal: NoRoom) -> bool:
    """Whether a snapshot shows a provider or an inventory that a refusal says does not exist."""
    if isinstance(refusal, UnknownAllocationProvider):
        return snapshot.positions.get(refusal.uuid) is not None
    if isinstance(refusal, InventoryMissing):
        # It may name several providers, which have none of the classes.
        positions = map(snapshot.positions.get, map(ProviderUuid, refusal.provider.split(", ")))
        return any(
            name in snapshot.resources_of(position)
            for position in positions
            if position is not None
            for name in refusal.resource_classes
        )
    return False
