"""Moves that clients order: one transaction for each step, and nothing is ever left behind."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from moorage.domain.ids import ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.made_claim import Placing
from moorage.domain.move import MoveEvent, MoveKind, MoveState
from moorage.domain.move_record import MovePlan, Reason
from moorage.domain.move_steps import Opening
from moorage.domain.refusals import (
    ConsumerGenerationConflict,
    ConsumerInMove,
    DestinationGone,
    MoveExists,
    MoveGenerationConflict,
    MoveIsObserved,
    NothingFits,
    NothingToMove,
    SourceGone,
    StepImpossible,
    UnknownMove,
)
from moorage.operations.advance_move import Stepping, advance_move
from moorage.operations.claim_queue import ClaimRequest, MoveClaim
from moorage.operations.open_move import MoveMade
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_move import show_move
from moorage.operations.watch_moves import clean_up_moves
from moorage.store.migrate import recount
from tests.moves.fleet import Fleet, Resources, erase
from tests.support.books import (
    claim_for,
    count_statements,
    find_faults,
    hold,
    new_uuid,
    origin,
    services_on,
)

START, CONFIRM, REVERT = MoveEvent.START, MoveEvent.CONFIRM, MoveEvent.REVERT


@pytest.fixture
def fleet(services: Services) -> Iterator[Fleet]:
    """A fleet whose books are looked through after each test."""
    found = Fleet.build(services)
    yield found
    assert find_faults(services) == []


def test_a_move_is_opened_started_and_confirmed(fleet: Fleet) -> None:
    instance = fleet.boot()
    opened = fleet.open(fleet.order(instance))
    move = opened.move
    assert (move.state, move.generation, opened.repeated) == (MoveState.CLAIMED, 1, False)
    assert move.source == fleet.on(0) == fleet.held_by(move.uuid)
    assert move.plan is not None
    assert move.plan.destination.allocations == fleet.on(1) == fleet.held_by(instance)
    assert [fleet.used(host) for host in fleet.hosts] == [2, 2, 0]
    assert fleet.used(fleet.pool) == 20
    started = fleet.step(opened, START)
    assert started.move.state is MoveState.STARTED
    over = fleet.step(started, CONFIRM)
    assert over.move.state is MoveState.CONFIRMED
    assert fleet.held_by(move.uuid) == {}
    assert fleet.held_by(instance) == fleet.on(1)
    assert [fleet.used(host) for host in fleet.hosts] == [0, 2, 0]
    assert fleet.used(fleet.pool) == 20
    told = fleet.journal(move.uuid)
    assert [kind for kind in told if kind.startswith("move.")] == [
        "move.begin",
        "move.start",
        "move.confirm",
    ]


@pytest.mark.parametrize("started", [False, True])
def test_whoever_reverts_has_the_source_as_it_was(fleet: Fleet, *, started: bool) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance, kind=MoveKind.RESIZE, use=1, VCPU=4, DISK_GB=50))
    assert fleet.used(fleet.pool) == 50
    if started:
        made = fleet.step(made, START)
    over = fleet.step(made, REVERT)
    assert over.move.state is MoveState.REVERTED
    assert fleet.held_by(instance) == fleet.on(0)
    assert fleet.held_by(made.move.uuid) == {}
    assert fleet.used(fleet.pool) == 20
    assert [fleet.used(host) for host in fleet.hosts] == [2, 0, 0]


def test_a_full_pool_does_not_stop_a_move_that_needs_nothing_of_it(services: Services) -> None:
    fleet = Fleet.build(services, disk=20)
    made = fleet.open(fleet.order(fleet.boot()))
    assert fleet.used(fleet.pool) == 20
    rescheduled = fleet.reschedule(made)
    assert rescheduled.move.state is MoveState.CLAIMED
    assert fleet.used(fleet.pool) == 20
    assert find_faults(services) == []


@pytest.mark.parametrize("total", [30, 10])
def test_a_pool_that_has_shrunk_below_its_usage_lets_moves_through(
    fleet: Fleet, total: int
) -> None:
    instance = fleet.boot()
    fleet.boot(2, disk=60)
    fleet.stock(fleet.pool, "DISK_GB", Inventory(total))
    with pytest.raises(NothingFits):
        fleet.open(fleet.order(instance, kind=MoveKind.RESIZE, VCPU=2, DISK_GB=21))
    made = fleet.reschedule(fleet.open(fleet.order(instance)))
    assert made.move.state is MoveState.CLAIMED
    assert fleet.used(fleet.pool) == 80
    over = fleet.step(made, REVERT)
    assert over.move.state is MoveState.REVERTED
    assert fleet.held_by(instance) == fleet.on(0)


def test_a_move_that_has_grown_on_a_pool_keeps_as_much_of_it_elsewhere(fleet: Fleet) -> None:
    """Though the pool is over-full by now: what the move takes of it stays level."""
    instance = fleet.boot()
    fleet.boot(2, disk=10)
    made = fleet.open(fleet.order(instance, kind=MoveKind.RESIZE, VCPU=2, DISK_GB=40))
    fleet.stock(fleet.pool, "DISK_GB", Inventory(30))
    made = fleet.reschedule(made)
    assert made.move.state is MoveState.CLAIMED
    assert fleet.used(fleet.pool) == 50
    assert fleet.step(made, REVERT).move.state is MoveState.REVERTED
    assert fleet.used(fleet.pool) == 30


def test_a_source_that_has_shrunk_below_its_usage_takes_back(fleet: Fleet) -> None:
    instance = fleet.boot(cpus=4)
    made = fleet.open(fleet.order(instance))
    fleet.stock(fleet.hosts[0], "VCPU", Inventory(1, min_unit=1, max_unit=1))
    fleet.step(made, REVERT)
    assert fleet.held_by(instance) == fleet.on(0, cpus=4)


def test_a_resize_may_stay_on_its_host_and_holds_both_sizes_there(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance, kind=MoveKind.RESIZE, use=0, VCPU=5, DISK_GB=30))
    assert fleet.used(fleet.hosts[0]) == 7
    assert fleet.used(fleet.pool) == 30
    fleet.step(fleet.step(made, START), CONFIRM)
    assert fleet.used(fleet.hosts[0]) == 5
    assert fleet.used(fleet.pool) == 30


def test_a_migration_leaves_its_host(services: Services) -> None:
    fleet = Fleet.build(services, hosts=1)
    instance = fleet.boot()
    with pytest.raises(NothingFits):
        fleet.open(fleet.order(instance))
    assert fleet.held_by(instance) == fleet.on(0)
    assert fleet.moves() == []


def test_who_was_shelved_comes_from_nowhere(fleet: Fleet) -> None:
    for end, held in ((CONFIRM, fleet.on(0)), (REVERT, {})):
        instance = new_uuid()
        made = fleet.open(fleet.order(instance, kind=MoveKind.UNSHELVE, use=0, VCPU=2, DISK_GB=20))
        assert fleet.held_by(instance) == fleet.on(0)
        assert fleet.held_by(made.move.uuid) == {}
        assert (made.move.source, made.move.project_id) == ({}, "project")
        assert find_faults(fleet.services) == []
        fleet.step(fleet.step(made, START), end)
        assert fleet.held_by(instance) == held


def test_an_order_that_is_sent_again_is_told_the_move_as_it_is(fleet: Fleet) -> None:
    order = fleet.order(fleet.boot())
    made = fleet.open(order)
    again = fleet.open(order)
    assert (again.move, again.repeated) == (made.move, True)
    over = fleet.step(fleet.step(made, START), CONFIRM)
    assert fleet.open(order).move == over.move
    assert len(fleet.moves()) == 1


def test_another_order_with_the_same_uuid_is_refused(fleet: Fleet) -> None:
    made = fleet.open(fleet.order(fleet.boot()))
    other = fleet.boot()
    with pytest.raises(MoveExists):
        fleet.open(fleet.order(other, uuid=made.move.uuid))
    fleet.step(made, REVERT)
    with pytest.raises(MoveExists):
        fleet.open(fleet.order(other, uuid=made.move.uuid))
    assert fleet.held_by(other) == fleet.on(0)


def test_a_uuid_that_is_found_to_be_taken_while_it_is_written_is_refused(fleet: Fleet) -> None:
    """Whoever looked before the other order came, which is over by now."""
    over = fleet.step(fleet.open(fleet.order(fleet.boot())), REVERT).move
    other = fleet.boot()
    place = Placing({ProviderUuid(host): held for host, held in fleet.on(1).items()}, {})
    wish = claim_for(other, place.allocations, generation=1)
    order = Opening(over.uuid, MoveKind.MIGRATE, None, origin().at)
    request = ClaimRequest((wish,), origin(), move=MoveClaim(order, (MovePlan(place),)))
    with pytest.raises(MoveExists):
        fleet.services.claims.submit(request)
    assert fleet.held_by(other) == fleet.on(0)


def test_a_consumer_is_in_one_open_move_at_most(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance))
    for consumer in (instance, made.move.uuid):
        with pytest.raises(ConsumerInMove):
            fleet.open(fleet.order(consumer))
    fleet.step(made, REVERT)
    assert fleet.open(fleet.order(instance)).move.state is MoveState.CLAIMED


def test_who_holds_nothing_or_has_changed_is_not_moved(fleet: Fleet) -> None:
    with pytest.raises(NothingToMove):
        fleet.open(fleet.order(new_uuid()))
    instance = fleet.boot()
    with pytest.raises(ConsumerGenerationConflict) as refused:
        fleet.open(fleet.order(instance, generation=7))
    assert (refused.value.expected, refused.value.given) == (1, 7)
    assert fleet.open(fleet.order(instance, generation=1)).move.generation == 1


@pytest.mark.parametrize("events", [(START,), (START, CONFIRM), (START, REVERT), (REVERT,)])
def test_a_step_that_is_sent_again_is_answered_as_the_first_time(
    fleet: Fleet, events: tuple[MoveEvent, ...]
) -> None:
    made = fleet.open(fleet.order(fleet.boot()))
    for event in events:
        after = fleet.step(made, event)
        again = fleet.step(made, event)
        assert (after.repeated, again.repeated) == (False, True)
        assert again.move == after.move
        made = after


def test_a_stale_step_is_refused(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance))
    started = fleet.step(made, START)
    with pytest.raises(MoveGenerationConflict):
        fleet.step(made, REVERT)
    hold(fleet.services, claim_for(instance, fleet.on(1, cpus=3), generation=2))
    for event in (START, CONFIRM, REVERT):
        with pytest.raises(MoveGenerationConflict):
            fleet.step(started, event)
    with pytest.raises(MoveGenerationConflict):
        fleet.reschedule(started)
    # The same step, from the generation that it would lead to: nobody has made it from there.
    with pytest.raises(MoveGenerationConflict):
        fleet.step(started, START)
    assert fleet.held_by(instance) == fleet.on(1, cpus=3)


def test_steps_that_the_state_does_not_allow_are_refused(fleet: Fleet) -> None:
    made = fleet.open(fleet.order(fleet.boot()))
    with pytest.raises(StepImpossible):
        fleet.step(made, CONFIRM)
    over = fleet.step(made, REVERT)
    for event in (START, CONFIRM):
        with pytest.raises(StepImpossible):
            fleet.step(over, event)
    with pytest.raises(StepImpossible):
        fleet.reschedule(over)
    with pytest.raises(UnknownMove):
        advance_move(fleet.services, Stepping(new_uuid(), START, over.move.generation), origin())


def test_a_move_that_was_observed_has_no_steps(fleet: Fleet) -> None:
    instance, migration = fleet.boot(), new_uuid()
    gives = claim_for(instance, {}, generation=1)
    hold(fleet.services, gives, claim_for(migration, fleet.on(0)))
    (row,) = fleet.moves()
    with pytest.raises(MoveIsObserved):
        advance_move(fleet.services, Stepping(row.uuid, REVERT, row.generation), origin())


# Further destinations


def test_a_reschedule_takes_the_next_alternate(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance, alternates=3))
    assert made.move.plan is not None
    assert [place.allocations for place in made.move.plan.alternates] == [fleet.on(2)]
    after = fleet.reschedule(fleet.step(made, START))
    assert (after.move.state, after.move.generation) == (MoveState.CLAIMED, 3)
    assert fleet.held_by(instance) == fleet.on(2)
    assert fleet.held_by(made.move.uuid) == fleet.on(0)
    assert [fleet.used(host) for host in fleet.hosts] == [2, 0, 2]
    assert after.move.plan is not None
    assert after.move.plan.alternates == ()
    assert fleet.hosts[1] in after.move.plan.tried


def test_an_alternate_without_room_is_passed_over(services: Services) -> None:
    fleet = Fleet.build(services, hosts=4)
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance, alternates=2))
    fleet.boot(2, cpus=8, disk=0)
    fleet.reschedule(made)
    assert fleet.held_by(instance) == fleet.on(3)
    assert find_faults(services) == []


def test_where_the_alternates_are_spent_a_reschedule_searches_again(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance, alternates=1))
    fleet.boot(2, cpus=8, disk=0)
    fleet.hosts.append(fleet.add(cpus=8))
    fleet.reschedule(made)
    assert fleet.held_by(instance) == fleet.on(3)


def test_a_move_without_a_further_destination_has_failed_and_goes_back(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance))
    second = fleet.reschedule(made)
    over = fleet.reschedule(second)
    assert (over.move.state, over.repeated) == (MoveState.FAILED, False)
    assert over.move.outcome is not None
    assert over.move.outcome.reason is Reason.NOTHING_FITS
    assert over.move.outcome.explanation is not None
    assert over.move.outcome.explanation.left == 0
    assert fleet.held_by(instance) == fleet.on(0)
    assert [fleet.used(host) for host in fleet.hosts] == [2, 0, 0]
    again = fleet.reschedule(second)
    assert (again.move, again.repeated) == (over.move, True)


def test_a_reschedule_that_is_sent_again_claims_nothing_more(fleet: Fleet) -> None:
    made = fleet.open(fleet.order(fleet.boot()))
    after = fleet.reschedule(made)
    again = fleet.reschedule(made)
    assert (again.move, again.repeated) == (after.move, True)


# What became of the others


def test_a_deleted_consumer_and_its_move_can_be_told_apart_from_one_on_the_move(
    fleet: Fleet,
) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance))
    release(fleet.services, consumer=instance, origin=origin())
    (row,) = fleet.moves()
    assert row.state == "swapped"
    for event in (START, CONFIRM, REVERT):
        stepping = Stepping(made.move.uuid, event, row.generation)
        with pytest.raises(StepImpossible):
            advance_move(fleet.services, stepping, origin())


@pytest.mark.parametrize("begun", [False, True])
def test_a_consumer_that_is_swapped_again_leaves_no_hold_behind(
    services: Services, *, begun: bool
) -> None:
    """As by Nova, which takes its instance to be where its allocations are."""
    fleet = Fleet.build(services, disk=20)
    instance, migration = fleet.boot(), new_uuid()
    made = fleet.open(fleet.order(instance, use=1))
    if begun:
        made = fleet.step(made, START)
    give(fleet, instance, migration, fleet.on(1))
    assert fleet.held_by(made.move.uuid) == {}
    assert fleet.held_by(migration) == fleet.on(1)
    assert [fleet.used(one) for one in (*fleet.hosts, fleet.pool)] == [0, 2, 0, 20]
    ordered, observed = fleet.moves()
    assert (ordered.state, observed.state) == ("abandoned", "swapped")
    assert (observed.consumer, observed.hold) == (instance, migration)
    told = show_move(services, made.move.uuid)
    assert told.outcome is not None
    assert (told.outcome.reason, told.due_at) == (Reason.MOVED_ANEW, None)
    for event in (START, CONFIRM, REVERT):
        stepping = Stepping(told.uuid, event, told.generation)
        with pytest.raises(StepImpossible):
            advance_move(services, stepping, origin())
    assert clean_up_moves(services, origin()) == 0
    # The new move is like any that is observed.
    hold(services, claim_for(instance, fleet.on(2)))
    release(services, consumer=migration, origin=origin())
    assert [fleet.used(one) for one in (*fleet.hosts, fleet.pool)] == [0, 0, 2, 20]
    assert find_faults(services) == []


def test_a_consumer_that_is_swapped_again_leaves_a_source_that_has_vanished(fleet: Fleet) -> None:
    instance, migration = fleet.boot(), new_uuid()
    made = fleet.open(fleet.order(instance, use=1))
    erase(fleet.services, fleet.hosts[0])
    give(fleet, instance, migration, fleet.on(1))
    left = text("SELECT DISTINCT consumer_id FROM allocations")
    assert {row.consumer_id for row in fleet.services.store.read(left)} == {migration}
    assert show_move(fleet.services, made.move.uuid).state is MoveState.ABANDONED


def test_who_holds_of_a_host_that_has_vanished_can_be_emptied(fleet: Fleet) -> None:
    instance = fleet.boot()
    erase(fleet.services, fleet.hosts[0])
    hold(fleet.services, claim_for(instance, {}, generation=1))
    assert fleet.services.store.read(text("SELECT id FROM allocations")) == []
    assert fleet.used(fleet.pool) == 0


def give(fleet: Fleet, instance: str, taker: str, held: Resources) -> None:
    """One request that gives all that a consumer holds to another."""
    found = show_allocations(fleet.services, instance)
    assert found is not None
    gives = claim_for(instance, {}, generation=found.generation)
    hold(fleet.services, gives, claim_for(taker, held))


def test_nobody_goes_back_to_a_source_that_has_vanished_but_may_arrive(services: Services) -> None:
    fleet = Fleet.build(services)
    instance = fleet.boot()
    started = fleet.step(fleet.open(fleet.order(instance, use=1)), START)
    erase(services, fleet.hosts[0])
    with pytest.raises(SourceGone):
        fleet.step(started, REVERT)
    with pytest.raises(SourceGone):
        fleet.reschedule(started)
    assert fleet.held_by(instance) == fleet.on(1)
    assert fleet.step(started, CONFIRM).move.state is MoveState.CONFIRMED
    assert fleet.held_by(instance) == fleet.on(1)
    assert find_faults(services) == []


@pytest.mark.parametrize("goes_on", [False, True])
def test_nobody_arrives_at_a_destination_that_has_vanished(fleet: Fleet, *, goes_on: bool) -> None:
    instance = fleet.boot()
    started = fleet.step(fleet.open(fleet.order(instance, use=1)), START)
    erase(fleet.services, fleet.hosts[1])
    with pytest.raises(DestinationGone):
        fleet.step(started, CONFIRM)
    if goes_on:
        fleet.hosts.append(fleet.add(cpus=8))
        # It was to be found around the one host that is gone.
        assert fleet.reschedule(started).move.state is MoveState.FAILED
    else:
        fleet.step(started, REVERT)
    assert fleet.held_by(instance) == fleet.on(0)


@pytest.mark.parametrize("goes_on", [False, True])
def test_whoever_was_unshelved_onto_a_host_that_has_vanished_goes_back_to_nowhere_or_on(
    fleet: Fleet, *, goes_on: bool
) -> None:
    instance = new_uuid()
    asked = fleet.order(instance, kind=MoveKind.UNSHELVE, alternates=1, VCPU=2, DISK_GB=20)
    started = fleet.step(fleet.open(asked), START)
    (gone,) = fleet.held_by(instance).keys() - {fleet.pool}
    erase(fleet.services, ProviderUuid(gone))
    with pytest.raises(DestinationGone):
        fleet.step(started, CONFIRM)
    if goes_on:
        again = fleet.reschedule(started)
        assert again.move.state is MoveState.CLAIMED
        assert gone not in fleet.held_by(instance)
        fleet.step(fleet.step(again, START), CONFIRM)
        assert fleet.used(fleet.pool) == 20
    else:
        assert fleet.step(started, REVERT).move.state is MoveState.REVERTED
        assert fleet.held_by(instance) == {}
        assert fleet.used(fleet.pool) == 0
    left = text("SELECT COUNT(*) AS n FROM allocations")
    assert [row.n for row in fleet.services.store.read(left)] == [2 if goes_on else 0]


def test_an_evacuation_leaves_a_host_that_has_vanished_for_good(fleet: Fleet) -> None:
    instance = fleet.boot()
    erase(fleet.services, fleet.hosts[0])
    asked = fleet.order(instance, kind=MoveKind.EVACUATE, use=1, VCPU=2, DISK_GB=20)
    made = fleet.open(asked)
    with pytest.raises(SourceGone):
        fleet.step(made, REVERT)
    fleet.step(fleet.step(made, START), CONFIRM)
    assert fleet.held_by(instance) == fleet.on(1)
    left = text("SELECT consumer_id FROM allocations")
    assert {row.consumer_id for row in fleet.services.store.read(left)} == {instance}


def test_what_another_service_dropped_leaves_no_hold_behind(fleet: Fleet) -> None:
    """Placement has served on this database for a time: it knows of no moves."""
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance))
    with fleet.services.store.writer.begin() as connection:
        for sql in (
            "DELETE FROM allocations WHERE consumer_id = :it",
            "DELETE FROM consumers WHERE uuid = :it",
        ):
            connection.execute(text(sql), {"it": instance})
    recount(fleet.services.store, at=origin().at)
    with pytest.raises(MoveGenerationConflict):
        fleet.step(made, REVERT)
    assert clean_up_moves(fleet.services, origin()) == 1
    assert fleet.held_by(made.move.uuid) == {}


def test_an_alternate_that_was_deleted_is_passed_over(fleet: Fleet) -> None:
    instance = fleet.boot()
    made = fleet.open(fleet.order(instance, alternates=1))
    erase(fleet.services, fleet.hosts[2])
    fleet.hosts.append(fleet.add(cpus=8))
    fleet.reschedule(made)
    assert fleet.held_by(instance) == fleet.on(3)


@pytest.mark.parametrize("kind", [MoveKind.MIGRATE, MoveKind.UNSHELVE])
def test_a_host_that_vanished_without_a_word_is_looked_past(fleet: Fleet, kind: MoveKind) -> None:
    """Somebody has changed the database, and the journal does not tell."""
    instance = fleet.boot() if kind.has_source else new_uuid()
    fleet.services.keeper.current()
    gone = [fleet.hosts[1], *(fleet.add(cpus=8) for _ in range(3))]
    for host in gone:
        erase(fleet.services, host)
    wanted = {"VCPU": 2, "DISK_GB": 20}
    made = fleet.open(fleet.order(instance, kind=kind, alternates=1, **wanted))
    assert made.move.state is MoveState.CLAIMED
    assert not set(fleet.held_by(instance)) & set(gone)


CHANGES = {
    "inventories": ("DELETE FROM moorage_usages WHERE {}", "DELETE FROM inventories WHERE {}"),
    "totals": ("UPDATE inventories SET total = 1 WHERE {}",),
}


@pytest.mark.parametrize("shape", ["hosts", "inventories", "totals"])
def test_where_nothing_is_left_but_what_has_vanished_the_answer_is_that_nothing_fits(
    fleet: Fleet, shape: str
) -> None:
    instance = fleet.boot()
    fleet.services.keeper.current()
    for host in fleet.hosts[1:]:
        if shape == "hosts":
            erase(fleet.services, host)
        else:
            silently(fleet.services, host, *CHANGES[shape])
    with pytest.raises(NothingFits):
        fleet.open(fleet.order(instance, VCPU=2, DISK_GB=20))
    assert fleet.moves() == []


def silently(services: Services, provider: str, *statements: str) -> None:
    """Change the rows of a provider as nobody tells the journal."""
    where = "resource_provider_id = (SELECT id FROM resource_providers WHERE uuid = :it)"
    with services.store.writer.begin() as connection:
        for sql in statements:
            connection.execute(text(sql.format(where)), {"it": provider})


def test_a_reschedule_looks_past_what_vanished_without_a_word(fleet: Fleet) -> None:
    instance = fleet.boot()
    fleet.hosts += [fleet.add(cpus=8) for _ in range(2)]
    made = fleet.open(fleet.order(instance, use=None, alternates=1))
    erase(fleet.services, fleet.hosts[2])
    erase(fleet.services, fleet.hosts[3])
    made = fleet.reschedule(made)
    assert fleet.held_by(instance) == fleet.on(4)
    assert fleet.reschedule(made).move.state is MoveState.FAILED


# Many at once


def at_once(*works: Callable[[], object]) -> list[object]:
    """What some works give or raise that run at the same time."""
    found: list[object] = [None] * len(works)

    def run(number: int, work: Callable[[], object]) -> None:
        try:
            found[number] = work()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def other(fleet: Fleet) -> Fleet:
    """The same fleet as another process sees it."""
    services = services_on(fleet.services.store)
    return Fleet(services, fleet.pool, fleet.hosts, fleet.aggregate)


def test_the_same_order_and_the_same_step_at_once_happen_once(fleet: Fleet) -> None:
    order, twin = fleet.order(fleet.boot()), other(fleet)
    made = at_once(lambda: fleet.open(order), lambda: twin.open(order))
    assert all(isinstance(one, MoveMade) for one in made), made
    first, second = (one for one in made if isinstance(one, MoveMade))
    assert first.move == second.move
    assert {first.repeated, second.repeated} == {True, False}
    for work in (Fleet.reschedule, lambda one, move: one.step(move, START)):
        after = at_once(lambda: work(fleet, first), lambda: work(twin, first))  # noqa: B023
        assert all(isinstance(one, MoveMade) for one in after), after
        first, second = (one for one in after if isinstance(one, MoveMade))
        assert first.move == second.move
    assert len(fleet.moves()) == 1


def test_of_two_orders_for_one_consumer_one_moves_it(fleet: Fleet) -> None:
    instance, twin = fleet.boot(), other(fleet)
    found = at_once(
        lambda: fleet.open(fleet.order(instance)), lambda: twin.open(fleet.order(instance))
    )
    assert sum(isinstance(one, MoveMade) for one in found) == 1
    assert sum(isinstance(one, ConsumerInMove) for one in found) == 1


def test_many_moves_at_once_on_a_full_pool_all_go_through(services: Services) -> None:
    fleet = Fleet.build(services, hosts=4, disk=160)
    instances = [fleet.boot(host % 4, cpus=1, disk=20) for host in range(8)]
    assert fleet.used(fleet.pool) == 160
    orders = [fleet.order(instance) for instance in instances]
    found = at_once(*(lambda order=order: fleet.open(order) for order in orders))
    assert all(isinstance(one, MoveMade) for one in found), found
    assert fleet.used(fleet.pool) == 160
    ended = at_once(*(lambda one=one: fleet.step(fleet.step(one, START), CONFIRM) for one in found))
    assert all(isinstance(one, MoveMade) for one in ended), ended
    assert fleet.used(fleet.pool) == 160
    assert find_faults(services) == []


def test_the_steps_of_a_move_cost_as_many_statements_however_much_there_is(fleet: Fleet) -> None:
    def whole_move() -> None:
        instance = fleet.boot(cpus=1, disk=1)
        made = fleet.open(fleet.order(instance, alternates=1, deadline_s=60))
        fleet.step(fleet.step(fleet.reschedule(made), START), CONFIRM)
        release(fleet.services, consumer=instance, origin=origin())

    whole_move()
    few = count_statements(fleet.services, whole_move)
    for _ in range(5):
        fleet.hosts.append(fleet.add(cpus=8))
        fleet.open(fleet.order(fleet.boot(cpus=1, disk=1), alternates=3))
    whole_move()
    assert count_statements(fleet.services, whole_move) == few
