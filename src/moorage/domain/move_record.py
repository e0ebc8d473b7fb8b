"""Moves as they are kept: how far they are, and what their orders say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from moorage.domain.explanation import Explanation
from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderUuid
from moorage.domain.made_claim import Placing, Resources
from moorage.domain.move import Move, MoveEvent, MoveKind, MoveState


class Reason(StrEnum):
    """Why a move ended that no client's step has ended."""

    NOTHING_FITS = "nothing_fits"
    OVERDUE = "overdue"
    CONSUMER_DELETED = "consumer_deleted"
    MOVED_ANEW = "moved_anew"


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """How a move came to its end; ``explanation``: why nothing fitted."""

    reason: Reason
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class MovePlan:
    """Where a move goes, and where it could go besides.

    ``alternates`` were free when the destination was claimed; nothing keeps them. ``tried``: the
    providers of the destinations that it had before.
    """

    destination: Placing
    alternates: tuple[Placing, ...] = ()
    tried: tuple[ProviderUuid, ...] = ()


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """One move, open or over.

    ``source``: what the hold was given. ``plan``, ``digest`` and ``search`` are None for moves that
    were observed; ``search`` is what a further destination is looked for by, as JSON has it.
    ``due_at`` is the deadline as long as nobody has been told that it is over. ``last_step`` led to
    ``step_generation``. Moments are naive UTC.
    """

    id: int
    uuid: MoveUuid
    kind: MoveKind
    state: MoveState
    consumer: ConsumerUuid
    hold: ConsumerUuid
    generation: Generation
    global_request_id: str | None
    project_id: str | None
    user_id: str | None
    source: Resources
    digest: str | None
    search: Mapping[str, Any] | None
    plan: MovePlan | None
    last_step: str | None
    step_generation: int | None
    deadline: datetime | None
    due_at: datetime | None
    outcome: MoveOutcome | None
    created_at: datetime
    updated_at: datetime

    @property
    def move(self) -> Move:
        """The move as steps are decided on, but for its credits."""
        return Move(
            id=self.id,
            uuid=self.uuid,
            state=self.state,
            consumer=self.consumer,
            hold=self.hold,
            global_request_id=self.global_request_id,
            opened_at=self.created_at,
            generation=self.generation,
            kind=self.kind,
        )

    def has_made(self, step: MoveEvent, generation: Generation) -> bool:
        """Whether this very step was the last thing that happened to the move."""
        return (
            self.last_step == step.value
            and self.step_generation == self.generation
            and self.generation == generation + 1
        )


@dataclass(frozen=True, slots=True)
class MoveFilter:
    """Which moves a list is of; what is None does not matter."""

    consumer: str | None = None
    project_id: str | None = None
    kind: MoveKind | None = None
    state: MoveState | None = None
    is_open: bool | None = None
