"""What the books must say: dictionaries, and the rules of moves once more, as plainly as can be.

Nothing here is shared with the code that it judges but the names of states and steps. Totals are
added up anew each time they are asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

Slot = tuple[str, str]
"""A provider's uuid and the name of a class."""
Held = dict[Slot, int]
Effect = Callable[[], None]
"""Enters what was decided."""

HOLD_PREFIX = "f"
"""The uuids of holds begin so, and no others."""
NO_ROOM = {"CapacityExceeded", "InventoryMissing", "UnitsViolated", "UnknownAllocationProvider"}
OPEN = ("swapped", "claimed", "started")
WITH_DESTINATION = ("claimed", "started")
WINDOW_S = 600

STEPS = {
    "start": {"claimed": "started"},
    "confirm": {"started": "confirmed"},
    "revert": {"claimed": "reverted", "started": "reverted"},
    "reschedule": {"claimed": "claimed", "started": "claimed"},
    "give up": {"claimed": "failed", "started": "failed"},
    "deadline": {"claimed": "reverted"},
    "clean up": {"swapped": "abandoned"},
}
WAYS_BACK = ("revert", "give up", "deadline")


class Refused(Exception):
    """A request must be refused, for one of these reasons (names of refusals)."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(*sorted(reasons))
        self.reasons = set(reasons)


@dataclass(frozen=True)
class Stock:
    """What there is of a class on a provider, and in which portions."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = 1000
    step_size: int = 1
    ratio: float = 1.0

    @property
    def capacity(self) -> int:
        return int((self.total - self.reserved) * self.ratio)

    def gives(self, amount: int) -> bool:
        return self.min_unit <= amount <= self.max_unit and amount % self.step_size == 0


@dataclass
class Provider:
    uuid: str
    root: str
    shares: bool = False
    aggregates: frozenset[str] = frozenset()
    stock: dict[str, Stock] = field(default_factory=dict)


@dataclass(frozen=True)
class Holder:
    """A consumer; ``made``: request id and digest of the claim that made it as it is."""

    generation: int
    owner: tuple[str, str]
    held: Held
    made: tuple[str, str] | None = None


@dataclass(frozen=True)
class Trip:
    """A move."""

    uuid: str
    kind: str
    state: str
    consumer: str
    hold: str
    generation: int
    credited: bool
    credits: Held
    request_id: str | None
    opened_at: datetime
    last_step: str | None = None
    step_generation: int | None = None
    due_at: datetime | None = None
    digest: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def has_made(self, step: str, generation: int) -> bool:
        return (self.last_step, self.step_generation) == (step, self.generation) and (
            self.generation == generation + 1
        )


@dataclass(frozen=True)
class Lease:
    request_id: str
    generation: int
    until: datetime


def flat(resources: Mapping[Any, Mapping[str, int]]) -> Held:
    return {(str(uuid), name): n for uuid, part in resources.items() for name, n in part.items()}


@dataclass
class Model:
    """The books as they must be."""

    providers: dict[str, Provider] = field(default_factory=dict)
    holders: dict[str, Holder] = field(default_factory=dict)
    trips: dict[str, Trip] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    strays: set[str] = field(default_factory=set)
    """What has the uuid of a hold, and was given something that no move has seen."""
    version: int = 0
    opened: int = 0

    # What follows from the rest

    def held(self, consumer: str) -> Held:
        holder = self.holders.get(consumer)
        return {} if holder is None else holder.held

    def seen(self, consumer: str) -> Held:
        """What a reader is shown: what has outlived its provider is not."""
        return {slot: n for slot, n in self.held(consumer).items() if slot[0] in self.providers}

    def used(
        self, holders: Mapping[str, Holder] | None = None, trips: Iterable[Trip] | None = None
    ) -> Counter[Slot]:
        total: Counter[Slot] = Counter()
        for holder in (self.holders if holders is None else holders).values():
            total.update(holder.held)
        for trip in self.open_trips() if trips is None else trips:
            total.subtract(trip.credits)
        return total

    def open_trips(self) -> list[Trip]:
        return [trip for trip in self.trips.values() if trip.is_open]

    def trip_of(self, consumer: str) -> Trip | None:
        for trip in self.open_trips():
            if consumer in (trip.consumer, trip.hold):
                return trip
        return None

    def stock(self, slot: Slot) -> Stock | None:
        provider = self.providers.get(slot[0])
        return None if provider is None else provider.stock.get(slot[1])

    def has(self, slot: Slot) -> bool:
        return self.stock(slot) is not None

    def shares(self, uuid: str) -> bool:
        return uuid in self.providers and self.providers[uuid].shares

    def common(self, mover: Held, hold: Held, already: Held) -> Held:
        """What counts once."""
        still = {slot[0] for slot in already}
        return {
            slot: min(n, hold[slot])
            for slot, n in mover.items()
            if slot in hold and (self.shares(slot[0]) or slot[0] in still)
        }

    # Claims through Placement's API, and of our own

    def decide_put(
        self,
        claims: Sequence[Any],
        *,
        request_id: str | None,
        at: datetime,
        name: Callable[[Trip], str] | None = None,
        made: tuple[str, str] | None = None,
    ) -> Effect:
        after = {str(claim.consumer): flat(claim.resources) for claim in claims}
        self._check_claims(claims)
        trips = self._trips_after(claims, after, request_id, at)
        holders = dict(self.holders)
        for claim in claims:
            self._claim_into(holders, claim, made)
        for trip in trips:
            # The hold of an ordered move ends with it, whoever moves the consumer anew.
            if trip.state == "abandoned" and trip.kind != "observed" and trip.hold not in after:
                holders.pop(trip.hold, None)
        self._check_room(claims, holders, trips)

        def enter() -> None:
            self.holders = holders
            for trip in trips:
                if trip.uuid:
                    self.trips[trip.uuid] = trip
                    continue
                assert name is not None
                uuid = name(trip)
                self.trips[uuid] = replace(trip, uuid=uuid)
                self.opened += 1
            self.strays |= {
                consumer
                for consumer, held in after.items()
                if held and consumer.startswith(HOLD_PREFIX) and self.trip_of(consumer) is None
            }
            self.version += 1

        return enter

    def _check_claims(self, claims: Sequence[Any]) -> None:
        reasons = set[str]()
        for claim in claims:
            holder = self.holders.get(claim.consumer)
            now = None if holder is None else holder.generation
            if claim.checks_generation and claim.generation != now:
                reasons.add("ConsumerGenerationConflict")
            for slot, amount in flat(claim.resources).items():
                stock = self.stock(slot)
                if slot[0] not in self.providers:
                    reasons.add("UnknownAllocationProvider")
                elif stock is None:
                    reasons.add("InventoryMissing")
                elif not stock.gives(amount):
                    reasons.add("UnitsViolated")
        if reasons:
            # What there is room for is looked at too: the service may find that first.
            raise Refused(*reasons, *(["CapacityExceeded"] if reasons <= NO_ROOM else []))

    def _claim_into(
        self, holders: dict[str, Holder], claim: Any, made: tuple[str, str] | None
    ) -> None:
        before, held = holders.get(claim.consumer), flat(claim.resources)
        if not held:
            holders.pop(claim.consumer, None)
            return
        generation = 1 if before is None else before.generation + 1
        holders[claim.consumer] = Holder(generation, (claim.project_id, claim.user_id), held, made)

    def _check_room(
        self, claims: Sequence[Any], holders: Mapping[str, Holder], changed: Sequence[Trip]
    ) -> None:
        by_uuid = {trip.uuid: trip for trip in changed}
        trips = [by_uuid.pop(trip.uuid, trip) for trip in self.open_trips()]
        before = self.used()
        after = self.used(holders, [*trips, *by_uuid.values()])
        for trip in changed:
            # Who gives all to another hold takes nothing, though what was credited is no more.
            if trip.state == "abandoned" and trip.uuid in self.trips:
                before.update(self.trips[trip.uuid].credits)
        for slot in {slot for claim in claims for slot in flat(claim.resources)}:
            stock = self.stock(slot)
            assert stock is not None
            if after[slot] > stock.capacity and after[slot] > before[slot]:
                raise Refused("CapacityExceeded")

    def _trips_after(
        self,
        claims: Sequence[Any],
        after: Mapping[str, Held],
        request_id: str | None,
        at: datetime,
    ) -> list[Trip]:
        swaps = list(self._swaps(claims, request_id, at))
        anew = {trip.consumer for trip in swaps}
        changed = [
            self._moved_on(trip, "abandoned", False, {})
            if trip.consumer in anew
            else self._follow(trip, after, request_id, at, observes=True)
            for trip in self.open_trips()
            if trip.consumer in after or trip.hold in after
        ]
        return changed + swaps

    def _follow(
        self,
        trip: Trip,
        after: Mapping[str, Held],
        request_id: str | None,
        at: datetime,
        *,
        observes: bool,
    ) -> Trip:
        had, kept_before = self.held(trip.consumer), self.held(trip.hold)
        mover = after.get(trip.consumer, had)
        kept = after.get(trip.hold, kept_before)
        is_asked = trip.consumer in after
        state = trip.state
        if is_asked and not kept and mover == kept_before:
            state = "reverted"
        else:
            if is_asked:
                state = ("claimed" if state == "swapped" else state) if mover else "swapped"
            if kept_before and not kept:
                state = "abandoned" if state == "swapped" else "confirmed"
        belongs = trip.credited and bool(had)
        if is_asked and observes:
            if trip.request_id is not None or request_id is not None:
                belongs |= trip.request_id == request_id
            else:
                belongs |= at - trip.opened_at <= timedelta(seconds=WINDOW_S)
        credited = belongs and state in WITH_DESTINATION
        return self._moved_on(
            trip, state, credited, self.common(mover, kept, trip.credits) if credited else {}
        )

    def _moved_on(self, trip: Trip, state: str, credited: bool, common: Held) -> Trip:
        return replace(
            trip,
            state=state,
            generation=trip.generation + 1,
            credited=credited,
            credits=common,
            due_at=trip.due_at if state in OPEN else None,
        )

    def _swaps(self, claims: Sequence[Any], request_id: str | None, at: datetime) -> Iterator[Trip]:
        """Who gives all it has to somebody new of the same owner begins to move."""
        takers = [
            claim
            for claim in claims
            if claim.resources
            and not self.held(claim.consumer)
            and self.trip_of(claim.consumer) is None
        ]
        for claim in claims:
            holder = self.holders.get(claim.consumer)
            trip = self.trip_of(claim.consumer)
            if claim.resources or holder is None or (trip and trip.hold == claim.consumer):
                continue
            for taker in takers:
                owner = (taker.project_id, taker.user_id)
                if owner == holder.owner and flat(taker.resources) == holder.held:
                    takers.remove(taker)
                    yield Trip(
                        "", "observed", "swapped", str(claim.consumer), str(taker.consumer), 1,
                        False, {}, request_id, at,
                    )  # fmt: skip
                    break

    def decide_release(self, consumer: str) -> Effect:
        if not self.held(consumer):
            raise Refused("UnknownConsumer")
        trips = [
            self._follow(trip, {consumer: {}}, None, trip.opened_at, observes=False)
            for trip in self.open_trips()
            if consumer in (trip.consumer, trip.hold)
        ]

        def enter() -> None:
            del self.holders[consumer]
            self.trips.update({trip.uuid: trip for trip in trips})
            self.version += 1

        return enter

    # Leases

    def is_in_force(self, consumer: str) -> bool:
        lease, holder = self.leases.get(consumer), self.holders.get(consumer)
        return (
            lease is not None
            and holder is not None
            and holder.generation == lease.generation
            and holder.made is not None
            and holder.made[0] == lease.request_id
        )

    def decide_renewal(self, consumer: str, until: datetime | None) -> Effect:
        if not self.is_in_force(consumer):
            raise Refused("UnknownLease")

        def enter() -> None:
            if until is None:
                del self.leases[consumer]
            else:
                self.leases[consumer] = replace(self.leases[consumer], until=until)
            self.version += 1

        return enter

    def due_leases(self, at: datetime) -> set[str]:
        return {consumer for consumer, lease in self.leases.items() if lease.until <= at}

    def expire(self, consumers: Iterable[str], at: datetime) -> None:
        for consumer in consumers:
            if self.leases[consumer].until <= at:
                if self.is_in_force(consumer):
                    self.decide_release(consumer)()
                del self.leases[consumer]
                self.version += 1

    # Moves that are ordered

    def decide_opening(
        self,
        claim: Any,
        *,
        uuid: str,
        kind: str,
        request_id: str | None,
        at: datetime,
        digest: str = "",
        deadline: datetime | None = None,
    ) -> Effect:
        reasons = self.why_not_opened(claim.consumer, uuid, kind)
        try:
            self._check_claims([claim])
        except Refused as refused:
            reasons |= refused.reasons
        if reasons:
            raise Refused(*reasons)
        before = self.holders.get(claim.consumer)
        holders = dict(self.holders)
        source = self.held(claim.consumer)
        self._claim_into(holders, claim, None)
        if source:
            assert before is not None
            holders[uuid] = Holder(1, before.owner, source)
        trip = Trip(
            uuid, kind, "claimed", str(claim.consumer), uuid, 1, True,
            self.common(flat(claim.resources), source, {}), request_id, at,
            "open", 1, deadline, digest,
        )  # fmt: skip
        self._check_room([claim], holders, [trip])

        def enter() -> None:
            self.holders = holders
            self.trips[uuid] = trip
            self.opened += 1
            self.version += 1

        return enter

    def why_not_opened(self, consumer: str, uuid: str, kind: str) -> set[str]:
        reasons = set[str]()
        if uuid in self.trips:
            reasons.add("MoveExists")
        if self.trip_of(consumer) or self.trip_of(uuid):
            reasons.add("ConsumerInMove")
        if self.held(uuid) or (kind == "unshelve" and self.held(consumer)):
            reasons.add("ConsumerHolds")
        if kind != "unshelve" and not self.seen(consumer):
            reasons.add("NothingToMove")
        return reasons

    def check_step(self, uuid: str, step: str, generation: int) -> Trip:
        trip = self.trips.get(uuid)
        if trip is None:
            raise Refused("UnknownMove")
        if trip.kind == "observed":
            raise Refused("MoveIsObserved")
        if trip.generation != generation:
            raise Refused("MoveGenerationConflict")
        if trip.state not in STEPS[step]:
            raise Refused("StepImpossible")
        return trip

    def decide_rescheduling(self, claim: Any, uuid: str, generation: int) -> Effect:
        if uuid in self.trips and not self.trips[uuid].is_open:
            # Whoever writes finds no open move, and whoever looks again a later generation of it.
            raise Refused("StepImpossible", "MoveGenerationConflict")
        trip = self.check_step(uuid, "reschedule", generation)
        self._check_claims([claim])
        holders = dict(self.holders)
        self._claim_into(holders, claim, None)
        common = self.common(flat(claim.resources), self.held(trip.hold), trip.credits)
        after = replace(
            self._moved_on(trip, "claimed", True, common),
            last_step="reschedule",
            step_generation=generation + 1,
        )
        self._check_room([claim], holders, [after])

        def enter() -> None:
            self.holders = holders
            self.trips[uuid] = after
            self.version += 1

        return enter

    def decide_step(
        self, uuid: str, step: str, generation: int, called: str | None = None
    ) -> Effect | None:
        """None: this very step was the last thing that happened."""
        name = called or step
        if uuid in self.trips and self.trips[uuid].has_made(name, generation):
            return None
        trip = self.check_step(uuid, step, generation)
        mover, kept = self.holders.get(trip.consumer), self.holders.get(trip.hold)
        held = {} if mover is None else mover.held
        if step == "confirm" and not (held and all(map(self.has, held))):
            raise Refused("DestinationGone")
        if step in WAYS_BACK and kept is not None and not all(map(self.has, kept.held)):
            raise Refused("SourceGone")
        state = STEPS[step][trip.state]
        credited = (trip.credited, trip.credits) if state in OPEN else (False, {})
        after = replace(
            self._moved_on(trip, state, *credited), last_step=name, step_generation=generation + 1
        )

        def enter() -> None:
            if state not in OPEN:
                self.holders.pop(trip.hold, None)
            if step in WAYS_BACK:
                if kept is None:
                    self.holders.pop(trip.consumer, None)
                else:
                    assert mover is not None
                    self.holders[trip.consumer] = replace(
                        mover, generation=mover.generation + 1, held=kept.held, made=None
                    )
            self.trips[uuid] = after
            self.version += 1

        return enter

    # The runner

    def overdue(self, at: datetime) -> set[str]:
        return {trip.uuid for trip in self.trips.values() if trip.due_at and trip.due_at <= at}

    def left(self) -> set[str]:
        return {
            trip.uuid
            for trip in self.trips.values()
            if trip.state == "swapped" and trip.kind != "observed"
        }

    def tell(self, uuid: str) -> None:
        self.trips[uuid] = replace(self.trips[uuid], due_at=None)
        self.version += 1

    # Whether a search may say that nothing fits

    def places(
        self,
        amounts: Mapping[str, int],
        *,
        used: Iterable[str] | None = None,
        avoided: Iterable[str] = (),
    ) -> Iterator[Held]:
        """All ways to take amounts around one root, whether or not there is room."""
        roots = {p.root for p in self.providers.values()}
        if used is not None:
            roots &= {self.providers[uuid].root for uuid in used if uuid in self.providers}
        roots -= {self.providers[uuid].root for uuid in avoided if uuid in self.providers}
        for root in sorted(roots):
            around = self._around(root)
            givers = [[p.uuid for p in around if name in p.stock] for name in amounts]
            for chosen in product(*givers):
                if any(self.providers[uuid].root == root for uuid in chosen):
                    yield dict(
                        zip(zip(chosen, amounts, strict=True), amounts.values(), strict=True)
                    )

    def _around(self, root: str) -> list[Provider]:
        tree = [p for p in self.providers.values() if p.root == root]
        joined = frozenset[str]().union(*(p.aggregates for p in tree))
        pools = [
            p
            for p in self.providers.values()
            if p.shares and p.root != root and p.aggregates & joined
        ]
        return tree + pools
