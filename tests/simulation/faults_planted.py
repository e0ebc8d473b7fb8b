"""Wrong services, each with one fault that the simulation has to find."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any
from unittest.mock import patch

from moorage.domain import claim, move_steps, observe
from moorage.domain.claim import Room
from moorage.domain.credit import credits_of
from moorage.domain.move import MoveEvent
from moorage.domain.move_record import MoveRecord
from moorage.operations import advance_move, books, claim_queue, expire_leases, watch_moves
from moorage.store import moves
from moorage.store.transaction import Transaction

Patch = Any


def drops_credits() -> Patch:
    """The rows of credits are not written."""
    return patch.object(moves, "_credits", lambda _move: [])


def keeps_the_hold_of_a_confirmed_move() -> Patch:
    real = move_steps.decide_step

    def decide(ledger: Any, move: Any, step: MoveEvent, generation: Any) -> Any:
        changes = real(ledger, move, step, generation)
        return [] if step is MoveEvent.CONFIRM else changes

    return patch.object(advance_move, "decide_step", decide)


def forgets_that_a_step_was_made() -> Patch:
    return patch.object(MoveRecord, "has_made", lambda _self, _step, _generation: False)


def makes_a_repeated_step_twice() -> Patch:
    """Neither what was done last nor the generation that a client has seen is looked at."""
    stack = ExitStack()

    def check(move: Any, step: MoveEvent, generation: Any) -> None:
        real(move, step, move.generation)

    real = move_steps.check_step
    stack.enter_context(forgets_that_a_step_was_made())
    stack.enter_context(patch.object(move_steps, "check_step", check))
    stack.enter_context(patch.object(advance_move, "check_step", check))
    return stack


def counts_a_hold_as_free() -> Patch:
    """Capacity is checked as if what holds have was nobody's."""
    real = claim.room_for

    def room_for(ledger: Any, holdings: Any, changed: Any) -> Room:
        room = real(ledger, holdings, changed)
        released = room.released.copy()
        for change in changed:
            released.update(ledger.held_by(change.after.hold))
        return Room(room.used, released, room.ended)

    stack = ExitStack()
    for module in (claim, move_steps):
        stack.enter_context(patch.object(module, "room_for", room_for))
    return stack


def credits_on_every_provider() -> Patch:
    """What is on hosts of their own is credited too, as if they shared it."""

    def everywhere(mover: Mapping[Any, int], hold: Mapping[Any, int], _sharing: Any) -> Any:
        return credits_of(mover, hold, {slot[0] for slot in mover})

    stack = ExitStack()
    for module in (observe, move_steps):
        stack.enter_context(patch.object(module, "credits_of", everywhere))
    return stack


def credits_half_of_what_is_in_common() -> Patch:
    def half(mover: Any, hold: Any, sharing: Any) -> Any:
        return {slot: (n + 1) // 2 for slot, n in credits_of(mover, hold, sharing).items()}

    stack = ExitStack()
    for module in (observe, move_steps):
        stack.enter_context(patch.object(module, "credits_of", half))
    return stack


def commits_in_the_middle() -> Patch:
    """What is written of moves is committed before the rest: a crash between them leaves half."""
    real = books.write_moves

    def write(tx: Transaction, rows: Any, *, at: datetime) -> None:
        real(tx, rows, at=at)
        if rows:
            tx.send(commit=True)
            tx.begun = False

    return patch.object(books, "write_moves", write)


def forgets_to_journal_credits() -> Patch:
    real = books.move_entries

    def entries(*arguments: Any) -> Iterator[Any]:
        return (entry for entry in real(*arguments) if entry.kind != "allocation.credit")

    return patch.object(books, "move_entries", entries)


def reverts_what_was_started() -> Patch:
    """The runner takes back overdue moves that somebody has started."""

    def see_to(services: Any, record: MoveRecord, origin: Any) -> MoveRecord:
        stepping = advance_move.Stepping(record.uuid, MoveEvent.REVERT, record.generation)
        return advance_move.advance_move(services, stepping, origin).move

    return patch.object(watch_moves, "_see_to", see_to)


def leaves_holds_of_deleted_consumers() -> Patch:
    return patch.object(watch_moves, "read_left_moves", lambda _store, most: [])


def frees_what_was_changed_since() -> Patch:
    """A lease frees what its consumer has, whoever has changed that since."""
    return patch.object(expire_leases, "is_in_force", lambda lease, holder, made: True)


def credits_whatever_is_claimed() -> Patch:
    """A claim is taken for its consumer's move, with whichever request it comes."""
    return patch.object(observe.Observer, "claims_for", lambda _self, _move: True)


def serves_two_orders_of_one_consumer() -> Patch:
    """Whether a consumer is in a move is not asked."""
    return patch.object(move_steps, "check_may_move", lambda *_: None)


def answers_before_the_commit() -> Patch:
    """The queue tells its clients that all went well, and forgets to write."""
    real = claim_queue.write_books
    count = 0

    def write(tx: Transaction, found: Any, *, at: datetime) -> None:
        nonlocal count
        count += 1
        if count % 7:
            real(tx, found, at=at)

    return patch.object(claim_queue, "write_books", write)
