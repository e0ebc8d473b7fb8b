"""The books as they stand in the file, read past the service, and what must hold of them alone."""

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.simulation.faults import Wrong
from tests.simulation.model import (
    HOLD_PREFIX,
    OPEN,
    Held,
    Holder,
    Lease,
    Model,
    Provider,
    Slot,
    Stock,
    Trip,
)


@dataclass
class Picture:
    """All that the tables say, as of one moment."""

    providers: dict[str, Provider]
    generations: dict[str, int]
    ids: dict[int, str]
    classes: dict[int, str]
    used: dict[Slot, int]
    holders: dict[str, Holder]
    trips: dict[str, Trip]
    leases: dict[str, Lease]
    credited: Counter[Slot]
    news: list[Any]


class Reader:
    """Reads the file on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._classes: dict[int, str] = {}
        self._version: int | None = None
        self._ids: dict[int, str] = {}
        self.mark = 0

    def close(self) -> None:
        self._connection.close()

    def reopen(self, path: Path) -> None:
        """Go on with a copy of the file."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._version = None

    def has_changed(self) -> bool:
        """Whether anyone has committed a change since this was asked last."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        found = version != self._version
        self._version = version
        return found

    def generation_of(self, provider: str) -> int | None:
        sql = "SELECT generation FROM resource_providers WHERE uuid = ?"
        row = self._connection.execute(sql, (provider,)).fetchone()
        return None if row is None else row[0]

    def newest_provider(self) -> str:
        """The one with the highest row id."""
        sql = "SELECT uuid FROM resource_providers ORDER BY id DESC LIMIT 1"
        found: str = self._connection.execute(sql).fetchone()[0]
        return found

    def read(self) -> Picture:
        execute = self._connection.execute
        execute("BEGIN")
        try:
            return self._read(execute)
        finally:
            execute("COMMIT")

    def _read(self, execute: Any) -> Picture:
        if not self._classes:
            self._classes = dict(execute("SELECT id, name FROM resource_classes").fetchall())
        rows = execute(
            "SELECT id, uuid, generation, root_provider_id FROM resource_providers"
        ).fetchall()
        # What has outlived its provider is told by the name that it had.
        self._ids.update({row[0]: row[1] for row in rows})
        ids = self._ids
        providers = {row[1]: Provider(row[1], ids[row[3]]) for row in rows}
        self._read_stock(execute, ids, providers)
        holders, leases = self._read_holders(execute, ids), self._read_leases(execute)
        trips, credited = self._read_trips(execute, ids)
        used = {
            (ids[row[0]], self._classes[row[1]]): row[2]
            for row in execute("SELECT resource_provider_id, resource_class_id, used"
                               " FROM moorage_usages")
        }  # fmt: skip
        news = execute(
            "SELECT id, kind, subject, before, after FROM moorage_journal WHERE id > ? ORDER BY id",
            (self.mark,),
        ).fetchall()
        self.mark = news[-1][0] if news else self.mark
        return Picture(
            providers, {row[1]: row[2] for row in rows}, ids, self._classes, used, holders,
            trips, leases, credited, news,
        )  # fmt: skip

    def _read_stock(self, execute: Any, ids: dict[int, str], providers: Any) -> None:
        for row in execute(
            "SELECT resource_provider_id, resource_class_id, total, reserved, min_unit, max_unit,"
            " step_size, allocation_ratio FROM inventories"
        ):
            providers[ids[row[0]]].stock[self._classes[row[1]]] = Stock(*row[2:])
        for row in execute(
            "SELECT l.resource_provider_id FROM resource_provider_traits l"
            " JOIN traits n ON n.id = l.trait_id WHERE n.name = 'MISC_SHARES_VIA_AGGREGATE'"
        ):
            providers[ids[row[0]]].shares = True
        for row in execute(
            "SELECT l.resource_provider_id, a.uuid FROM resource_provider_aggregates l"
            " JOIN placement_aggregates a ON a.id = l.aggregate_id"
        ):
            providers[ids[row[0]]].aggregates |= {row[1]}

    def _read_holders(self, execute: Any, ids: dict[int, str]) -> dict[str, Holder]:
        holders = {
            row[0]: Holder(row[1], (row[2], row[3]), {})
            for row in execute(
                "SELECT c.uuid, c.generation, p.external_id, u.external_id FROM consumers c"
                " JOIN projects p ON p.id = c.project_id JOIN users u ON u.id = c.user_id"
            )
        }
        for consumer, provider, class_id, used in execute(
            "SELECT consumer_id, resource_provider_id, resource_class_id, used FROM allocations"
        ):
            if consumer not in holders:
                raise Wrong(f"an allocation of {consumer}, who is no consumer")
            slot = (ids[provider], self._classes[class_id])
            if slot in holders[consumer].held:
                raise Wrong(f"{consumer} holds {slot} twice")
            holders[consumer].held[slot] = used
        return holders

    def _read_leases(self, execute: Any) -> dict[str, Lease]:
        rows = execute("SELECT consumer, request_id, generation, expires_at FROM moorage_leases")
        return {row[0]: Lease(row[1], row[2], datetime.fromisoformat(row[3])) for row in rows}

    def _read_trips(
        self, execute: Any, ids: dict[int, str]
    ) -> tuple[dict[str, Trip], Counter[Slot]]:
        by_move: dict[str, Held] = {}
        credited: Counter[Slot] = Counter()
        for move, provider, class_id, used in execute(
            "SELECT move, resource_provider_id, resource_class_id, used FROM moorage_credits"
        ):
            slot = (ids[provider], self._classes[class_id])
            by_move.setdefault(move, {})[slot] = used
            credited[slot] += used
        trips = {}
        for row in execute(
            "SELECT uuid, kind, state, consumer, hold, generation, credited, global_request_id,"
            " created_at, last_step, step_generation, due_at, digest, open_consumer, open_hold"
            " FROM moorage_moves"
        ):
            *front, credited_flag, request_id, at, step, generation, due, digest, mover, hold = row
            trips[row[0]] = Trip(
                *front, bool(credited_flag), by_move.pop(row[0], {}), request_id,
                datetime.fromisoformat(at), step, generation, due and datetime.fromisoformat(due),
                digest,
            )  # fmt: skip
            there = (row[3], row[4]) if row[2] in OPEN else (None, None)
            if there != (mover, hold):
                raise Wrong(f"move {row[0]} is {row[2]}, and marked for {mover} and {hold}")
        if by_move:
            raise Wrong(f"credits of no move: {by_move}")
        return trips, credited


@dataclass
class Invariants:
    """What must hold of each picture, whatever has been done; knows the one before."""

    before: Picture | None = None

    def check(self, now: Picture, strays: set[str]) -> None:
        held: Counter[Slot] = Counter()
        for holder in now.holders.values():
            held.update(holder.held)
            if not holder.held:
                raise Wrong("a consumer holds nothing")
        self._check_totals(now, held)
        self._check_moves(now, strays)
        self.before = now

    def _check_totals(self, now: Picture, held: Counter[Slot]) -> None:
        stocks = {
            (provider.uuid, name): stock
            for provider in now.providers.values()
            for name, stock in provider.stock.items()
        }
        if stocks.keys() != now.used.keys():
            raise Wrong(f"totals and inventories: {stocks.keys() ^ now.used.keys()}")
        before = self._used_before(now)
        for slot, stock in stocks.items():
            used = now.used[slot]
            if used != held[slot] - now.credited[slot]:
                raise Wrong(
                    f"{slot}: the total is {used}, allocated are {held[slot]},"
                    f" credited {now.credited[slot]}"
                )
            if used > stock.capacity and used > before[slot]:
                raise Wrong(f"{slot}: {used} of {stock.capacity}, before {before[slot]}")

    def _used_before(self, now: Picture) -> Counter[Slot]:
        """What was in use, and what was credited to moves that others have taken the place of."""
        if self.before is None:
            return Counter()
        used = Counter(self.before.used)
        for uuid, trip in self.before.trips.items():
            if trip.credits and now.trips[uuid].state == "abandoned":
                used.update(trip.credits)
        return used

    def _check_moves(self, now: Picture, strays: set[str]) -> None:
        holds = set[str]()
        movers = set[str]()
        for trip in now.trips.values():
            if trip.state not in OPEN:
                if trip.state == "abandoned" and trip.kind == "observed":
                    # A client's own consumer, which the client has to drop.
                    holds.add(trip.hold)
                if trip.credits:
                    raise Wrong(f"{trip} is over and has credits")
                continue
            if trip.consumer in movers:
                raise Wrong(f"two open moves of one consumer: {trip}")
            holds.add(trip.hold)
            movers.add(trip.consumer)
            self._check_open(now, trip)
        for consumer in now.holders:
            if consumer.startswith(HOLD_PREFIX) and consumer not in holds | strays:
                raise Wrong(f"a hold without an open move: {consumer}")

    def _check_open(self, now: Picture, trip: Trip) -> None:
        mover, hold = now.holders.get(trip.consumer), now.holders.get(trip.hold)
        if (mover is not None) != (trip.state != "swapped"):
            raise Wrong(f"{trip}: its consumer holds {mover}")
        if hold is None and trip.kind != "unshelve":
            raise Wrong(f"{trip} is open without a hold")
        for slot, amount in trip.credits.items():
            common = min(
                mover.held.get(slot, 0) if mover else 0, hold.held.get(slot, 0) if hold else 0
            )
            if amount != common or not trip.credited:
                raise Wrong(f"{trip}: {amount} of {slot} credited, in common are {common}")


class Player:
    """Plays the journal from its start: what it tells must be what there is."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, bool], Any] = {}

    def play(self, now: Picture) -> None:
        for number, kind, subject, before, after in now.news:
            if not kind.startswith("allocation."):
                continue
            key = (subject, kind == "allocation.credit")
            was, found = self._told.pop(key, None), told_of(now, before)
            if was != found:
                raise Wrong(f"journal row {number}, {kind} of {subject}: {found} before, not {was}")
            if after is not None:
                self._told[key] = told_of(now, after)
        self._check(now)

    def _check(self, now: Picture) -> None:
        told: Counter[Slot] = Counter()
        for (_, is_credit), holder in self._told.items():
            for slot, amount in holder[0].items():
                told[slot] += -amount if is_credit else amount
        for slot, used in now.used.items():
            if told[slot] != used:
                raise Wrong(f"{slot}: the journal tells {told[slot]}, the total is {used}")


def told_of(now: Picture, document: str | None) -> Any:
    """What the journal says that somebody holds; what has no name is told by its number."""
    if document is None:
        return None
    told = json.loads(document)
    held = {
        (
            now.ids[int(uuid[1:])] if uuid.startswith("#") else uuid,
            now.classes[int(name[1:])] if name.startswith("#") else name,
        ): amount
        for uuid, part in told.pop("resources").items()
        for name, amount in part.items()
    }
    return held, told


def check_against(model: Model, now: Picture) -> None:
    """The books are what the model says, in every respect that it knows."""
    _same("providers", model.providers, now.providers)
    holders = {uuid: (h.generation, h.owner, h.held) for uuid, h in model.holders.items()}
    found = {uuid: (h.generation, h.owner, h.held) for uuid, h in now.holders.items()}
    _same("consumers", holders, found)
    _same("moves", model.trips, now.trips)
    _same("leases", model.leases, now.leases)


def _same(what: str, due: dict[str, Any], found: dict[str, Any]) -> None:
    if due == found:
        return
    for key in sorted(due.keys() | found.keys()):
        if due.get(key) != found.get(key):
            raise Wrong(f"{what}: {key} is {found.get(key)}, and should be {due.get(key)}")
