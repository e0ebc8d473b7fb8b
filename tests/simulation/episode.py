"""One episode: a fresh fleet, clients that want something all the time, nothing left at the end."""

import shutil
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from moorage.domain.ids import ProviderUuid
from moorage.domain.move import MoveKind
from moorage.operations import claim_queue
from moorage.operations.claim_queue import ClaimRequest
from moorage.operations.sum_usages import sum_usages
from moorage.operations.write_queue import _Ticket
from moorage.store import migrate, transaction
from moorage.store.store import Store
from moorage.workers import runner
from tests.simulation.clients import OWNERS, Amounts, Clients
from tests.simulation.faults import Broken, Fault, Wrong
from tests.simulation.fleet import Fleet
from tests.simulation.model import Refused, Trip
from tests.simulation.world import Call, Captured, Process, World

PROCESSES = 2
MOVES = 40
"""Moves in an episode."""
STEPS_MAX = 1500
INSTANCES_MAX = 14

FAULTS = {
    Fault.CRASH: 6,
    Fault.POWER: 1,
    Fault.LOST: 6,
    Fault.BUSY: 5,
    Fault.FULL: 2,
    Fault.BROKEN: 5,
}
FAULT_PART = 0.25
NESTED_PART = 0.15
POINTS = 40
"""Points of a call at which its fault may be; shorter calls come to their end before it."""


@dataclass(frozen=True)
class Told:
    """What an episode has to tell: how much was done, and a digest of all of it."""

    moves: int
    calls: int
    faults: int
    checks: int
    digest: str

    def __add__(self, other: "Told") -> "Told":
        return Told(
            self.moves + other.moves,
            self.calls + other.calls,
            self.faults + other.faults,
            self.checks + other.checks,
            other.digest,
        )


NOTHING = Told(0, 0, 0, 0, "")


class Failed(AssertionError):
    """An episode has found something wrong."""


def run_episode(
    template: Path, directory: Path, *, seed: int, episode: int, moves: int = MOVES
) -> Told:
    """Play one episode on a copy of an empty database.

    Raises:
        Failed: with what led to it, and how to see it again.
    """
    own = directory / f"{seed}-{episode}"
    own.mkdir()
    path = own / "books.db"
    shutil.copyfile(template, path)
    random = Random(f"{seed}/{episode}")
    world = World(path, random)
    try:
        with (
            patch.object(claim_queue, "new_move_uuid", lambda: world.new_uuid("e")),
            patch.object(runner, "uuid4", lambda: world.new_uuid("0")),
            patch.object(transaction, "_backoff_s", lambda _attempts: 0.0),
        ):
            Episode(world).run(moves)
    except (Wrong, Exception) as error:
        story = "\n".join(world.trace)
        again = f"python -m tests.simulation --seed {seed} --episode {episode}"
        raise Failed(f"{story}\n{error!r}\nAgain: {again}") from error
    finally:
        world.close()
        shutil.rmtree(own)
    model = world.model
    return Told(model.opened, world.calls, world.faults, world.checks, world.told.hexdigest())


class Episode:
    """Clients, runners and what goes wrong with them, on one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = world.model
        self.random = world.random
        self.clients = Clients(world)
        self.fleet = Fleet(world)
        self.instances: list[str] = []
        self.sent: deque[Call] = deque(maxlen=30)
        self.offers: deque[tuple[Call, ClaimRequest]] = deque(maxlen=4)
        self.unfinished: list[Call] = []
        self.disturbances = 0

    def run(self, moves: int) -> None:
        self.world.open(PROCESSES)
        self.world.check()
        self.fleet.build()
        while self.model.opened < moves and self.world.steps < STEPS_MAX:
            self.step()
        self.drain()

    def step(self) -> None:
        """One thing that somebody wants, with what goes wrong meanwhile."""
        world, random = self.world, self.random
        world.steps += 1
        self.pass_time()
        chance = random.random()
        if chance < 0.12:
            self.take_turn(random.choice(world.processes))
        elif chance < 0.135:
            random.choice(world.processes).restart()
        elif chance < 0.19:
            if len(self.offers) > random.randrange(4):
                self.write_together(random.choice(world.processes))
            else:
                self.capture(random.choice(world.processes))
        else:
            call = self.next_call()
            if call is not None:
                self.serve(call, random.choice(world.processes))
        if world.steps % 8 == 0:
            self.check_pictures(random.choice(world.processes))

    def pass_time(self) -> None:
        world, random = self.world, self.random
        passed = random.uniform(0, 2)
        world.at_s += passed
        world.elapsed_s += passed
        if random.random() < 0.02:
            # Wall clocks jump, forward and back; what is monotonic does not.
            world.at_s = max(0.0, world.at_s + random.uniform(-600, 900))
            world.elapsed_s += random.uniform(0, 5)
        if random.random() < 0.01:
            random.choice(world.processes).skew_s = random.randint(-30, 30)

    # Sending

    def serve(self, call: Call, process: Process, *, tries: int = 3) -> None:
        """Send a call; a client that hears nothing mostly sends it again, as does one in doubt."""
        random = self.random
        self.sent.append(call)
        for _ in range(tries):
            if random.random() < NESTED_PART:
                self.world.nested = self.come_between
            answered = self.world.perform(call, process, **self.faults())
            self.world.nested = None
            again = random.random() < (0.08 if answered else 0.8)
            if not again or not call.may_repeat():
                return
            process = random.choice(self.world.processes)

    def faults(self) -> dict[str, Any]:
        random = self.random
        if random.random() >= FAULT_PART:
            return {}
        (fault,) = random.choices(list(FAULTS), FAULTS.values())
        return {"at": random.randrange(POINTS), "fault": fault}

    def come_between(self, process: Process) -> None:
        """Something that another process does just before a transaction of the first."""
        self.disturbances += 1
        if self.random.random() < 0.2:
            self.world.tell("in between:")
            self.take_turn(process)
            return
        call = self.next_call()
        if call is not None:
            self.world.tell("in between:")
            self.sent.append(call)
            self.world.perform(call, process, **self.faults())

    def capture(self, process: Process) -> None:
        """A request is decided on what there is now, and written later, if ever."""
        call = self.next_call()
        if call is None or not call.in_queue:
            return
        process.captures, process.captured = True, None
        try:
            call.send(process, process.origin(call))
        except Captured:
            assert process.captured is not None
            self.offers.append((call, process.captured))
        except Exception:
            pass
        finally:
            process.captures = False

    def write_together(self, process: Process) -> None:
        """Several requests are written in one transaction, and their clients ask again."""
        chosen = [one for one in self.offers if one[0].may_repeat()]
        self.offers.clear()
        if not chosen:
            return
        queue = process.services.claims

        def send(_process: Process, _origin: Any) -> None:
            queue._serve([_Ticket(request) for _, request in chosen])

        batch = Call(f"batch of {len(chosen)}", send, lambda _: None, in_queue=True)
        self.world.perform(batch, process, **self.faults())
        for call, _ in chosen:
            if call.may_repeat():
                self.serve(call, self.random.choice(self.world.processes))

    # The runner

    def take_turn(self, process: Process) -> None:
        """The runner of a process has its turn."""
        process.failures.clear()
        leads = False

        def send(process: Process, _origin: Any) -> None:
            nonlocal leads
            leads = process.runner.turn()

        call = Call("turn", send, lambda _: None, on_commit=lambda _: self.adopt(process))
        life, disturbances = process.life, self.disturbances
        self.world.perform(call, process, **self.faults())
        is_quiet = not process.points.happened and life == process.life
        if is_quiet and process.failures:
            raise Wrong(f"a step of the runner failed: {process.failures!r}")
        if any(not is_injected(error) for error in process.failures):
            raise Wrong(f"a step of the runner failed: {process.failures!r}")
        # What others did in between may be due by now: the next turn sees to it.
        if is_quiet and leads and disturbances == self.disturbances:
            self.check_nothing_due(process)

    def check_nothing_due(self, process: Process) -> None:
        """Whoever leads has left nothing undone."""
        at = process.now()
        due = (self.model.overdue(at), self.model.due_leases(at), self.model.left())
        if any(due):
            raise Wrong(f"the runner has left something: {due}")

    def adopt(self, process: Process) -> None:
        """Take in what the runner has committed, if it may do that."""
        model, at = self.model, process.now()
        now = self.world.look()
        gone = model.leases.keys() - now.leases.keys()
        if gone - model.due_leases(at):
            raise Wrong(f"leases have ended before their time: {gone}")
        model.expire(sorted(gone), at)
        for uuid, trip in list(model.trips.items()):
            found = now.trips[uuid]
            if (found.generation, found.due_at) != (trip.generation, trip.due_at):
                self.adopt_move(trip, found, at)

    def adopt_move(self, trip: Trip, found: Trip, at: Any) -> None:
        model = self.model
        if found.generation == trip.generation:
            if trip.due_at is None or trip.due_at > at:
                raise Wrong(f"told as overdue: {trip}")
            model.tell(trip.uuid)
            return
        step = "clean up" if trip.state == "swapped" else "deadline"
        if step == "deadline" and (trip.due_at is None or trip.due_at > at):
            raise Wrong(f"ended before its time: {trip}")
        try:
            effect = model.decide_step(trip.uuid, step, trip.generation)
        except Refused as refused:
            raise Wrong(f"{step} by the runner in spite of {refused.reasons}: {trip}") from None
        assert effect is not None
        effect()

    # What clients want

    def next_call(self) -> Call | None:
        random, model = self.random, self.model
        chance = random.random()
        open_trips = model.open_trips()
        if chance < 0.08 and self.sent:
            call = random.choice(self.sent)
            return call if call.may_repeat() else None
        if chance < 0.16:
            return self.change_fleet()
        if self.unfinished and chance < 0.24:
            return self.unfinished.pop(0)
        if random.random() < len(open_trips) / 10:
            return self.advance(random.choice(open_trips))
        return self.begin()

    def amounts(self) -> Amounts:
        random = self.random
        amounts = {"VCPU": random.choice((1, 1, 2, 2, 3, 4))}
        if random.random() < 0.85:
            amounts["DISK_GB"] = random.choice((2, 5, 10, 20, 30, 40))
        if random.random() < 0.4:
            amounts["MEMORY_MB"] = random.choice((1, 2, 4, 8))
        if random.random() < 0.15:
            amounts["VGPU"] = 1
        return amounts

    def begin(self) -> Call | None:
        """Something for an instance that is in no move, or for a new one."""
        random, model, clients = self.random, self.model, self.clients
        resting = [one for one in self.instances if model.held(one) and model.trip_of(one) is None]
        chance = random.random()
        if not resting or (chance < 0.3 and len(resting) < INSTANCES_MAX):
            return self.boot()
        instance = random.choice(resting)
        if chance < 0.6:
            movers = [trip.consumer for trip in model.open_trips()]
            if movers and random.random() < 0.2:
                instance = random.choice(movers)
            return self.order(instance)
        if chance < 0.85:
            asked_with = random.choice((None, *(trip.request_id for trip in model.open_trips())))
            if asked_with is None and random.random() < 0.8:
                asked_with = self.world.new_request_id()
            return clients.swap(instance, self.world.new_uuid("f"), asked_with)
        if chance < 0.9:
            return clients.resize_in_place(instance, self.amounts())
        if chance < 0.95 and model.leases:
            leased = random.choice(sorted(model.leases))
            if random.random() < 0.3:
                return clients.make_permanent(leased)
            return clients.renew(leased, random.randint(1, 300))
        return clients.delete(instance)

    def boot(self) -> Call | None:
        random, clients = self.random, self.clients
        gang = random.choices((1, 2, 3), (8, 2, 1))[0]
        shelved = [one for one in self.instances if not self.model.held(one)]
        new = [self.world.new_uuid("9") for _ in range(gang)]
        if shelved and random.random() < 0.3:
            new[0] = random.choice(shelved)
        self.instances += [one for one in new if one not in self.instances]
        if self.model.trip_of(new[0]) is not None:
            return None
        if gang == 1 and random.random() < 0.4:
            return clients.boot(new[0], self.amounts())
        lease_s = random.choice((None, random.randint(1, 200)))
        return clients.claim(
            new, self.amounts(), lease_s=lease_s, alternates=random.choice((0, 0, 2))
        )

    def order(self, instance: str) -> Call:
        random, model = self.random, self.model
        shelved = [
            one for one in self.instances if not model.held(one) and model.trip_of(one) is None
        ]
        kind = random.choice([kind for kind in MoveKind if kind.is_ordered])
        if kind is MoveKind.UNSHELVE:
            instance = random.choice(shelved) if shelved else self.world.new_uuid("9")
            self.instances += [instance] if instance not in self.instances else []
        amounts: Amounts = {}
        if not kind.has_source or kind is MoveKind.RESIZE or random.random() < 0.1:
            amounts = self.amounts()
        used = None
        if random.random() < 0.15:
            some = sorted(model.providers) + sorted(slot[0] for slot in model.held(instance))
            used = frozenset({random.choice(some)})
        generation = None
        if random.random() < 0.3 and (holder := model.holders.get(instance)):
            generation = holder.generation - (random.random() < 0.2)
        uuid = self.world.new_uuid("f")
        if model.trips and random.random() < 0.04:
            uuid = random.choice(sorted(model.trips))
        return self.clients.order(
            uuid,
            kind,
            instance,
            amounts,
            used=used,
            alternates=random.choice((0, 1, 2)),
            deadline_s=random.choice((None, random.randint(1, 400))),
            generation=generation,
            asked_with=self.world.new_request_id() if random.random() < 0.5 else None,
        )

    def advance(self, trip: Trip) -> Call | None:
        random = self.random
        if random.random() < (0.97 if trip.kind == "observed" else 0.15):
            return self.advance_by_allocations(trip)
        generation = trip.generation
        if random.random() < 0.1:
            generation -= random.choice((1, 1, 2, -1))
        steps = ["start", "confirm", "revert", "reschedule"]
        if random.random() < 0.85:
            steps = ["start", "start", "reschedule", "revert"]
            if trip.state == "started":
                steps = ["confirm", "confirm", "reschedule", "revert"]
        step = random.choice(steps)
        if step == "reschedule":
            return self.clients.reschedule(trip.uuid, generation)
        return self.clients.step(trip.uuid, step, generation)

    def advance_by_allocations(self, trip: Trip) -> Call | None:
        """What somebody who knows only Placement's API does to a move."""
        random, model, clients = self.random, self.model, self.clients
        asked_with = trip.request_id if random.random() < 0.85 else self.world.new_request_id()
        kept, has = model.held(trip.hold), model.held(trip.consumer)
        chance = random.random()
        if chance < (0.15 if has else 0.6):
            amounts = self.amounts()
            if kept and random.random() < 0.6:
                amounts = {}
                for (_, name), amount in sorted(kept.items()):
                    amounts[name] = amounts.get(name, 0) + amount
            return clients.claim_destination(trip, amounts, asked_with)
        if chance < 0.65 and kept:
            return clients.delete(trip.hold)
        if chance < 0.8 and kept:
            return clients.give_back(trip)
        if chance < 0.9 and has:
            return clients.delete(trip.consumer)
        if chance < 0.97 and has:
            return clients.swap(trip.consumer, self.world.new_uuid("f"), asked_with)
        if kept:
            less = {slot: max(1, amount - 1) for slot, amount in kept.items()}
            return clients.put("put less for the hold", clients.wish(trip.hold, less))
        return None

    def change_fleet(self) -> Call | None:
        random, model, fleet = self.random, self.model, self.fleet
        chance = random.random()
        slots = sorted((p.uuid, name) for p in model.providers.values() for name in p.stock)
        if not slots or chance < 0.12:
            first, *self.unfinished[len(self.unfinished) :] = fleet.host()
            return first
        slot = random.choice(slots)
        if chance < 0.65:
            if random.random() < 0.4:
                slot = random.choice([one for one in slots if one[1] == "DISK_GB"] or slots)
            stock = model.providers[slot[0]].stock[slot[1]]
            changed = fleet.changed(stock, model.used()[slot])
            return fleet.restock(slot, changed, behind=int(random.random() < 0.1))
        if chance < 0.75:
            pools = sorted(p.uuid for p in model.providers.values() if p.uuid.startswith("b"))
            pool = random.choice(pools) if pools else slot[0]
            return fleet.share(pool, shares=random.random() < 0.7)
        if chance < 0.85:
            return fleet.drop_stock(slot)
        provider = random.choice(sorted(model.providers.keys() - fleet.anchors))
        has_children = any(p.root == provider != p.uuid for p in model.providers.values())
        if chance < 0.95 and not has_children and len(model.providers) > 5:
            return fleet.vanish(provider)
        return fleet.drop(provider)

    # What must be so of each process, and at the end

    def check_pictures(self, process: Process) -> None:
        """The snapshot and the sums of a process are what the books say."""
        process.points.plan(None, None)
        snapshot = process.services.keeper.current()
        used = self.model.used()
        for provider in self.model.providers.values():
            position = snapshot.positions.get(ProviderUuid(provider.uuid))
            if position is None:
                raise Wrong(f"{process.name} does not see {provider}")
            found = dict(snapshot.resources_of(position))
            due = {
                name: (stock.capacity, used[provider.uuid, name])
                for name, stock in provider.stock.items()
            }
            if found != due:
                raise Wrong(f"{process.name} sees {found} on {provider.uuid}, and there is {due}")
        for project in sorted({owner[0] for owner in OWNERS}):
            self.check_sums(process, project)

    def check_sums(self, process: Process, project: str) -> None:
        due: dict[str, int] = {}
        for holder in self.model.holders.values():
            if holder.owner[0] == project:
                for (_, name), amount in holder.held.items():
                    due[name] = due.get(name, 0) + amount
        for trip in self.model.open_trips():
            if trip.credits and self.model.holders[trip.hold].owner[0] == project:
                for (_, name), amount in trip.credits.items():
                    due[name] -= amount
        found = sum_usages(process.services, project_id=project, user_id=None)
        if {name: n for name, n in found.items() if n} != due:
            raise Wrong(f"{process.name} sums up {found} for {project}, and there is {due}")

    def drain(self) -> None:
        """Everything comes to its end by legal steps, and nothing is left over."""
        world, model = self.world, self.model
        for process in world.processes:
            self.check_pictures(process)
        world.at_s += 10**6
        world.elapsed_s += 100
        for process in world.processes:
            process.skew_s = 0
            self.end_by_the_clock(process)
        self.check_nothing_due(world.processes[0])
        while trips := model.open_trips():
            self.finish(trips[0])
        for consumer in sorted(model.holders):
            self.perform_surely(self.clients.delete(consumer))
        now = world.look()
        left = (now.holders, now.leases, now.credited, {n for n in now.used.values() if n})
        if any(left):
            raise Wrong(f"something is left over: {left}")
        for process in world.processes:
            self.check_pictures(process)

    def end_by_the_clock(self, process: Process) -> None:
        call = Call(
            "turn", lambda p, _: p.runner.turn(), lambda _: None,
            on_commit=lambda _: self.adopt(process),
        )  # fmt: skip
        for _ in range(2):
            self.perform_surely(call, process)
            self.world.elapsed_s += 5

    def finish(self, trip: Trip) -> None:
        """Some step that must be possible."""
        clients, model = self.clients, self.model
        kept, held = model.held(trip.hold), model.held(trip.consumer)
        step = None
        if trip.kind != "observed" and trip.state in ("claimed", "started"):
            if all(map(model.has, kept)):
                step = "revert"
            elif all(map(model.has, held)):
                step = "start" if trip.state == "claimed" else "confirm"
        if step is not None:
            call = clients.step(trip.uuid, step, trip.generation)
        else:
            call = clients.delete(trip.hold if kept else trip.consumer)
        self.perform_surely(call)

    def perform_surely(self, call: Call, process: Process | None = None) -> None:
        version = self.model.version
        self.world.perform(call, process or self.random.choice(self.world.processes))
        if self.model.version == version and call.name != "turn":
            raise Wrong(f"{call.name} must be possible: {list(self.world.trace)[-1]}")


def is_injected(error: Exception) -> bool:
    return isinstance(error, Broken) or type(error).__name__ == "StoreUnavailable"


def make_template(path: Path) -> None:
    """An empty database with the newest schema, in one file."""
    store = Store.open(f"sqlite:///{path}")
    migrate.upgrade(store, at=datetime(2030, 1, 1))  # noqa: DTZ001 - naive UTC
    store.close()
    for suffix in ("-wal", "-shm"):
        assert not path.with_name(path.name + suffix).exists()
