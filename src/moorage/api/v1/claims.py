"""Claims: find places for consumers and claim them, in one step; or say why there are none."""

import hashlib
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from moorage.api.call import Call, Reply
from moorage.api.errors import Problem
from moorage.api.v1.endpoints import (
    Command,
    Document,
    Endpoint,
    parser_of,
    reply_with,
    uuid_in,
)
from moorage.api.v1.searches import Asked, Trees, Uuid, search_of
from moorage.api.wire import ConsumerType, OwnerId
from moorage.candidates.gang import Gang, Relation
from moorage.candidates.options import Preference
from moorage.domain import refusals
from moorage.domain.explanation import Explanation
from moorage.domain.ids import ConsumerUuid
from moorage.domain.made_claim import Placing, StandingClaim
from moorage.operations.explain_search import explain_search
from moorage.operations.make_claims import Claimant, ClaimOrder, make_claims
from moorage.operations.standing_claims import show_claim

CONSUMERS_MAX: Final = 100
"""Consumers of one claim."""

ALTERNATES_MAX: Final = 100
"""Further places that one consumer may be told."""

LEASE_S_MAX: Final = 30 * 24 * 3600
"""Longest lease: thirty days."""

LeaseSeconds = Annotated[int, Meta(ge=1, le=LEASE_S_MAX)]


class ConsumerAsking(Command, frozen=True, kw_only=True):
    """A consumer that holds nothing yet, and what it asks for; by default what all ask for."""

    uuid: Uuid
    project_id: OwnerId
    user_id: OwnerId
    consumer_type: ConsumerType | None = None
    request: Asked | None = None
    trees: Trees | None = None


class ClaimsAsked(Command, frozen=True, kw_only=True):
    """Claims that are all made, or none of them."""

    consumers: Annotated[tuple[ConsumerAsking, ...], Meta(min_length=1, max_length=CONSUMERS_MAX)]
    request: Asked | None = None
    trees: Trees | None = None
    strategy: Literal["first", "pack", "spread", "random"] = "first"
    relation: Literal["none", "affinity", "anti-affinity"] = "none"
    alternates: Annotated[int, Meta(ge=0, le=ALTERNATES_MAX)] = 0
    expires_in_s: LeaseSeconds | None = None


class Held(Document, frozen=True, kw_only=True):
    """What is held on one provider, in units by class."""

    resources: dict[str, int]


class Place(Document, frozen=True, kw_only=True):
    """One way to serve a request: what of which provider, and which providers for which group."""

    allocations: dict[str, Held]
    mappings: dict[str, tuple[str, ...]]


class Claim(Document, frozen=True, kw_only=True):
    """What a consumer holds by a claim; ``expires_at`` (UTC) is null where it need not be renewed.

    The alternates were free when the claim was made; nothing keeps them.
    """

    consumer: str
    generation: int
    allocations: dict[str, Held]
    mappings: dict[str, tuple[str, ...]]
    alternates: tuple[Place, ...]
    expires_at: str | None


class ClaimsAnswer(Document, frozen=True, kw_only=True):
    """The claims, in the order asked; ``repeated``: an earlier request like this one made them."""

    claims: tuple[Claim, ...]
    repeated: bool


class ConsumerAnswer(Document, frozen=True, kw_only=True):
    """What a consumer holds.

    ``claim`` is null where its allocations were made or changed otherwise than by a claim.
    """

    consumer: str
    generation: int
    project_id: str
    user_id: str
    consumer_type: str | None
    allocations: dict[str, Held]
    claim: Claim | None


class SearchAsked(Command, frozen=True, kw_only=True):
    """A request, to be explained instead of claimed."""

    request: Asked
    trees: Trees | None = None


class ExplanationStep(Document, frozen=True, kw_only=True):
    """How many of the roots left so far a constraint takes away; ``group`` null: the whole."""

    constraint: str
    group: str | None
    asked: str
    eliminated: int
    left: int


class ExplanationAnswer(Document, frozen=True, kw_only=True):
    """All roots, and what each constraint in turn leaves of them."""

    roots: int
    steps: tuple[ExplanationStep, ...]
    left: int


CLAIMS_ASKED: Final = parser_of(ClaimsAsked)
SEARCH_ASKED: Final = parser_of(SearchAsked)
canonical = msgspec.json.Encoder(order="sorted").encode
"""A body in the one form that does not depend on the order of its members."""


def handle_make_claims(call: Call) -> Reply:
    """Find places for consumers and claim them."""
    asked = CLAIMS_ASKED.parse(call.body)
    made = make_claims(call.services, order_of(call, asked), call.origin)
    claims = tuple(map(claim_told, made.claims))
    return reply_with(ClaimsAnswer(claims=claims, repeated=made.repeated))


def order_of(call: Call, asked: ClaimsAsked) -> ClaimOrder:
    """The order that a body makes.

    Raises:
        Problem: a consumer asks for nothing, or asks twice; or its request cannot be read.
    """
    members, claimants = [], {}
    searches = {}
    for one in asked.consumers:
        request = asked.request if one.request is None else one.request
        if request is None:
            raise Problem(400, f"JSON does not validate: consumer {one.uuid} has no request")
        trees = asked.trees if one.trees is None else one.trees
        key = canonical((request, trees))
        if key not in searches:
            searches[key] = search_of(call, request, trees)
        members.append(searches[key])
        uuid = ConsumerUuid(one.uuid)
        claimants[uuid] = Claimant(uuid, one.project_id, one.user_id, one.consumer_type)
    if len(claimants) < len(members):
        raise Problem(400, "JSON does not validate: a consumer is named twice")
    return ClaimOrder(
        claimants=tuple(claimants.values()),
        gang=Gang(tuple(members), Preference(asked.strategy), Relation(asked.relation)),
        alternates=asked.alternates,
        lease_s=asked.expires_in_s,
        digest=hashlib.sha256(canonical(asked)).hexdigest(),
    )


def handle_show_claim(call: Call) -> Reply:
    """What a consumer holds, and by which claim."""
    standing = show_claim(call.services, uuid_in(call, "consumer_uuid"))
    held, record = standing.held, standing.record
    claim = None
    if record is not None:
        claim = claim_told(
            StandingClaim(
                held.consumer,
                held.generation,
                record.placing,
                record.alternates,
                standing.expires_at,
            )
        )
    answer = ConsumerAnswer(
        consumer=held.consumer,
        generation=held.generation,
        project_id=held.project_id,
        user_id=held.user_id,
        consumer_type=held.consumer_type,
        allocations={
            uuid: Held(resources=dict(amounts)) for uuid, (_, amounts) in held.resources.items()
        },
        claim=claim,
    )
    return reply_with(answer)


def handle_explain_search(call: Call) -> Reply:
    """How many roots each constraint of a request leaves."""
    asked = SEARCH_ASKED.parse(call.body)
    found = explain_search(call.services, search_of(call, asked.request, asked.trees))
    return reply_with(explanation_told(found))


def explanation_told(found: Explanation) -> ExplanationAnswer:
    """An explanation as an answer has it."""
    steps = tuple(
        ExplanationStep(
            constraint=step.constraint,
            group=step.group,
            asked=step.asked,
            eliminated=step.eliminated,
            left=step.left,
        )
        for step in found.steps
    )
    return ExplanationAnswer(roots=found.roots, steps=steps, left=found.left)


def claim_told(claim: StandingClaim) -> Claim:
    """A claim as an answer has it."""
    place = place_told(claim.placing)
    return Claim(
        consumer=claim.consumer,
        generation=claim.generation,
        allocations=place.allocations,
        mappings=place.mappings,
        alternates=tuple(map(place_told, claim.alternates)),
        expires_at=moment_told(claim.expires_at),
    )


def moment_told(moment: datetime | None) -> str | None:
    """A moment (naive UTC) as an answer has it."""
    return None if moment is None else f"{moment.isoformat()}Z"


def place_told(placing: Placing) -> Place:
    """A place as an answer has it."""
    return Place(
        allocations={
            uuid: Held(resources=dict(amounts)) for uuid, amounts in placing.allocations.items()
        },
        mappings={suffix: tuple(uuids) for suffix, uuids in placing.mappings.items()},
    )


SEARCH_REFUSALS: Final = (
    refusals.UnknownResourceClass,
    refusals.UnknownTraits,
    refusals.LimitExceeded,
    refusals.SearchTooHard,
)
"""What a request for resources may be refused for by itself."""

CLAIMS: Final = (
    Endpoint(
        "make_claims",
        "POST",
        "/claims",
        "moorage:claims:create",
        handle_make_claims,
        "Find places for one or several consumers and claim them, all or none.",
        body=ClaimsAsked,
        answer=ClaimsAnswer,
        refusals=(
            *SEARCH_REFUSALS,
            refusals.ConsumerNamedTwice,
            refusals.NothingFits,
            refusals.ConsumerHolds,
        ),
    ),
    Endpoint(
        "show_claim",
        "GET",
        "/claims/{consumer_uuid}",
        "moorage:claims:show",
        handle_show_claim,
        "What a consumer holds, and by which claim.",
        answer=ConsumerAnswer,
        refusals=(refusals.UnknownConsumer,),
    ),
    Endpoint(
        "explain_search",
        "POST",
        "/explanations",
        "moorage:claims:explain",
        handle_explain_search,
        "How many roots each constraint of a request leaves, one after the other.",
        body=SearchAsked,
        answer=ExplanationAnswer,
        refusals=SEARCH_REFUSALS,
    ),
)
