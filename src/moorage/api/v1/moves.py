"""Moves: ordered, advanced step by step, and looked at."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from moorage.api.call import Call, Reply
from moorage.api.errors import Problem
from moorage.api.v1.claims import (
    ALTERNATES_MAX,
    LEASE_S_MAX,
    SEARCH_REFUSALS,
    ExplanationAnswer,
    Held,
    Place,
    canonical,
    explanation_told,
    moment_told,
    place_told,
)
from moorage.api.v1.endpoints import (
    Command,
    Document,
    Endpoint,
    Parameter,
    parser_of,
    reply_with,
    uuid_in,
)
from moorage.api.v1.searches import Asked, Trees, Uuid, search_of
from moorage.api.wire import UUID, ConsumerType, OwnerId
from moorage.candidates.options import Preference
from moorage.candidates.request import CandidatesRequest
from moorage.domain import refusals
from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderUuid
from moorage.domain.move import MoveEvent, MoveKind, MoveState
from moorage.domain.move_record import MoveFilter, MoveOutcome, MoveRecord
from moorage.operations.advance_move import Stepping, advance_move, reschedule_move
from moorage.operations.list_moves import list_moves
from moorage.operations.make_claims import Claimant
from moorage.operations.move_places import PlaceSearch
from moorage.operations.open_move import MoveMade, MoveOrdering, open_move
from moorage.operations.show_move import show_move

MOVES_SHOWN: Final = 100
"""Moves of one page where the query names no other number."""

MOVES_SHOWN_MAX: Final = 1_000
"""Moves of one page at most."""

DEADLINE_S_MAX: Final = LEASE_S_MAX
"""Longest time for a move: as long as a lease."""


class MoveAsked(Command, frozen=True, kw_only=True):
    """A move; without ``request`` for the resources that the consumer holds.

    The owner is that of a consumer that is unshelved: the others have theirs.
    """

    consumer: Uuid
    kind: Literal["migrate", "resize", "live-migrate", "evacuate", "unshelve"]
    consumer_generation: Annotated[int, Meta(ge=0)] | None = None
    project_id: OwnerId | None = None
    user_id: OwnerId | None = None
    consumer_type: ConsumerType | None = None
    request: Asked | None = None
    trees: Trees | None = None
    strategy: Literal["first", "pack", "spread", "random"] = "first"
    alternates: Annotated[int, Meta(ge=0, le=ALTERNATES_MAX)] = 0
    deadline_s: Annotated[int, Meta(ge=1, le=DEADLINE_S_MAX)] | None = None


class StepAsked(Command, frozen=True, kw_only=True):
    """A step, from the generation of the move that the client has seen."""

    generation: Annotated[int, Meta(ge=1)]


class Outcome(Document, frozen=True, kw_only=True):
    """Why a move ended that no step of a client has ended."""

    reason: str
    explanation: ExplanationAnswer | None


class Move(Document, frozen=True, kw_only=True):
    """A move.

    ``source``: what the hold was given. ``destination`` and ``alternates``: as they were when the
    destination was claimed; null and none for moves that were observed.
    """

    uuid: str
    kind: str
    state: str
    generation: int
    consumer: str
    hold: str
    project_id: str | None
    user_id: str | None
    source: dict[str, Held]
    destination: Place | None
    alternates: tuple[Place, ...]
    deadline: str | None
    outcome: Outcome | None
    global_request_id: str | None
    created_at: str | None
    updated_at: str | None


class MoveAnswer(Document, frozen=True, kw_only=True):
    """A move after a request; ``repeated``: an earlier request like this one had done it."""

    move: Move
    repeated: bool


class MoveShown(Document, frozen=True, kw_only=True):
    """A move as it is."""

    move: Move


class MovesAnswer(Document, frozen=True, kw_only=True):
    """A page of moves, oldest first; ``marker`` of the next one, null if there is none."""

    moves: tuple[Move, ...]
    marker: str | None


MOVE_ASKED: Final = parser_of(MoveAsked)
STEP_ASKED: Final = parser_of(StepAsked)


def handle_open_move(call: Call) -> Reply:
    """Open a move."""
    uuid = uuid_in(call, "move_uuid")
    ordering = ordering_of(call, uuid, MOVE_ASKED.parse(call.body))
    return _reply_with(open_move(call.services, ordering, call.origin))


def ordering_of(call: Call, uuid: str, asked: MoveAsked) -> MoveOrdering:
    """The order that a body makes.

    Raises:
        Problem: the move has the uuid of its consumer; or it names an owner and must not, or the
            other way round; or its request cannot be read.
    """
    kind, consumer = MoveKind(asked.kind), ConsumerUuid(asked.consumer)
    if consumer.lower() == uuid.lower():  # some databases take both spellings for one consumer
        raise Problem(400, "The move needs a uuid of its own: that of its consumer is taken.")
    return MoveOrdering(
        uuid=MoveUuid(uuid),
        kind=kind,
        consumer=consumer,
        consumer_generation=asked.consumer_generation,
        owner=_owner_of(asked, kind, consumer),
        search=PlaceSearch(_search_of(call, asked), Preference(asked.strategy), asked.alternates),
        same_resources=asked.request is None,
        deadline_s=asked.deadline_s,
        digest=hashlib.sha256(canonical(asked)).hexdigest(),
    )


def _owner_of(asked: MoveAsked, kind: MoveKind, consumer: ConsumerUuid) -> Claimant | None:
    if kind.has_source:
        if (asked.project_id, asked.user_id, asked.consumer_type) != (None, None, None):
            raise Problem(400, "JSON does not validate: the consumer has an owner already")
        return None
    if asked.project_id is None or asked.user_id is None or asked.request is None:
        raise Problem(
            400, "JSON does not validate: to unshelve takes project_id, user_id and request"
        )
    return Claimant(consumer, asked.project_id, asked.user_id, asked.consumer_type)


def _search_of(call: Call, asked: MoveAsked) -> CandidatesRequest:
    if asked.request is not None:
        return search_of(call, asked.request, asked.trees)
    trees = asked.trees or Trees()
    return CandidatesRequest(
        (),
        trees_used=None if trees.use is None else frozenset(map(ProviderUuid, trees.use)),
        trees_avoided=frozenset(map(ProviderUuid, trees.avoid)),
    )


def _step(call: Call, event: MoveEvent) -> Reply:
    uuid = uuid_in(call, "move_uuid")
    generation = Generation(STEP_ASKED.parse(call.body).generation)
    return _reply_with(advance_move(call.services, Stepping(uuid, event, generation), call.origin))


def handle_start_move(call: Call) -> Reply:
    """Begin to move the consumer."""
    return _step(call, MoveEvent.START)


def handle_confirm_move(call: Call) -> Reply:
    """The consumer has arrived."""
    return _step(call, MoveEvent.CONFIRM)


def handle_revert_move(call: Call) -> Reply:
    """The consumer goes back."""
    return _step(call, MoveEvent.REVERT)


def handle_reschedule_move(call: Call) -> Reply:
    """Claim another destination."""
    uuid = uuid_in(call, "move_uuid")
    generation = Generation(STEP_ASKED.parse(call.body).generation)
    made = reschedule_move(call.services, uuid=uuid, generation=generation, origin=call.origin)
    return _reply_with(made)


def handle_show_move(call: Call) -> Reply:
    """A move as it is."""
    found = show_move(call.services, uuid_in(call, "move_uuid"))
    return reply_with(MoveShown(move=move_told(found)))


def handle_list_moves(call: Call) -> Reply:
    """A page of moves."""
    query = call.query()
    kind, state, is_open = query.last("kind"), query.last("state"), query.last("open")
    wanted = MoveFilter(
        consumer=query.last("consumer"),
        project_id=query.last("project_id"),
        kind=None if kind is None else MoveKind(kind),
        state=None if state is None else MoveState(state),
        is_open=None if is_open is None else is_open == "true",
    )
    most = min(int(query.last("limit") or MOVES_SHOWN), MOVES_SHOWN_MAX)
    page = list_moves(call.services, wanted, marker=query.last("marker"), most=most)
    moves = tuple(map(move_told, page.moves))
    return reply_with(MovesAnswer(moves=moves, marker=moves[-1].uuid if page.more else None))


def move_told(record: MoveRecord) -> Move:
    """A move as an answer has it."""
    plan = record.plan
    return Move(
        uuid=record.uuid,
        kind=record.kind.value,
        state=record.state.value,
        generation=record.generation,
        consumer=record.consumer,
        hold=record.hold,
        project_id=record.project_id,
        user_id=record.user_id,
        source={uuid: Held(resources=dict(amounts)) for uuid, amounts in record.source.items()},
        destination=None if plan is None else place_told(plan.destination),
        alternates=() if plan is None else tuple(map(place_told, plan.alternates)),
        deadline=moment_told(record.deadline),
        outcome=None if record.outcome is None else _outcome_told(record.outcome),
        global_request_id=record.global_request_id,
        created_at=moment_told(record.created_at),
        updated_at=moment_told(record.updated_at),
    )


def _outcome_told(outcome: MoveOutcome) -> Outcome:
    found = outcome.explanation
    return Outcome(
        reason=outcome.reason.value,
        explanation=None if found is None else explanation_told(found),
    )


def _reply_with(made: MoveMade) -> Reply:
    return reply_with(MoveAnswer(move=move_told(made.move), repeated=made.repeated))


def _one_of(names: type[MoveKind] | type[MoveState]) -> dict[str, Any]:
    return {"type": "string", "enum": [str(name.value) for name in names]}


def _step_endpoint(
    step: str,
    handler: Callable[[Call], Reply],
    summary: str,
    *further: type[refusals.Refusal],
) -> Endpoint:
    return Endpoint(
        f"{step}_move",
        "POST",
        f"/moves/{{move_uuid}}/{step}",
        "moorage:moves:update",
        handler,
        summary,
        body=StepAsked,
        answer=MoveAnswer,
        refusals=(
            refusals.UnknownMove,
            refusals.MoveIsObserved,
            refusals.MoveGenerationConflict,
            refusals.StepImpossible,
            *further,
        ),
    )


MOVES: Final = (
    Endpoint(
        "open_move",
        "PUT",
        "/moves/{move_uuid}",
        "moorage:moves:create",
        handle_open_move,
        "Give the source to a hold, find a destination and claim it. Safe to send again.",
        body=MoveAsked,
        answer=MoveAnswer,
        refusals=(
            *SEARCH_REFUSALS,
            refusals.NothingFits,
            refusals.MoveExists,
            refusals.NothingToMove,
            refusals.ConsumerHolds,
            refusals.ConsumerInMove,
            refusals.ConsumerGenerationConflict,
        ),
    ),
    Endpoint(
        "show_move",
        "GET",
        "/moves/{move_uuid}",
        "moorage:moves:show",
        handle_show_move,
        "A move, ordered or observed, open or over.",
        answer=MoveShown,
        refusals=(refusals.UnknownMove,),
    ),
    Endpoint(
        "list_moves",
        "GET",
        "/moves",
        "moorage:moves:list",
        handle_list_moves,
        "Moves, oldest first, a page at a time.",
        answer=MovesAnswer,
        parameters=(
            Parameter("consumer", "Only moves of this consumer.", UUID),
            Parameter(
                "project_id",
                "Only moves of this project's consumers.",
                {"type": "string", "minLength": 1, "maxLength": 255},
            ),
            Parameter("kind", "Only moves of this kind.", _one_of(MoveKind)),
            Parameter("state", "Only moves in this state.", _one_of(MoveState)),
            Parameter(
                "open",
                "Only moves that are open, or only those that are over.",
                {"type": "string", "enum": ["true", "false"]},
            ),
            Parameter("marker", "The move that ended the page before.", UUID),
            Parameter(
                "limit",
                f"At most so many moves, {MOVES_SHOWN_MAX} at most; {MOVES_SHOWN} where it is "
                "not given.",
                {"type": "string", "pattern": "^[1-9][0-9]{0,5}$"},
            ),
        ),
        refusals=(refusals.UnknownMove,),
    ),
    _step_endpoint("start", handle_start_move, "Begin to move the consumer."),
    _step_endpoint(
        "confirm",
        handle_confirm_move,
        "The consumer has arrived: drop the hold.",
        refusals.DestinationGone,
    ),
    _step_endpoint(
        "revert",
        handle_revert_move,
        "The consumer goes back: give it the source again.",
        refusals.SourceGone,
    ),
    _step_endpoint(
        "reschedule",
        handle_reschedule_move,
        "Claim another destination; where there is none, the move has failed and goes back.",
        refusals.SourceGone,
        refusals.NothingToMove,
        *SEARCH_REFUSALS,
    ),
)
