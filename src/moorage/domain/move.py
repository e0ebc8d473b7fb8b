"""Moves: a consumer on its way from a source to a destination, and the states that it can be in.

While a move is open its *hold* keeps the source, so that the consumer can go back, and the consumer
itself claims the destination. Which event leads from which state to which is a table, so that what
is legal can be read, drawn and tested without running anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderId, ResourceClassId


class MoveState(StrEnum):
    """How far a move is."""

    SWAPPED = "swapped"
    """The hold has all that the consumer had; the consumer holds nothing."""
    CLAIMED = "claimed"
    """The hold has the source, the consumer a destination."""
    CONFIRMED = "confirmed"
    """The consumer has the destination, and nothing is left of the hold."""
    REVERTED = "reverted"
    """The consumer has what the hold had, as before the move."""
    ABANDONED = "abandoned"
    """It led nowhere: nobody has the destination, or the consumer was moved anew."""

    @property
    def is_open(self) -> bool:
        """Whether the hold may still hold something."""
        return self in (MoveState.SWAPPED, MoveState.CLAIMED)


class MoveEvent(StrEnum):
    """What can happen to a move through the API of allocations."""

    SWAP = "swap"
    """One request empties a consumer and gives a new one exactly what it held."""
    CLAIM = "claim"
    """The consumer is given allocations."""
    EMPTY = "empty"
    """The consumer's allocations are dropped."""
    DROP_HOLD = "drop hold"
    """The hold's allocations are dropped, the consumer's stay."""
    GIVE_BACK = "give back"
    """One request empties the hold and gives the consumer exactly what it held."""
    SWAP_AGAIN = "swap again"
    """The consumer's allocations go to another new consumer."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table; ``before`` of None is where a move begins."""

    before: MoveState | None
    event: MoveEvent
    after: MoveState


TRANSITIONS: Final = (
    Transition(None, MoveEvent.SWAP, MoveState.SWAPPED),
    Transition(MoveState.SWAPPED, MoveEvent.CLAIM, MoveState.CLAIMED),
    Transition(MoveState.SWAPPED, MoveEvent.GIVE_BACK, MoveState.REVERTED),
    Transition(MoveState.SWAPPED, MoveEvent.DROP_HOLD, MoveState.ABANDONED),
    Transition(MoveState.SWAPPED, MoveEvent.SWAP_AGAIN, MoveState.ABANDONED),
    Transition(MoveState.CLAIMED, MoveEvent.CLAIM, MoveState.CLAIMED),
    Transition(MoveState.CLAIMED, MoveEvent.EMPTY, MoveState.SWAPPED),
    Transition(MoveState.CLAIMED, MoveEvent.DROP_HOLD, MoveState.CONFIRMED),
    Transition(MoveState.CLAIMED, MoveEvent.GIVE_BACK, MoveState.REVERTED),
    Transition(MoveState.CLAIMED, MoveEvent.SWAP_AGAIN, MoveState.ABANDONED),
)
"""Every step that there is."""

_AFTER: Final = {(step.before, step.event): step.after for step in TRANSITIONS}


def state_after(before: MoveState | None, event: MoveEvent) -> MoveState:
    """Where an event leads; it must be one that can happen in this state."""
    return _AFTER[before, event]


@dataclass(frozen=True, slots=True)
class Move:
    """One move as decisions see it.

    ``credited``: what the consumer claims is known to belong to the move, so that what it has in
    common with the hold counts once: ``credits``, units by slot. ``source``: what the hold was
    given, known while the move is being opened. ``generation`` grows with every change of either
    consumer. ``id`` is None for one not stored yet.
    """

    id: int | None
    uuid: MoveUuid
    state: MoveState
    consumer: ConsumerUuid
    hold: ConsumerUuid
    global_request_id: str | None
    opened_at: datetime
    generation: Generation
    credited: bool = False
    credits: Mapping[tuple[ProviderId, ResourceClassId], int] = field(default_factory=dict)
    source: Mapping[tuple[ProviderId, ResourceClassId], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MoveRules:
    """What the operator configured: whether moves of others are observed.

    ``window_s``: how long after a swap a claim by a client that sends no request id belongs to it.
    """

    observe: bool = True
    window_s: int = 600


DEFAULT_MOVE_RULES: Final = MoveRules()


@dataclass(frozen=True, slots=True)
class Observer:
    """Who looks at a request for signs of moves: the rules, and what the request says of itself.

    ``new_uuid`` names a move that begins.
    """

    rules: MoveRules
    global_request_id: str | None
    at: datetime
    new_uuid: Callable[[], MoveUuid]

    def claims_for(self, move: Move) -> bool:
        """Whether a claim of the move's consumer in this request belongs to the move.

        One user action has one global request id, and carries it through all services. From a
        client that sends none, only the time can tell: the same consumer may be claimed for
        again much later, and for something else.
        """
        if not self.rules.observe:
            return False
        if move.global_request_id is not None or self.global_request_id is not None:
            return move.global_request_id == self.global_request_id
        return self.at - move.opened_at <= timedelta(seconds=self.rules.window_s)
