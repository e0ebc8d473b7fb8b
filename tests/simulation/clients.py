"""What clients ask for: claims, moves of both kinds, and the same once more."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from moorage.candidates.gang import Gang
from moorage.candidates.options import Preference
from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.domain.claim import ConsumerClaim
from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderUuid
from moorage.domain.move import MoveEvent, MoveKind
from moorage.domain.move_record import MoveRecord
from moorage.domain.origin import Origin
from moorage.operations.advance_move import Stepping, advance_move, reschedule_move
from moorage.operations.change_lease import make_permanent, renew
from moorage.operations.claim import claim
from moorage.operations.find_candidates import find_candidates
from moorage.operations.make_claims import Claimant, ClaimOrder, ClaimsMade, make_claims
from moorage.operations.move_places import PlaceSearch
from moorage.operations.open_move import MoveMade, MoveOrdering, open_move
from moorage.operations.release import release
from moorage.operations.show_move import show_move
from tests.simulation.faults import Wrong
from tests.simulation.model import Effect, Held, Refused, Trip, flat
from tests.simulation.world import Call, Process, World

Amounts = dict[str, int]
OWNERS = (("project", "user"), ("project", "other-user"), ("other-project", "user"))


@dataclass(frozen=True)
class Wish:
    """What the model takes for a claim."""

    consumer: str
    resources: Mapping[str, Mapping[str, int]]
    project_id: str
    user_id: str
    checks_generation: bool = False
    generation: int | None = None


def deep(held: Held) -> dict[ProviderUuid, dict[str, int]]:
    found: dict[ProviderUuid, dict[str, int]] = {}
    for (uuid, name), amount in held.items():
        found.setdefault(ProviderUuid(uuid), {})[name] = amount
    return found


def digest_of(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def amounts_of(held: Held) -> Amounts:
    found: Amounts = {}
    for (_, name), amount in sorted(held.items()):
        found[name] = found.get(name, 0) + amount
    return found


def request_for(amounts: Amounts, **where: Any) -> CandidatesRequest:
    groups = (RequestGroup("", tuple(sorted(amounts.items()))),) if amounts else ()
    return CandidatesRequest(groups, **where)


class Clients:
    """Makes the calls of clients; each knows of the books what it has been told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = world.model
        self.random = world.random

    # Placement's API

    def wish(
        self, consumer: str, held: Held, owner: tuple[str, str] | None = None
    ) -> ConsumerClaim:
        """A claim of somebody who has just looked at the consumer."""
        holder = self.model.holders.get(consumer)
        if owner is None:
            owner = OWNERS[0] if holder is None else holder.owner
        generation = None if holder is None else holder.generation
        return ConsumerClaim(
            ConsumerUuid(consumer), deep(held), *owner, True, generation, "INSTANCE"
        )

    def put(self, name: str, *claims: ConsumerClaim, asked_with: str | None = None) -> Call:
        def check(_: Any) -> None:
            for one in claims:
                if self.model.held(one.consumer) != flat(one.resources):
                    raise Wrong(f"{name} was acknowledged, and is not there: {one}")

        return Call(
            name,
            lambda p, o: claim(p.services, claims, o),
            lambda o: self.model.decide_put(claims, request_id=o.global_request_id, at=o.at),
            global_request_id=asked_with,
            check=check,
            in_queue=True,
        )

    def place(self, amounts: Amounts, asked_with: str | None = None) -> Held | None:
        """Some place, mostly one that a search finds."""
        random = self.random
        if random.random() < 0.75:
            process = random.choice(self.world.processes)
            if not process.is_busy:
                found = find_candidates(
                    process.services, request_for(amounts), global_request_id=asked_with
                ).candidates
                return flat(random.choice(found).allocations) if found else None
        places = list(self.model.places(amounts))
        return random.choice(places) if places else None

    def boot(self, consumer: str, amounts: Amounts) -> Call | None:
        place = self.place(amounts)
        if place is None:
            return None
        return self.put("boot", self.wish(consumer, place, self.random.choice(OWNERS)))

    def resize_in_place(self, consumer: str, amounts: Amounts) -> Call | None:
        place = self.place(amounts)
        return None if place is None else self.put("put anew", self.wish(consumer, place))

    def delete(self, consumer: str) -> Call:
        if self.random.random() < 0.2:
            return self.put("put nothing", self.wish(consumer, {}))

        def check(_: Any) -> None:
            if self.model.held(consumer):
                raise Wrong(f"{consumer} was deleted, and holds something")

        return Call(
            "delete",
            lambda p, o: release(p.services, consumer=consumer, origin=o),
            lambda _: self.model.decide_release(consumer),
            check=check,
        )

    def swap(self, consumer: str, hold: str, asked_with: str | None) -> Call:
        """What Nova begins a migration with."""
        model, holder = self.model, self.model.holders[consumer]
        call = self.put(
            "swap",
            self.wish(consumer, {}),
            self.wish(hold, holder.held, holder.owner),
            asked_with=asked_with,
        )

        def may_repeat() -> bool:
            # Generations begin anew with a consumer: an outdated swap might be taken for a new one.
            return model.held(consumer) in ({}, holder.held)

        call.may_repeat = may_repeat
        return call

    def claim_destination(
        self, trip: Trip, amounts: Amounts, asked_with: str | None
    ) -> Call | None:
        place = self.place(amounts, asked_with)
        if place is None:
            return None
        owner = self.model.holders[trip.hold].owner if self.model.held(trip.hold) else None
        return self.put(
            "claim destination", self.wish(trip.consumer, place, owner), asked_with=asked_with
        )

    def give_back(self, trip: Trip) -> Call:
        kept = self.model.holders[trip.hold]
        return self.put(
            "give back",
            self.wish(trip.hold, {}),
            self.wish(trip.consumer, kept.held, kept.owner),
            asked_with=trip.request_id,
        )

    # Claims of our own

    def claim(
        self, consumers: list[str], amounts: Amounts, *, lease_s: int | None, alternates: int
    ) -> Call:
        preference = self.random.choice(list(Preference))
        order = ClaimOrder(
            tuple(Claimant(ConsumerUuid(one), *OWNERS[0], "INSTANCE") for one in consumers),
            Gang((request_for(amounts),) * len(consumers), preference),
            alternates,
            lease_s,
            digest_of(consumers, amounts, preference, lease_s, alternates),
        )

        def decide(_: Origin) -> None:
            holding = [h for one in consumers if (h := self.model.holders.get(one))]
            same = [
                holder
                for holder in holding
                if holder.made
                and holder.made[1] == order.digest
                and all(slot[0] in self.model.providers for slot in holder.held)
            ]
            if holding and len(same) < len(consumers):
                raise Refused("ConsumerHolds")

        return Call(
            "claim" if len(consumers) == 1 else "claim for a gang",
            lambda p, o: make_claims(p.services, order, o),
            decide,
            check=lambda answer: self._check_claims(answer, amounts, order.digest),
            fits=lambda _: self._fits_all(consumers, amounts),
            in_queue=True,
        )

    def _check_claims(self, answer: ClaimsMade, amounts: Amounts, digest: str) -> None:
        for made in answer.claims:
            holder = self.model.holders.get(made.consumer)
            if holder is None or holder.made is None or holder.made[1] != digest:
                raise Wrong(f"{made.consumer} was told a claim, and has {holder}")
            placed = flat(made.placing.allocations)
            if (holder.held, holder.generation) != (placed, made.generation):
                raise Wrong(f"{made.consumer} was told {made}, and has {holder}")
            if amounts_of(placed) != amounts:
                raise Wrong(f"{amounts} was asked for, and {placed} claimed")
            in_force = self.model.is_in_force(made.consumer)
            until = self.model.leases[made.consumer].until if in_force else None
            if made.expires_at != until:
                raise Wrong(f"{made.consumer} was told {made.expires_at}, and has {until}")

    def _fits_all(self, consumers: list[str], amounts: Amounts) -> bool:
        """Whether there is room for all of them; who would have to try too much says no."""
        if any(self.model.held(one) for one in consumers) or len(consumers) > 2:
            return False
        used = self.model.used()
        places = list(self.model.places(amounts))

        def fits(*together: Held) -> bool:
            return all(
                (stock := self.model.stock(slot)) is not None
                and stock.gives(amount)
                and used[slot] + sum(one.get(slot, 0) for one in together) <= stock.capacity
                for place in together
                for slot, amount in place.items()
            )

        single = [place for place in places if fits(place)]
        if len(consumers) == 1:
            return bool(single)
        return any(fits(one, other) for one in single for other in single)

    def renew(self, consumer: str, lease_s: int) -> Call:
        return Call(
            "renew",
            lambda p, o: renew(p.services, consumer=consumer, lease_s=lease_s, origin=o),
            lambda o: self.model.decide_renewal(consumer, o.at + timedelta(seconds=lease_s)),
        )

    def make_permanent(self, consumer: str) -> Call:
        return Call(
            "make permanent",
            lambda p, o: make_permanent(p.services, consumer=consumer, origin=o),
            lambda _: self.model.decide_renewal(consumer, None),
        )

    # Moves that are ordered

    def order(
        self,
        uuid: str,
        kind: MoveKind,
        consumer: str,
        amounts: Amounts,
        *,
        used: frozenset[str] | None = None,
        alternates: int = 0,
        deadline_s: int | None = None,
        generation: int | None = None,
        asked_with: str | None = None,
    ) -> Call:
        """``amounts``: nothing for as much as there is."""
        trees = None if used is None else frozenset(map(ProviderUuid, used))
        preference = self.random.choice(list(Preference))
        key = ConsumerUuid(consumer)
        ordering = MoveOrdering(
            uuid=MoveUuid(uuid),
            kind=kind,
            consumer=key,
            consumer_generation=generation,
            owner=None if kind.has_source else Claimant(key, *OWNERS[0], "INSTANCE"),
            search=PlaceSearch(request_for(amounts, trees_used=trees), preference, alternates),
            same_resources=not amounts,
            deadline_s=deadline_s,
            digest=digest_of(
                uuid,
                kind,
                consumer,
                amounts,
                sorted(used or ()),
                alternates,
                deadline_s,
                generation,
            ),
        )
        return Call(
            f"order {kind.value}",
            lambda p, o: open_move(p.services, ordering, o),
            lambda _: self._decide_order(ordering),
            global_request_id=asked_with,
            check=lambda made: self._check_made(made, ordering.digest),
            fits=lambda o: self._fits_order(ordering, amounts, used, o),
            in_queue=True,
        )

    def _decide_order(self, ordering: MoveOrdering) -> None:
        model, consumer = self.model, str(ordering.consumer)
        trip = model.trips.get(ordering.uuid)
        if trip is not None:
            if trip.digest != ordering.digest:
                raise Refused("MoveExists")
            return
        reasons = model.why_not_opened(consumer, ordering.uuid, ordering.kind.value)
        now = model.holders[consumer].generation if model.seen(consumer) else None
        if ordering.consumer_generation not in (None, now):
            reasons.add("ConsumerGenerationConflict")
        if reasons:
            raise Refused(*reasons)

    def _fits_order(
        self,
        ordering: MoveOrdering,
        amounts: Amounts,
        used: frozenset[str] | None,
        origin: Origin,
    ) -> bool:
        model, consumer = self.model, str(ordering.consumer)
        held = model.seen(consumer)
        avoided = () if ordering.kind.may_stay else {slot[0] for slot in held}
        for place in model.places(amounts or amounts_of(held), used=used, avoided=avoided):
            try:
                model.decide_opening(
                    Wish(consumer, deep(place), *OWNERS[0]),
                    uuid=ordering.uuid,
                    kind=ordering.kind.value,
                    request_id=None,
                    at=origin.at,
                )
            except Refused:
                continue
            return True
        return False

    def _check_made(self, made: MoveMade, digest: str | None = None) -> None:
        """The answer tells the move as it is."""
        move = made.move
        trip = self.model.trips.get(move.uuid)
        if trip is None:
            raise Wrong(f"a move was told that there is not: {move}")
        told = (move.state.value, move.generation, move.consumer, move.due_at)
        due = (trip.state, trip.generation, trip.consumer, trip.due_at)
        if told != due or digest not in (None, trip.digest):
            raise Wrong(f"a move was told as {told}, and is {due}")

    def step(self, uuid: str, step: str, generation: int) -> Call:
        stepping = Stepping(uuid, MoveEvent(step), Generation(generation))

        def check(made: MoveMade) -> None:
            self._check_made(made)
            self._check_step(made, step, generation)

        return Call(
            step,
            lambda p, o: advance_move(p.services, stepping, o),
            lambda _: self.model.decide_step(uuid, step, generation),
            check=check,
        )

    def reschedule(self, uuid: str, generation: int) -> Call:
        model = self.model
        version = model.version
        record: MoveRecord | None = None

        def decide(_: Origin) -> Effect | None:
            trip = model.trips.get(uuid)
            is_seen = trip is None or bool(model.seen(trip.consumer))
            try:
                effect = model.decide_step(uuid, "give up", generation, called="reschedule")
            except Refused as refused:
                if refused.reasons == {"SourceGone"} and not is_seen:
                    raise Refused("NothingToMove") from None
                raise
            if effect is not None and not is_seen:
                raise Refused("NothingToMove")
            return effect

        def send(process: Process, origin: Origin) -> MoveMade:
            nonlocal version, record
            version = model.version
            record = show_move(process.services, uuid) if uuid in model.trips else None
            return reschedule_move(
                process.services, uuid=uuid, generation=Generation(generation), origin=origin
            )

        def give_up(_: Origin) -> None:
            """The service has given the move up: so there must be no place for it."""
            assert record is not None
            place = self._fits_rescheduling(record, generation)
            if version == model.version and place:
                raise Wrong(f"move {uuid} was given up, and it fits here: {place}")
            effect = model.decide_step(uuid, "give up", generation, called="reschedule")
            if effect is not None:
                effect()

        def check(made: MoveMade) -> None:
            self._check_made(made)
            self._check_step(made, "reschedule", generation)

        return Call("reschedule", send, decide, on_commit=give_up, check=check)

    def _check_step(self, made: MoveMade, step: str, generation: int) -> None:
        """The step that is acknowledged is the last that was made, and was made from there."""
        told = (made.move.last_step, made.move.step_generation)
        if told != (step, generation + 1):
            raise Wrong(f"{step} from {generation} was acknowledged, and is not there: {made}")

    def _fits_rescheduling(self, record: MoveRecord, generation: int) -> Held | None:
        """A place where the move could go."""
        model = self.model
        assert record.plan is not None
        assert record.search is not None
        trip = model.trips[record.uuid]
        search = PlaceSearch.of(record.search)
        amounts = dict(search.request.groups[0].resources)
        been = {*record.plan.tried, *record.plan.destination.allocations}
        been |= {slot[0] for slot in model.held(trip.consumer)}
        avoided = been | set(search.request.trees_avoided)
        places = [flat(one.allocations) for one in record.plan.alternates]
        places += model.places(amounts, used=search.request.trees_used, avoided=avoided)
        for place in places:
            try:
                model.decide_rescheduling(
                    Wish(trip.consumer, deep(place), *OWNERS[0]), record.uuid, generation
                )
            except Refused:
                continue
            return place
        return None
