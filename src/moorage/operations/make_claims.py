"""Find places for consumers and claim them, in one step that others cannot come between."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import numpy as np

from moorage.candidates.answer import Candidate
from moorage.candidates.explain import explain
from moorage.candidates.gang import Gang, Placement, Placements, Stuck, find_alternates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.claim import ConsumerClaim
from moorage.domain.ids import ConsumerUuid
from moorage.domain.made_claim import Placing, StandingClaim
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    ConsumerGenerationConflict,
    ConsumerHolds,
    NothingFits,
)
from moorage.operations.claim_queue import Accepted, ClaimRequest
from moorage.operations.claim_record import ClaimRecord
from moorage.operations.race import NO_ROOM, Race
from moorage.operations.services import Services
from moorage.operations.standing_claims import read_standing_claims
from moorage.store.journal import Entry
from moorage.store.made_claims import MADE_KIND


@dataclass(frozen=True, slots=True)
class Claimant:
    """Whom a claim is for."""

    consumer: ConsumerUuid
    project_id: str
    user_id: str
    consumer_type: str | None


@dataclass(frozen=True, slots=True)
class ClaimOrder:
    """Consumers that hold nothing yet, and what they ask for; all get it, or none.

    ``gang`` has a request for each claimant. ``alternates``: how many further places are told for
    each. ``lease_s``: seconds after which the allocations are freed; None: never. ``digest`` is
    equal for equal orders, so that one which is sent again is known.
    """

    claimants: tuple[Claimant, ...]
    gang: Gang
    alternates: int
    lease_s: int | None
    digest: str


@dataclass(frozen=True, slots=True)
class ClaimsMade:
    """The claims of an order; ``repeated``: the same order had made them before."""

    claims: tuple[StandingClaim, ...]
    repeated: bool


def make_claims(services: Services, order: ClaimOrder, origin: Origin) -> ClaimsMade:
    """Claim the first places that serve the order, in its order of preference.

    Each round searches the newest snapshot and offers what it finds to one transaction, which
    takes the first that has room. If others have been faster everywhere, the next round sees what
    they took; so it ends with a claim, or with a snapshot in which nothing fits.

    An order that is sent again, after an answer that got lost, is told the claims that stand.

    Raises:
        NothingFits: no place is found.
        ConsumerHolds: a consumer holds something else already.
        UnknownResourceClass, UnknownTraits: a name in a request does not exist.
        StoreUnavailable: others were faster all the time.
    """
    race = Race(services.keeper)
    while True:
        snapshot = race.look()
        random = services.new_random()
        placements = Placements(snapshot, order.gang, random)
        found = list(islice(placements, race.ways_max))
        if not found:
            # Perhaps because the order has been served before.
            standing = find_repeated(services, order)
            if standing is not None:
                return ClaimsMade(standing, repeated=True)
            raise _why_not(order, placements.stuck())
        request = _offer(order, origin, snapshot, found, random)
        try:
            accepted = services.claims.submit(request)
        except ConsumerGenerationConflict as conflict:
            standing = find_repeated(services, order)
            if standing is not None:
                return ClaimsMade(standing, repeated=True)
            race.find_hidden(conflict)
        except NO_ROOM as refusal:
            race.lose(refusal)
        else:
            return ClaimsMade(_made(order, request, accepted), repeated=False)
        race.check_time()


def find_repeated(services: Services, order: ClaimOrder) -> tuple[StandingClaim, ...] | None:
    """The claims of an earlier order like this one, as they stand; None: nobody holds anything.

    Raises:
        ConsumerHolds: a consumer holds something else.
    """
    consumers = [claimant.consumer for claimant in order.claimants]
    standing = read_standing_claims(services, consumers)
    if not standing:
        return None
    claims = []
    for consumer in consumers:
        found = standing.get(consumer)
        if found is None:
            # One of a gang is gone: what is left of it is not what was ordered.
            other = next(iter(standing.values()))
            raise ConsumerHolds(other.consumer, other.generation)
        record = found.record
        if record is None or record.digest != order.digest:
            raise ConsumerHolds(consumer, found.generation)
        claims.append(
            StandingClaim(
                consumer, found.generation, record.placing, record.alternates, found.expires_at
            )
        )
    return tuple(claims)


def _why_not(order: ClaimOrder, stuck: Stuck) -> NothingFits:
    request = order.gang.members[stuck.member]
    return NothingFits(
        order.claimants[stuck.member].consumer,
        explain(stuck.snapshot, request, within=stuck.within),
        stuck.gave_up,
    )


def _offer(
    order: ClaimOrder,
    origin: Origin,
    snapshot: Snapshot,
    found: Sequence[Placement],
    random: np.random.Generator,
) -> ClaimRequest:
    """The places found, as ways to serve one request of the claim queue."""
    ways = [_claims_of(order, placement) for placement in found]
    notes = [_notes_of(order, snapshot, placement, random) for placement in found]
    until = None if order.lease_s is None else origin.at + timedelta(seconds=order.lease_s)
    return ClaimRequest(ways[0], origin, tuple(ways[1:]), tuple(notes), until)


def _claims_of(order: ClaimOrder, placement: Placement) -> tuple[ConsumerClaim, ...]:
    return tuple(
        ConsumerClaim(
            claimant.consumer,
            option.candidate.allocations,
            claimant.project_id,
            claimant.user_id,
            checks_generation=True,
            generation=None,
            consumer_type=claimant.consumer_type,
        )
        for claimant, option in zip(order.claimants, placement, strict=True)
    )


def _notes_of(
    order: ClaimOrder, snapshot: Snapshot, placement: Placement, random: np.random.Generator
) -> tuple[Entry, ...]:
    """What the journal is told of the claims, and what answers them."""
    alternates = find_alternates(snapshot, order.gang, placement, order.alternates, random)
    return tuple(
        Entry(
            MADE_KIND,
            claimant.consumer,
            (),
            after=ClaimRecord(
                digest=order.digest,
                placing=_placing(option.candidate),
                alternates=tuple(_placing(one.candidate) for one in others),
            ),
        )
        for claimant, option, others in zip(order.claimants, placement, alternates, strict=True)
    )


def _placing(candidate: Candidate) -> Placing:
    return Placing(candidate.allocations, candidate.mappings)


def _made(
    order: ClaimOrder, request: ClaimRequest, accepted: Accepted
) -> tuple[StandingClaim, ...]:
    claims = []
    notes = request.notes[accepted.way]
    for claimant, change, note in zip(order.claimants, accepted.changes, notes, strict=True):
        assert change.after is not None
        record: ClaimRecord = note.after
        claims.append(
            StandingClaim(
                claimant.consumer,
                change.after.generation,
                record.placing,
                record.alternates,
                request.lease_until,
            )
        )
    return tuple(claims)
