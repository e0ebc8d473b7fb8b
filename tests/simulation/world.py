"""Processes on one database file, their clock, and a call that one of them serves."""

import hashlib
import random
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from moorage.candidates.request import SearchRules
from moorage.coherence.keeper import Keeper
from moorage.coherence.project_sums import ProjectSums
from moorage.domain.move_steps import Opening
from moorage.domain.origin import Origin
from moorage.domain.refusals import Refusal, StoreUnavailable
from moorage.operations.claim_queue import Accepted, ClaimQueue, ClaimRequest
from moorage.operations.provider_queue import ProviderQueue
from moorage.operations.services import Rules, Services
from moorage.store.store import Store
from moorage.workers.leadership import RUNNER, Leadership
from moorage.workers.runner import STEPS, Runner, Step
from tests.simulation.faults import Broken, Crash, Fault, FaultySession, Points, Wrong
from tests.simulation.model import NO_ROOM, Lease, Model, Refused, Trip
from tests.simulation.picture import Invariants, Picture, Player, Reader, check_against
from tests.support.books import ABSENTEE

START = datetime(2030, 1, 1)  # noqa: DTZ001 - the store knows naive UTC only
TRACE_MAX = 60


class Captured(BaseException):
    """A request has been taken before it was written."""


class Queue(ClaimQueue):
    """The claim queue, with the model deciding beside it."""

    def __init__(self, process: "Process", store: Store) -> None:
        super().__init__(store, ABSENTEE)
        self.process = process

    def submit(self, request: ClaimRequest) -> Accepted:
        if self.process.captures:
            self.process.captured = request
            raise Captured
        return super().submit(request)

    def _serve(self, batch: Any) -> None:
        verdicts = self.process.expect_batch([ticket.request for ticket in batch])
        try:
            super()._serve(batch)
        finally:
            self.process.batch = None
        for ticket, verdict in zip(batch, verdicts, strict=False):
            check_verdict(verdict, ticket.outcome)


def check_verdict(verdict: Any, outcome: Any) -> None:
    """The service has decided a request of a batch as the model has."""
    if isinstance(outcome, Accepted) and verdict != outcome.way:
        raise Wrong(f"way {outcome.way} was taken, and should be {verdict}")
    if isinstance(outcome, Refusal) and (
        not isinstance(verdict, set) or type(outcome).__name__ not in verdict
    ):
        raise Wrong(f"refused with {outcome}, and should be {verdict}")


@dataclass
class Call:
    """Something that a client asks for, which may be sent again.

    ``decide``: what the model makes of it now; raises Refused. Gives what enters it, None where
    there is nothing to do. ``on_commit``: what a transaction outside of the queue has done; None:
    what ``decide`` gives. ``fits``: whether something would fit, for whoever is told otherwise.
    ``check``: of an answer. ``may_repeat``: whether a client would send it once more now.
    """

    name: str
    send: Callable[["Process", Origin], Any]
    decide: Callable[[Origin], Callable[[], None] | None]
    request_id: str | None = None
    global_request_id: str | None = None
    owner: tuple[str, str] = ("project", "user")
    check: Callable[[Any], None] = lambda _answer: None
    fits: Callable[[Origin], bool] = lambda _origin: False
    in_queue: bool = False
    on_commit: Callable[[Origin], None] | None = None
    may_repeat: Callable[[], bool] = lambda: True


@dataclass
class Process:
    """One process of the service: it remembers nothing that it could not lose."""

    world: "World"
    number: int
    life: int = 0
    captures: bool = False
    captured: ClaimRequest | None = None
    batch: list[Any] | None = None
    effect: Callable[[], None] | None = None
    is_nested: bool = False
    is_busy: bool = False
    skew_s: int = 0

    def start(self) -> None:
        self.life += 1
        self.points = Points(self._before_begin, self._committed, self._in_between)
        store = Store.open(f"sqlite:///{self.world.path}", connections_max=2)
        open_session = store.dialect.open_session
        store.dialect.open_session = (  # type: ignore[method-assign]
            lambda connection: FaultySession(open_session(connection), self.points)
        )
        self.services = Services(
            store=store,
            keeper=Keeper(store),
            sums=ProjectSums(store),
            claims=Queue(self, store),
            providers=ProviderQueue(store),
            rules=Rules(ABSENTEE, SearchRules()),
            clock=self.now,
            new_random=lambda: np.random.default_rng(self.world.random.getrandbits(32)),
        )
        name = f"process-{self.number}-{self.life}"
        leadership = Leadership(
            store,
            RUNNER,
            holder=lambda: name,
            is_dead=lambda holder: holder not in self.world.alive(),
            clock_s=lambda: self.world.elapsed_s,
        )
        self.name = name
        self.runner = Runner(
            self.services,
            leadership,
            steps=[Step(step.name, self._watched(step.run)) for step in STEPS],
            clock_s=lambda: self.world.elapsed_s,
        )
        self.failures: list[Exception] = []

    def end(self) -> None:
        self.services.store.close()

    def restart(self) -> None:
        self.end()
        self.start()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.world.at_s + self.skew_s)

    def origin(self, call: Call) -> Origin:
        request_id = call.request_id or self.world.new_request_id()
        return Origin(request_id, call.global_request_id, *call.owner, self.now())

    def _watched(self, run: Callable[[Services, Origin], int]) -> Callable[..., int]:
        def watched(services: Services, origin: Origin) -> int:
            try:
                return run(services, origin)
            except Exception as error:
                # The runner goes on whatever happens; here it has to have been our doing.
                self.failures.append(error)
                raise

        return watched

    # What happens around each transaction

    def expect_batch(self, requests: Sequence[ClaimRequest]) -> list[Any]:
        """The verdicts on a batch; they are there once it is committed."""
        verdicts: list[Any] = []
        model = self.world.model

        def enter() -> None:
            verdicts.clear()
            verdicts.extend(enter_request(self.world, model, request) for request in requests)

        self.batch = [enter]
        return verdicts

    def _before_begin(self) -> None:
        if not self.is_nested:
            self.world.come_between(self)

    def _in_between(self) -> None:
        if not self.is_nested:
            self.world.look_between(self)

    def _committed(self) -> None:
        if self.batch is not None:
            (enter,) = self.batch
            enter()
        elif self.effect is not None:
            self.effect()
        self.world.check()


def enter_request(world: "World", model: Model, request: ClaimRequest) -> Any:
    """The way of a request that has room is entered; else why there is none."""
    origin = request.origin
    for number, claims in enumerate(request.ways):
        try:
            effect = decide_way(world, model, request, claims, number)
        except Refused as refused:
            reasons = refused.reasons
            if not reasons <= NO_ROOM:
                return reasons - NO_ROOM
            continue
        effect()
        if request.lease_until is not None:
            for claim in claims:
                model.leases[str(claim.consumer)] = Lease(origin.request_id, 1, request.lease_until)
        return number
    return reasons


def decide_way(
    world: "World", model: Model, request: ClaimRequest, claims: Any, number: int
) -> Callable[[], None]:
    origin, move = request.origin, request.move
    if move is None:
        made = None
        if request.notes:
            made = (origin.request_id, request.notes[number][0].after.digest)
        return model.decide_put(
            claims,
            request_id=origin.global_request_id,
            at=origin.at,
            name=world.name_of,
            made=made,
        )
    (claim,) = claims
    if isinstance(move.order, Opening):
        return model.decide_opening(
            claim,
            uuid=str(move.order.uuid),
            kind=move.order.kind.value,
            request_id=origin.global_request_id,
            at=origin.at,
            digest=move.digest,
            deadline=move.deadline,
        )
    return model.decide_rescheduling(claim, str(move.order.uuid), move.order.generation)


@dataclass
class World:
    """A database file, the processes on it, and the model beside it."""

    path: Path
    random: random.Random
    model: Model = field(default_factory=Model)
    processes: list[Process] = field(default_factory=list)
    at_s: float = 0.0
    elapsed_s: float = 0.0
    steps: int = 0
    picture: Picture | None = None
    nested: Callable[[Process], None] | None = None
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=TRACE_MAX))
    calls: int = 0
    faults: int = 0
    power_losses: int = 0
    checks: int = 0

    def __post_init__(self) -> None:
        self.reader = Reader(self.path)
        self.invariants = Invariants()
        self.player = Player()
        self.told = hashlib.sha256()
        self._requests = 0
        self._committed_version = 0

    def tell(self, line: str) -> None:
        self.trace.append(line)
        self.told.update(line.encode())

    def new_uuid(self, prefix: str) -> str:
        text = f"{self.random.getrandbits(124):031x}"
        digits = prefix + text
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def new_request_id(self) -> str:
        self._requests += 1
        return f"req-{self._requests:032d}"

    def alive(self) -> set[str]:
        return {process.name for process in self.processes}

    def open(self, processes: int) -> None:
        for number in range(processes):
            process = Process(self, number)
            self.processes.append(process)
            process.start()

    def close(self) -> None:
        for process in self.processes:
            process.end()
        self.reader.close()

    def lose_power(self) -> None:
        """All processes are gone at once; the files are as the last write has left them."""
        self.power_losses += 1
        path = self.path.with_name(f"{self.path.stem.partition('+')[0]}+{self.power_losses}.db")
        for suffix in ("", "-wal"):
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                shutil.copyfile(source, path.with_name(path.name + suffix))
        for process in self.processes:
            process.end()
        self.reader.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path = path
        self.reader.reopen(path)
        for process in self.processes:
            process.start()
        self.check()

    # The books

    def look(self) -> Picture:
        if self.picture is None or self.reader.has_changed():
            self.picture = self.reader.read()
            self.checks += 1
            self.invariants.check(self.picture, self.model.strays)
            self.player.play(self.picture)
        return self.picture

    def check(self) -> None:
        """All there is, against all that must hold."""
        before = self.picture
        now = self.look()
        if now is not before or self.model.version != self._committed_version:
            check_against(self.model, now)
            self._committed_version = self.model.version

    def name_of(self, trip: Trip) -> str:
        """The uuid that the service gave a move that it has made out."""
        for uuid, found in self.look().trips.items():
            if uuid not in self.model.trips and (found.consumer, found.hold) == (
                trip.consumer,
                trip.hold,
            ):
                return uuid
        raise Wrong(f"a move was not seen to begin: {trip}")

    # Calls

    def come_between(self, process: Process) -> None:
        """Others do something just before a transaction begins."""
        nested = self.nested
        if nested is None:
            return
        self.nested = None
        others = [one for one in self.processes if one is not process and not one.is_busy]
        if others:
            other = self.random.choice(others)
            other.is_nested = True
            try:
                nested(other)
            finally:
                other.is_nested = False

    def look_between(self, process: Process) -> None:
        """Nobody sees anything of what is not committed yet."""
        if self.random.random() < 0.02:
            self.check()

    def perform(
        self, call: Call, process: Process, *, at: int | None = None, fault: Fault | None = None
    ) -> bool:
        """Have a process serve a call; whether its client got an answer."""
        self.calls += 1
        attempt = Attempt(self, call, process)
        process.is_busy = True
        process.points.plan(at, fault)
        try:
            outcome = attempt.run()
        finally:
            process.is_busy = False
            process.effect = None
        self.tell(
            f"{self.steps} {process.name} {call.name}: {outcome}"
            f" {[fault.name for fault in process.points.happened]} {self.reader.mark}"
        )
        if process.points.happened:
            self.faults += 1
            self._recover(process)
        self.check()
        return outcome != "?"

    def _recover(self, process: Process) -> None:
        (*_, last) = process.points.happened
        if last is Fault.POWER and not process.is_nested:
            self.lose_power()
        elif last in (Fault.CRASH, Fault.POWER):
            process.restart()


@dataclass
class Attempt:
    """One sending of a call."""

    world: World
    call: Call
    process: Process

    def run(self) -> str:
        call, process, model = self.call, self.process, self.world.model
        origin = process.origin(call)
        self.version = model.version
        self.refused = set[str]()
        self.reasons = self._reasons(origin)
        if call.on_commit is not None:
            on_commit = call.on_commit
            process.effect = lambda: on_commit(origin)
        elif not call.in_queue:
            process.effect = lambda: self._enter(origin)
        try:
            answer = call.send(process, origin)
        except Crash:
            return "?"
        except (StoreUnavailable, Broken) as error:
            if not process.points.happened:
                raise Wrong(f"{call.name}: {type(error).__name__} without cause") from error
            return "?"
        except Refusal as refusal:
            self._check_refusal(refusal, origin)
            return type(refusal).__name__
        if self.refused:
            raise Wrong(f"{call.name} was acknowledged in spite of {self.refused}")
        call.check(answer)
        return "done"

    def _reasons(self, origin: Origin) -> set[str]:
        """Why the call may be refused now; nothing: it must not be."""
        try:
            self.call.decide(origin)
        except Refused as refused:
            return refused.reasons
        return set()

    def _enter(self, origin: Origin) -> None:
        """The service has committed: so the model must agree."""
        try:
            effect = self.call.decide(origin)
        except Refused as refused:
            # A refusal may be committed too: nothing is written then, or else the books tell.
            self.refused = refused.reasons
            return
        if effect is not None:
            effect()

    def _check_refusal(self, refusal: Refusal, origin: Origin) -> None:
        name = type(refusal).__name__
        reasons = self.reasons | self._reasons(origin)
        if name == "NothingFits":
            if self.version == self.world.model.version and self.call.fits(origin):
                raise Wrong(f"{self.call.name}: something fits in spite of {refusal.explanation}")
        elif name not in reasons:
            raise Wrong(f"{self.call.name} was refused: {refusal}; due is {reasons or 'nothing'}")
