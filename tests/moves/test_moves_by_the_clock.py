"""Deadlines, and holds whose consumers were deleted: what the runner does about them."""

import threading
from collections.abc import Iterator

import pytest

from moorage.domain.move import MoveEvent, MoveRules, MoveState
from moorage.domain.move_record import MoveRecord, Reason
from moorage.operations.open_move import MoveMade
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_move import show_move
from moorage.operations.watch_moves import (
    MOVES_AT_ONCE_MAX,
    OVERDUE_KIND,
    clean_up_moves,
    end_overdue_moves,
)
from moorage.workers.runner import STEPS
from tests.frame.conftest import Lines
from tests.moves.breaking import POINTS_MAX, Broken, breaking, everything
from tests.moves.fleet import Fleet, erase
from tests.support.books import claim_for, find_faults, hold, origin


@pytest.fixture
def fleet(services: Services) -> Iterator[Fleet]:
    """A fleet whose books are looked through after each test."""
    found = Fleet.build(services)
    yield found
    assert find_faults(services) == []


def open_for_a_minute(fleet: Fleet) -> MoveMade:
    return fleet.open(fleet.order(fleet.boot(), deadline_s=60))


def end(fleet: Fleet, *, after_s: int) -> int:
    return end_overdue_moves(fleet.services, fleet.origin(after_s=after_s))


def now(fleet: Fleet, made: MoveMade) -> MoveRecord:
    return show_move(fleet.services, made.move.uuid)


def alerts(lines: Lines) -> list[tuple[str, str]]:
    return [
        (line["move"], line["state"])
        for line in lines()
        if line["event"] == "alert" and line["alert"] == "a move is overdue"
    ]


def test_an_overdue_move_that_nobody_started_goes_back(fleet: Fleet, lines: Lines) -> None:
    made = open_for_a_minute(fleet)
    assert end(fleet, after_s=0) == 0
    assert now(fleet, made) == made.move
    assert end(fleet, after_s=120) == 1
    over = now(fleet, made)
    assert over.state is MoveState.REVERTED
    assert over.outcome is not None
    assert over.outcome.reason is Reason.OVERDUE
    assert fleet.held_by(over.consumer) == fleet.on(0)
    assert alerts(lines) == [(over.uuid, "reverted")]
    assert end(fleet, after_s=180) == 0


def test_an_overdue_move_that_was_started_is_told_once_and_left_alone(
    fleet: Fleet, lines: Lines
) -> None:
    made = open_for_a_minute(fleet)
    started = fleet.step(made, MoveEvent.START)
    assert [end(fleet, after_s=seconds) for seconds in (120, 180)] == [1, 0]
    assert alerts(lines) == [(made.move.uuid, "started")]
    assert fleet.journal(made.move.uuid).count(OVERDUE_KIND) == 1
    left = now(fleet, made)
    assert (left.state, left.deadline, left.due_at) == (
        MoveState.STARTED,
        made.move.deadline,
        None,
    )
    assert fleet.step(started, MoveEvent.CONFIRM).move.state is MoveState.CONFIRMED


def test_an_overdue_move_whose_source_has_vanished_is_told_and_left_alone(
    fleet: Fleet, lines: Lines
) -> None:
    made = open_for_a_minute(fleet)
    erase(fleet.services, fleet.hosts[0])
    assert [end(fleet, after_s=seconds) for seconds in (120, 180)] == [1, 0]
    assert alerts(lines) == [(made.move.uuid, "claimed")]
    assert fleet.held_by(made.move.consumer) == fleet.on(1)
    fleet.step(fleet.step(made, MoveEvent.START), MoveEvent.CONFIRM)


@pytest.mark.parametrize("begun", [False, True])
def test_a_runner_that_dies_has_told_what_the_books_say_it_has_told(
    fleet: Fleet, lines: Lines, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    """It may end anywhere, also between the alert and the commit: the next one tells it again."""
    made = open_for_a_minute(fleet)
    if begun:
        fleet.step(made, MoveEvent.START)
    told = (made.move.uuid, "started" if begun else "reverted")
    before = everything(fleet.services)
    counts: list[int] = []
    for after in range(POINTS_MAX):
        with breaking(monkeypatch, after):
            try:
                end(fleet, after_s=120)
            except Broken:
                assert everything(fleet.services) == before
                counts.append(len(alerts(lines)))
                continue
        break
    assert counts[-2:] == [0, 1], "the last point at which it can die is the commit"
    assert alerts(lines) == [told, told]
    assert now(fleet, made).due_at is None
    assert end(fleet, after_s=180) == 0


def test_moves_that_are_over_or_have_no_deadline_are_never_overdue(
    fleet: Fleet, lines: Lines
) -> None:
    fleet.step(open_for_a_minute(fleet), MoveEvent.REVERT)
    fleet.open(fleet.order(fleet.boot(1)))
    assert end(fleet, after_s=10**6) == 0
    assert alerts(lines) == []


def test_two_runners_at_once_end_and_tell_a_move_once(fleet: Fleet, lines: Lines) -> None:
    idle = [open_for_a_minute(fleet) for _ in range(2)]
    begun = fleet.step(open_for_a_minute(fleet), MoveEvent.START)
    threads = [
        threading.Thread(target=end, args=(fleet,), kwargs={"after_s": 120}) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while end(fleet, after_s=120):
        pass
    expected = [(made.move.uuid, "reverted") for made in idle] + [(begun.move.uuid, "started")]
    assert sorted(alerts(lines)) == sorted(expected)


def test_the_hold_of_a_deleted_consumer_is_cleaned_up(fleet: Fleet) -> None:
    made = open_for_a_minute(fleet)
    release(fleet.services, consumer=made.move.consumer, origin=origin())
    assert fleet.held_by(made.move.uuid) == fleet.on(0)
    assert [clean_up_moves(fleet.services, origin()) for _ in range(2)] == [1, 0]
    over = now(fleet, made)
    assert over.state is MoveState.ABANDONED
    assert over.outcome is not None
    assert over.outcome.reason is Reason.CONSUMER_DELETED
    assert fleet.held_by(made.move.uuid) == {}
    assert [fleet.used(one) for one in (*fleet.hosts, fleet.pool)] == [0, 0, 0, 0]


def test_where_moves_are_not_observed_a_consumer_that_is_given_away_counts_as_deleted(
    fleet: Fleet,
) -> None:
    made = open_for_a_minute(fleet)
    fleet.services.claims.moves = MoveRules(observe=False)
    taker = "5e1d0000-0000-4000-8000-000000000002"
    gives = claim_for(made.move.consumer, {}, generation=2)
    hold(fleet.services, gives, claim_for(taker, fleet.on(1)))
    assert clean_up_moves(fleet.services, origin()) == 1
    assert now(fleet, made).state is MoveState.ABANDONED
    assert fleet.held_by(made.move.uuid) == {}
    assert fleet.held_by(taker) == fleet.on(1)


def test_the_hold_of_a_move_that_is_observed_is_nobody_elses(fleet: Fleet) -> None:
    """Whoever makes it is about to claim."""
    instance = fleet.boot()
    migration = "5e1d0000-0000-4000-8000-000000000001"
    gives = claim_for(instance, {}, generation=1)
    hold(fleet.services, gives, claim_for(migration, fleet.on(0)))
    assert clean_up_moves(fleet.services, origin()) == 0
    assert fleet.held_by(migration) == fleet.on(0)


def test_more_overdue_moves_than_one_look_takes_are_all_seen_to(services: Services) -> None:
    fleet = Fleet.build(services, hosts=3, cpus=1_000, disk=10_000)
    for _ in range(MOVES_AT_ONCE_MAX + 1):
        open_for_a_minute(fleet)
    assert [end(fleet, after_s=120) for _ in range(3)] == [MOVES_AT_ONCE_MAX, 1, 0]
    assert fleet.used(fleet.hosts[0]) == 2 * (MOVES_AT_ONCE_MAX + 1)
    assert find_faults(services) == []


def test_moves_are_among_the_runners_steps() -> None:
    assert {"end_overdue_moves", "clean_up_moves"} <= {step.name for step in STEPS}
