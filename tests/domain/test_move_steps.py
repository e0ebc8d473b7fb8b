"""Moves that are ordered, and their steps, decided on a ledger without a database."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.domain.claim import ConsumerChange, ConsumerClaim, decide_release
from moorage.domain.ids import ConsumerUuid, Generation, MoveUuid, ProviderId
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Ledger
from moorage.domain.move import TRANSITIONS, Guard, Move, MoveEvent, MoveKind, MoveState
from moorage.domain.move_steps import (
    Opening,
    Rescheduling,
    decide_opening,
    decide_rescheduling,
    decide_step,
)
from moorage.domain.refusals import (
    CapacityExceeded,
    ConsumerHolds,
    ConsumerInMove,
    DestinationGone,
    MoveGenerationConflict,
    MoveIsObserved,
    NothingToMove,
    Refusal,
    SourceGone,
    StepImpossible,
)
from tests.domain.move_books import (
    ABSENTEE,
    CPU,
    DISK,
    HOST_1,
    INSTANCE,
    OTHER,
    POOL,
    POOL_DISK,
    START,
    books,
    check_books,
    claim,
    decide,
    observer,
    pool_use,
    stock,
    swapped,
)

MOVE = MoveUuid("the-move")
HOLD = ConsumerUuid(MOVE)
SOURCE = {(ProviderId(1), CPU): 2, POOL_DISK: 20}


def open_move(
    ledger: Ledger,
    claimed: ConsumerClaim,
    *,
    kind: MoveKind = MoveKind.MIGRATE,
    uuid: MoveUuid = MOVE,
) -> Move:
    decide_opening(ledger, Opening(uuid, kind, "req-1", START), claimed, ABSENTEE)
    check_books(ledger)
    return ledger.moves[claimed.consumer]


def opened(*, pool: int = 100, kind: MoveKind = MoveKind.MIGRATE) -> Ledger:
    """An instance on its way from the first host to the second, on one pool."""
    ledger = books(pool=pool)
    decide(ledger, claim(INSTANCE, p1=2, p3=20))
    open_move(ledger, claim(INSTANCE, p2=2, p3=20), kind=kind)
    return ledger


def step(
    ledger: Ledger, event: MoveEvent, *, generation: int | None = None
) -> list[ConsumerChange]:
    move = ledger.moves[INSTANCE]
    given = Generation(move.generation if generation is None else generation)
    changes = decide_step(ledger, move, event, given)
    check_books(ledger)
    return changes


def reschedule(ledger: Ledger, claimed: ConsumerClaim) -> None:
    order = Rescheduling(MOVE, ledger.moves[INSTANCE].generation)
    decide_rescheduling(ledger, order, claimed, ABSENTEE)
    check_books(ledger)


def last_state(ledger: Ledger) -> MoveState:
    return ledger.move_changes[-1].after.state


def test_opening_gives_the_hold_the_source_and_the_consumer_the_destination() -> None:
    ledger = opened()
    assert ledger.consumers[HOLD].held == SOURCE
    assert ledger.consumers[HOLD].consumer_type == "MIGRATION"
    assert ledger.consumers[INSTANCE].held == {(ProviderId(2), CPU): 2, POOL_DISK: 20}
    move = ledger.moves[INSTANCE]
    assert (move.state, move.hold, move.source) == (MoveState.CLAIMED, HOLD, SOURCE)
    assert pool_use(ledger) == 20


def test_a_full_pool_does_not_stop_a_move_that_needs_nothing_of_it() -> None:
    assert pool_use(opened(pool=20)) == 20


def test_an_over_full_pool_lets_moves_through_that_need_no_more_of_it() -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=2, p3=20))
    ledger.providers[POOL] = stock(3, POOL, "DISK_GB", DISK, 10)
    with pytest.raises(CapacityExceeded):
        open_move(ledger, claim(INSTANCE, p2=2, p3=21))
    check_books(ledger)
    open_move(ledger, claim(INSTANCE, p2=2, p3=20))
    assert pool_use(ledger) == 20


@pytest.mark.parametrize(("old", "new"), [(20, 50), (50, 20)])
def test_a_pool_has_the_old_before_the_larger_during_and_the_new_after(old: int, new: int) -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=2, p3=old))
    open_move(ledger, claim(INSTANCE, p2=2, p3=new), kind=MoveKind.RESIZE)
    assert pool_use(ledger) == max(old, new)
    step(ledger, MoveEvent.START)
    step(ledger, MoveEvent.CONFIRM)
    assert pool_use(ledger) == new
    assert HOLD not in ledger.consumers
    assert last_state(ledger) is MoveState.CONFIRMED


def test_a_resize_on_one_host_needs_room_for_both_sizes() -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=3))
    with pytest.raises(CapacityExceeded):
        open_move(ledger, claim(INSTANCE, p1=6), kind=MoveKind.RESIZE)
    open_move(ledger, claim(INSTANCE, p1=5), kind=MoveKind.RESIZE)
    assert ledger.used[ProviderId(1), CPU] == 8


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("event", [MoveEvent.REVERT, MoveEvent.GIVE_UP])
def test_whoever_goes_back_has_the_source_as_it_was(event: MoveEvent, *, begun: bool) -> None:
    ledger = opened()
    if begun:
        step(ledger, MoveEvent.START)
    step(ledger, event)
    assert ledger.consumers[INSTANCE].held == SOURCE
    assert HOLD not in ledger.consumers
    assert ledger.used[ProviderId(2), CPU] == 0
    assert pool_use(ledger) == 20


def test_a_source_that_has_shrunk_below_its_usage_or_changed_its_portions_takes_back() -> None:
    ledger = opened()
    ledger.providers[HOST_1] = stock(1, HOST_1, "VCPU", CPU, 1)
    ledger.providers[POOL].inventories["DISK_GB"] = Inventory(1, min_unit=7)  # type: ignore[index]
    step(ledger, MoveEvent.REVERT)
    assert ledger.consumers[INSTANCE].held == SOURCE


def test_nobody_goes_back_to_a_source_that_is_gone_but_may_arrive() -> None:
    ledger = opened()
    del ledger.used[ProviderId(1), CPU]
    for event in (MoveEvent.REVERT, MoveEvent.GIVE_UP, MoveEvent.DEADLINE):
        with pytest.raises(SourceGone):
            step(ledger, event)
    assert ledger.moves[INSTANCE].state is MoveState.CLAIMED
    decide_step(ledger, ledger.moves[INSTANCE], MoveEvent.START, Generation(1))
    decide_step(ledger, ledger.moves[INSTANCE], MoveEvent.CONFIRM, Generation(2))
    assert HOLD not in ledger.consumers


def test_nobody_arrives_at_a_destination_that_is_gone_but_may_go_back() -> None:
    ledger = opened()
    step(ledger, MoveEvent.START)
    del ledger.used[ProviderId(2), CPU]
    with pytest.raises(DestinationGone):
        step(ledger, MoveEvent.CONFIRM)
    decide_step(ledger, ledger.moves[INSTANCE], MoveEvent.REVERT, Generation(2))
    assert ledger.consumers[INSTANCE].held == SOURCE


def test_a_step_from_a_stale_generation_is_refused() -> None:
    ledger = opened()
    step(ledger, MoveEvent.START)
    with pytest.raises(MoveGenerationConflict) as refused:
        step(ledger, MoveEvent.CONFIRM, generation=1)
    assert (refused.value.generation, refused.value.given) == (2, 1)
    decide(ledger, claim(INSTANCE, p2=3, p3=20))
    with pytest.raises(MoveGenerationConflict):
        step(ledger, MoveEvent.CONFIRM, generation=2)


def test_nobody_arrives_who_has_not_started() -> None:
    ledger = opened()
    with pytest.raises(StepImpossible):
        step(ledger, MoveEvent.CONFIRM)


def test_what_has_started_does_not_go_back_by_itself() -> None:
    ledger = opened()
    step(ledger, MoveEvent.START)
    with pytest.raises(StepImpossible):
        step(ledger, MoveEvent.DEADLINE)


def test_another_destination_takes_the_place_of_the_one_there_was() -> None:
    ledger = opened(pool=30)
    step(ledger, MoveEvent.START)
    reschedule(ledger, claim(INSTANCE, p1=1, p3=30))
    assert ledger.moves[INSTANCE].state is MoveState.CLAIMED
    assert ledger.used[ProviderId(2), CPU] == 0
    assert pool_use(ledger) == 30
    with pytest.raises(CapacityExceeded):
        reschedule(ledger, claim(INSTANCE, p2=1, p3=31))
    assert pool_use(ledger) == 30


def test_another_destination_on_another_pool_is_credited_on_neither() -> None:
    ledger = opened()
    reschedule(ledger, claim(INSTANCE, p2=2, p4=20))
    assert not ledger.moves[INSTANCE].credits
    assert pool_use(ledger) == 20


def test_a_reschedule_of_a_move_that_is_over_is_refused() -> None:
    ledger = opened()
    step(ledger, MoveEvent.REVERT)
    with pytest.raises(StepImpossible):
        decide_rescheduling(
            ledger, Rescheduling(MOVE, Generation(2)), claim(INSTANCE, p2=1), ABSENTEE
        )


def test_who_holds_nothing_cannot_be_moved_but_unshelved() -> None:
    ledger = books()
    with pytest.raises(NothingToMove):
        open_move(ledger, claim(INSTANCE, p2=2))
    open_move(ledger, claim(INSTANCE, p2=2), kind=MoveKind.UNSHELVE)
    assert HOLD not in ledger.consumers
    with pytest.raises(ConsumerInMove):
        open_move(ledger, claim(INSTANCE, p2=2), uuid=MoveUuid("another"))
    step(ledger, MoveEvent.REVERT)
    assert INSTANCE not in ledger.consumers
    decide(ledger, claim(INSTANCE, p1=1))
    with pytest.raises(ConsumerHolds):
        open_move(ledger, claim(INSTANCE, p2=2), kind=MoveKind.UNSHELVE)


def test_what_was_unshelved_stays_once_it_has_arrived() -> None:
    ledger = books()
    open_move(ledger, claim(INSTANCE, p2=2), kind=MoveKind.UNSHELVE)
    decide(ledger, claim(INSTANCE, p2=3))
    step(ledger, MoveEvent.START)
    assert step(ledger, MoveEvent.CONFIRM) == []
    assert ledger.consumers[INSTANCE].held == {(ProviderId(2), CPU): 3}


def test_releasing_what_is_being_unshelved_ends_its_move() -> None:
    ledger = books()
    open_move(ledger, claim(INSTANCE, p2=2), kind=MoveKind.UNSHELVE)
    assert decide_release(ledger, INSTANCE) is not None
    assert not ledger.moves
    assert last_state(ledger) is MoveState.REVERTED


def test_nobody_is_in_two_moves() -> None:
    ledger = opened()
    decide(ledger, claim(OTHER, p1=1))
    another = MoveUuid("another")
    with pytest.raises(ConsumerInMove):
        open_move(ledger, claim(INSTANCE, p1=2), uuid=another)
    with pytest.raises(ConsumerInMove):
        open_move(ledger, claim(HOLD, p1=2), uuid=another)
    with pytest.raises(ConsumerInMove):
        open_move(ledger, claim(OTHER, p1=2), uuid=MOVE)


def test_a_hold_that_is_a_consumer_already_is_refused() -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=1), claim(HOLD, p1=1))
    with pytest.raises(ConsumerHolds):
        open_move(ledger, claim(INSTANCE, p2=1))
    with pytest.raises(ConsumerHolds):
        open_move(ledger, claim(HOLD, p2=1))


def test_a_consumer_that_is_deleted_leaves_a_hold_that_is_cleaned_up() -> None:
    ledger = opened()
    step(ledger, MoveEvent.START)
    assert decide_release(ledger, INSTANCE) is not None
    check_books(ledger)
    move = ledger.moves[HOLD]
    assert move.state is MoveState.SWAPPED
    decide_step(ledger, move, MoveEvent.CLEAN_UP, move.generation)
    check_books(ledger)
    assert last_state(ledger) is MoveState.ABANDONED
    assert not ledger.consumers
    assert not any(ledger.used.values())


def move_anew(ledger: Ledger, **held: int) -> None:
    """One request gives all that the instance has to a new consumer."""
    decide(ledger, claim(INSTANCE), claim(OTHER, **held), by=observer("req-2"))


@pytest.mark.parametrize("begun", [False, True])
def test_a_consumer_that_is_moved_anew_leaves_no_hold_behind(*, begun: bool) -> None:
    """Whoever moves it takes it to be at its destination; nobody else knows of the hold."""
    ledger = opened(pool=20)
    if begun:
        step(ledger, MoveEvent.START)
    move_anew(ledger, p2=2, p3=20)
    assert HOLD not in ledger.consumers
    assert HOLD not in ledger.moves
    assert [change.after.state for change in ledger.move_changes[-2:]] == [
        MoveState.ABANDONED,
        MoveState.SWAPPED,
    ]
    assert ledger.moves[INSTANCE].hold == OTHER
    assert ledger.used[ProviderId(1), CPU] == 0
    assert pool_use(ledger) == 20


def test_what_a_hold_leaves_of_a_full_pool_is_not_claimed_twice() -> None:
    """It was in use by the consumer too, and still is."""
    ledger = opened(pool=20)
    with pytest.raises(CapacityExceeded):
        decide(
            ledger,
            claim(INSTANCE),
            claim(OTHER, p2=2, p3=20),
            claim(ConsumerUuid("another"), p3=20),
        )
    check_books(ledger)


def test_a_hold_that_the_same_request_claims_for_is_left_to_it() -> None:
    ledger = opened()
    decide(ledger, claim(INSTANCE), claim(OTHER, p2=2, p3=20), claim(HOLD, p1=1))
    assert ledger.consumers[HOLD].held == {(ProviderId(1), CPU): 1}
    assert HOLD not in ledger.moves


def test_who_is_moved_anew_while_being_unshelved_has_no_hold_to_leave() -> None:
    ledger = books()
    open_move(ledger, claim(INSTANCE, p2=2, p3=20), kind=MoveKind.UNSHELVE)
    move_anew(ledger, p2=2, p3=20)
    assert set(ledger.consumers) == {OTHER}
    assert ledger.moves[INSTANCE].hold == OTHER


def test_a_consumer_that_another_service_has_deleted_comes_back_by_a_revert() -> None:
    """It knows of no moves, so that this one is as it was."""
    ledger = opened()
    step(ledger, MoveEvent.START)
    gone = ledger.consumers.pop(INSTANCE)
    ledger.used[ProviderId(2), CPU] -= gone.held[ProviderId(2), CPU]
    with pytest.raises(DestinationGone):
        step(ledger, MoveEvent.CONFIRM)
    changes = decide_step(ledger, ledger.moves[INSTANCE], MoveEvent.REVERT, Generation(2))
    back = ledger.consumers[INSTANCE]
    assert (back.id, back.generation, back.consumer_type) == (None, 1, None)
    assert (back.project_id, back.held) == ("project", SOURCE)
    assert [change.consumer for change in changes] == [HOLD, INSTANCE]
    assert HOLD not in ledger.consumers


def test_a_move_that_is_observed_has_no_steps() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    with pytest.raises(MoveIsObserved):
        step(ledger, MoveEvent.REVERT)


def test_each_way_back_is_guarded() -> None:
    back = (MoveEvent.REVERT, MoveEvent.GIVE_UP, MoveEvent.DEADLINE)
    for row in TRANSITIONS:
        assert (row.guard is Guard.SOURCE_THERE) == (row.event in back)
        assert (row.guard is Guard.DESTINATION_THERE) == (row.event is MoveEvent.CONFIRM)


THIRD = ConsumerUuid("third")


def give(ledger: Ledger, giver: ConsumerUuid, taker: ConsumerUuid) -> None:
    """One request that gives all that one consumer holds to another, if it holds something."""
    held = ledger.held_by(giver)
    if held:
        all_of_it = {f"p{provider}": amount for (provider, _), amount in held.items()}
        decide(ledger, claim(giver), claim(taker, **all_of_it))


wishes = st.dictionaries(
    st.sampled_from(["p1", "p2", "p3", "p4"]), st.integers(1, 8), min_size=1, max_size=3
)
events = st.sampled_from(
    [MoveEvent.START, MoveEvent.CONFIRM, MoveEvent.REVERT, MoveEvent.GIVE_UP, MoveEvent.DEADLINE]
)
kinds = st.sampled_from([kind for kind in MoveKind if kind.is_ordered])
stories = st.lists(
    st.one_of(
        st.tuples(st.just("open"), kinds, wishes),
        st.tuples(st.just("reschedule"), st.none(), wishes),
        st.tuples(st.just("step"), events, st.none()),
        st.tuples(st.just("claim"), st.sampled_from([INSTANCE, OTHER]), wishes),
        st.tuples(st.just("release"), st.sampled_from([INSTANCE, HOLD, OTHER, THIRD]), st.none()),
        st.tuples(st.just("swap"), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(stories)
def test_whatever_happens_nothing_is_oversold_or_left_behind(
    story: list[tuple[str, object, dict[str, int] | None]],
) -> None:
    ledger = books(pool=12)
    totals = {slot: 12 if slot[1] == DISK else 8 for slot in ledger.used}
    decide(ledger, claim(INSTANCE, p1=2, p3=5))
    for kind, about, wish in story:
        used, held = dict(ledger.used), dict(ledger.consumers)
        try:
            play(ledger, kind, about, wish or {})
        except Refusal:
            assert (ledger.used, ledger.consumers) == (used, held)
        check_books(ledger)
        for slot, amount in ledger.used.items():
            assert 0 <= amount <= totals[slot]
        if HOLD in ledger.consumers:
            assert HOLD in ledger.moves


def play(ledger: Ledger, kind: str, about: object, wish: dict[str, int]) -> None:
    acts: dict[str, Callable[[], object]] = {
        "open": lambda: open_move(ledger, claim(INSTANCE, **wish), kind=MoveKind(str(about))),
        "claim": lambda: decide(ledger, claim(ConsumerUuid(str(about)), **wish)),
        "release": lambda: decide_release(ledger, ConsumerUuid(str(about))),
        "swap": lambda: give(ledger, INSTANCE, THIRD),
    }
    if kind in acts:
        acts[kind]()
    elif INSTANCE in ledger.moves and kind == "reschedule":
        reschedule(ledger, claim(INSTANCE, **wish))
    elif INSTANCE in ledger.moves:
        step(ledger, MoveEvent(str(about)))
