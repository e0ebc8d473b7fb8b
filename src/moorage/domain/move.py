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


class MoveKind(StrEnum):
    """What a move is for: the first was made out from allocations, the others were ordered."""

    OBSERVED = "observed"
    MIGRATE = "migrate"
    RESIZE = "resize"
    LIVE_MIGRATE = "live-migrate"
    EVACUATE = "evacuate"
    UNSHELVE = "unshelve"

    @property
    def is_ordered(self) -> bool:
        """Whether a client ordered the move as such."""
        return self is not MoveKind.OBSERVED

    @property
    def has_source(self) -> bool:
        """Whether the consumer comes from somewhere; one that was shelved holds nothing."""
        return self is not MoveKind.UNSHELVE

    @property
    def may_stay(self) -> bool:
        """Whether the destination may be around the source's own root."""
        return self in (MoveKind.RESIZE, MoveKind.UNSHELVE)


class MoveState(StrEnum):
    """How far a move is."""

    SWAPPED = "swapped"
    """The hold has all that the consumer had; the consumer holds nothing."""
    CLAIMED = "claimed"
    """The hold has the source, the consumer a destination."""
    STARTED = "started"
    """The same, and whoever moves the consumer has begun to: nothing goes back by itself."""
    CONFIRMED = "confirmed"
    """The consumer has the destination, and nothing is left of the hold."""
    REVERTED = "reverted"
    """The consumer has what the hold had, as before the move."""
    FAILED = "failed"
    """No further destination was found, and the consumer has what the hold had."""
    ABANDONED = "abandoned"
    """It led nowhere: nobody has the destination, or the consumer was moved anew."""

    @property
    def is_open(self) -> bool:
        """Whether the hold may still hold something."""
        return self in (MoveState.SWAPPED, MoveState.CLAIMED, MoveState.STARTED)

    @property
    def has_destination(self) -> bool:
        """Whether the move is open and the consumer holds something."""
        return self in (MoveState.CLAIMED, MoveState.STARTED)


class MoveEvent(StrEnum):
    """What can happen to a move: through the API of allocations, and as a step of its own."""

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
    """The consumer's allocations go to another new consumer; an ordered move's hold is dropped."""
    OPEN = "open"
    """A move is ordered: the hold is given the source, and a destination is found and claimed."""
    START = "start"
    """Whoever moves the consumer begins to."""
    RESCHEDULE = "reschedule"
    """Another destination is claimed instead of the one there was."""
    CONFIRM = "confirm"
    """The consumer has arrived: the hold is dropped."""
    REVERT = "revert"
    """The consumer goes back: it is given what the hold has, and the hold is dropped."""
    GIVE_UP = "give up"
    """No further destination was found: the consumer goes back."""
    DEADLINE = "deadline"
    """The deadline is over, and nobody has begun: the consumer goes back."""
    CLEAN_UP = "clean up"
    """The consumer was deleted: the hold is dropped."""


class Guard(StrEnum):
    """What must be so for a step, beside the state."""

    SOURCE_THERE = "source there"
    """All providers and inventories that the hold holds of still exist."""
    DESTINATION_THERE = "destination there"
    """The consumer holds something, and all that it holds of still exist."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table; ``before`` of None is where a move begins."""

    before: MoveState | None
    event: MoveEvent
    after: MoveState
    guard: Guard | None = None


THROUGH_ALLOCATIONS: Final = (
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
    Transition(MoveState.STARTED, MoveEvent.CLAIM, MoveState.STARTED),
    Transition(MoveState.STARTED, MoveEvent.EMPTY, MoveState.SWAPPED),
    Transition(MoveState.STARTED, MoveEvent.DROP_HOLD, MoveState.CONFIRMED),
    Transition(MoveState.STARTED, MoveEvent.GIVE_BACK, MoveState.REVERTED),
    Transition(MoveState.STARTED, MoveEvent.SWAP_AGAIN, MoveState.ABANDONED),
)
"""What the API of allocations does to moves, observed and ordered ones."""

ORDERED: Final = (
    Transition(None, MoveEvent.OPEN, MoveState.CLAIMED),
    Transition(MoveState.CLAIMED, MoveEvent.START, MoveState.STARTED),
    Transition(MoveState.CLAIMED, MoveEvent.RESCHEDULE, MoveState.CLAIMED),
    Transition(MoveState.STARTED, MoveEvent.RESCHEDULE, MoveState.CLAIMED),
    Transition(MoveState.STARTED, MoveEvent.CONFIRM, MoveState.CONFIRMED, Guard.DESTINATION_THERE),
    Transition(MoveState.CLAIMED, MoveEvent.REVERT, MoveState.REVERTED, Guard.SOURCE_THERE),
    Transition(MoveState.STARTED, MoveEvent.REVERT, MoveState.REVERTED, Guard.SOURCE_THERE),
    Transition(MoveState.CLAIMED, MoveEvent.GIVE_UP, MoveState.FAILED, Guard.SOURCE_THERE),
    Transition(MoveState.STARTED, MoveEvent.GIVE_UP, MoveState.FAILED, Guard.SOURCE_THERE),
    Transition(MoveState.CLAIMED, MoveEvent.DEADLINE, MoveState.REVERTED, Guard.SOURCE_THERE),
    Transition(MoveState.SWAPPED, MoveEvent.CLEAN_UP, MoveState.ABANDONED),
)
"""The steps of moves that were ordered."""

TRANSITIONS: Final = (*THROUGH_ALLOCATIONS, *ORDERED)
"""Every step that there is."""

_ROWS: Final = {(step.before, step.event): step for step in TRANSITIONS}


def state_after(before: MoveState | None, event: MoveEvent) -> MoveState:
    """Where an event leads; it must be one that can happen in this state."""
    return _ROWS[before, event].after


def find_transition(before: MoveState, event: MoveEvent) -> Transition | None:
    """The row of the table for an event in a state; None: it cannot happen there."""
    return _ROWS.get((before, event))


CLIENT_STEPS: Final = (
    MoveEvent.START,
    MoveEvent.CONFIRM,
    MoveEvent.REVERT,
    MoveEvent.RESCHEDULE,
)
"""The steps that a client makes; all others are the service's own."""


def steps_from(state: MoveState) -> tuple[MoveEvent, ...]:
    """The steps that a client can make in a state."""
    return tuple(step for step in CLIENT_STEPS if (state, step) in _ROWS)


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
    kind: MoveKind = MoveKind.OBSERVED


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
