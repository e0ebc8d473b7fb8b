"""Moves and their credits decided on a ledger, without a database."""

from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.domain.claim import ConsumerClaim, decide_release
from moorage.domain.credit import credits_of, footprint_of
from moorage.domain.ids import (
    ConsumerUuid,
    ProviderId,
)
from moorage.domain.ledger import Ledger, Slot
from moorage.domain.move import (
    TRANSITIONS,
    Move,
    MoveEvent,
    MoveRules,
    MoveState,
    Observer,
    state_after,
)
from moorage.domain.refusals import CapacityExceeded, Refusal
from tests.domain.move_books import (
    CPU,
    DISK,
    INSTANCE,
    MIGRATION,
    OTHER,
    POOL_2_DISK,
    POOL_DISK,
    books,
    check_books,
    claim,
    decide,
    observer,
    pool_use,
    states,
    swapped,
)


def test_a_swap_opens_a_move_and_moves_nothing() -> None:
    ledger = swapped()
    move = ledger.moves[INSTANCE]
    assert (move.consumer, move.hold, move.state) == (INSTANCE, MIGRATION, MoveState.SWAPPED)
    assert move.source == {(ProviderId(1), CPU): 2, POOL_DISK: 20}
    assert pool_use(ledger) == 20
    assert not move.credits


def test_what_a_move_has_in_common_on_a_pool_counts_once() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    assert pool_use(ledger) == 20
    assert ledger.moves[MIGRATION].credits == {POOL_DISK: 20}


@pytest.mark.parametrize(("before", "after"), [(20, 50), (50, 20), (30, 30)])
def test_a_pool_has_the_old_before_the_larger_during_and_the_new_after(
    before: int, after: int
) -> None:
    ledger = swapped(amount=before)
    assert pool_use(ledger) == before
    decide(ledger, claim(INSTANCE, p2=2, p3=after))
    assert pool_use(ledger) == max(before, after)
    decide(ledger, claim(MIGRATION))
    assert pool_use(ledger) == after
    assert states(ledger)[-1] is MoveState.CONFIRMED
    assert not ledger.moves


def test_a_revert_brings_back_what_was() -> None:
    ledger = swapped(amount=20)
    decide(ledger, claim(INSTANCE, p2=4, p3=60))
    decide(ledger, claim(MIGRATION), claim(INSTANCE, p1=2, p3=20))
    assert ledger.consumers[INSTANCE].held == {(ProviderId(1), CPU): 2, POOL_DISK: 20}
    assert states(ledger)[-1] is MoveState.REVERTED
    assert not ledger.moves


def test_a_full_pool_does_not_stop_a_move_that_needs_nothing_of_it() -> None:
    ledger = swapped(pool=20)
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    assert pool_use(ledger) == 20


def test_a_resize_is_refused_what_the_pool_does_not_have() -> None:
    ledger = swapped(pool=40)
    with pytest.raises(CapacityExceeded) as refused:
        decide(ledger, claim(INSTANCE, p2=2, p3=41))
    assert (refused.value.used, refused.value.amount) == (0, 41)
    check_books(ledger)
    decide(ledger, claim(INSTANCE, p2=2, p3=40))
    assert pool_use(ledger) == 40


def test_nothing_else_may_take_what_a_move_may_come_back_to() -> None:
    ledger = swapped(pool=60, amount=50)
    decide(ledger, claim(INSTANCE, p2=2, p3=10))
    assert pool_use(ledger) == 50
    with pytest.raises(CapacityExceeded):
        decide(ledger, claim(OTHER, p3=11))
    decide(ledger, claim(OTHER, p3=10))
    decide(ledger, claim(MIGRATION), claim(INSTANCE, p1=2, p3=50))
    assert pool_use(ledger) == 60


def test_a_host_has_room_for_source_and_destination_both() -> None:
    """A resize on the same host is two sizes at once there."""
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p1=6, p3=20))
    assert ledger.used[ProviderId(1), CPU] == 8
    with pytest.raises(CapacityExceeded):
        decide(ledger, claim(INSTANCE, p1=7, p3=20))


def test_a_move_between_two_pools_is_credited_on_neither() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p4=20))
    assert (pool_use(ledger), ledger.used[POOL_2_DISK]) == (20, 20)
    assert not ledger.moves[INSTANCE].credits


def test_a_claim_of_another_request_is_not_credited() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20), by=observer("req-2"))
    assert pool_use(ledger) == 40


def test_a_credited_claim_may_be_changed_by_another_request() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    decide(ledger, claim(INSTANCE, p2=3, p3=30), by=observer("req-2"))
    assert pool_use(ledger) == 30


@pytest.mark.parametrize(("after_s", "used"), [(0, 20), (600, 20), (601, 40)])
def test_without_request_ids_only_a_claim_soon_after_is_credited(after_s: int, used: int) -> None:
    ledger = swapped(by=observer(None))
    decide(ledger, claim(INSTANCE, p2=2, p3=20), by=observer(None, after_s=after_s))
    assert pool_use(ledger) == used


def test_with_one_request_id_time_does_not_matter() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20), by=observer(after_s=10**6))
    assert pool_use(ledger) == 20


def test_a_claim_without_id_does_not_belong_to_a_move_with_one() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20), by=observer(None))
    assert pool_use(ledger) == 40


def test_a_uuid_that_is_used_again_is_not_credited() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    decide(ledger, claim(INSTANCE))
    assert pool_use(ledger) == 20
    decide(ledger, claim(INSTANCE, p2=2, p3=20), by=observer("req-2"))
    assert pool_use(ledger) == 40


def test_a_reschedule_is_credited_again() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    decide(ledger, claim(INSTANCE))
    decide(ledger, claim(INSTANCE, p1=1, p3=20))
    assert pool_use(ledger) == 20


def test_a_dropped_hold_ends_a_move_that_has_no_destination() -> None:
    ledger = swapped()
    assert decide_release(ledger, MIGRATION) is not None
    check_books(ledger)
    assert states(ledger)[-1] is MoveState.ABANDONED
    assert pool_use(ledger) == 0


def test_releasing_the_consumer_leaves_the_hold() -> None:
    ledger = swapped(amount=20)
    decide(ledger, claim(INSTANCE, p2=2, p3=60))
    assert decide_release(ledger, INSTANCE) is not None
    check_books(ledger)
    assert pool_use(ledger) == 20
    assert ledger.moves[MIGRATION].state is MoveState.SWAPPED


def test_a_hold_that_gives_back_to_an_empty_consumer_begins_no_move() -> None:
    ledger = swapped()
    decide(ledger, claim(MIGRATION), claim(INSTANCE, p1=2, p3=20))
    assert states(ledger) == [MoveState.SWAPPED, MoveState.REVERTED]
    assert not ledger.moves


def test_several_moves_share_a_pool_and_a_request_id() -> None:
    ledger = books(pool=60)
    decide(ledger, claim(INSTANCE, p1=1, p3=20))
    decide(ledger, claim(OTHER, p1=1, p3=40))
    holds = [ConsumerUuid("m1"), ConsumerUuid("m2")]
    decide(ledger, claim(INSTANCE), claim(holds[0], p1=1, p3=20))
    decide(ledger, claim(OTHER), claim(holds[1], p1=1, p3=40))
    decide(ledger, claim(OTHER, p2=1, p3=40))
    decide(ledger, claim(INSTANCE, p2=1, p3=20))
    assert pool_use(ledger) == 60
    with pytest.raises(CapacityExceeded):
        decide(ledger, claim(INSTANCE, p2=1, p3=21))
    decide(ledger, claim(holds[0]))
    decide(ledger, claim(holds[1]))
    assert pool_use(ledger) == 60
    assert not ledger.moves


def test_one_request_may_begin_several_moves() -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=1, p3=20), claim(OTHER, p1=2, p3=20))
    holds = [ConsumerUuid("m1"), ConsumerUuid("m2")]
    decide(
        ledger,
        claim(INSTANCE),
        claim(holds[0], p1=2, p3=20),
        claim(OTHER),
        claim(holds[1], p1=1, p3=20),
    )
    assert ledger.moves[INSTANCE].hold == holds[1]
    assert ledger.moves[OTHER].hold == holds[0]


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param((claim(INSTANCE), claim(MIGRATION, p1=2, p3=19)), id="less"),
        pytest.param((claim(INSTANCE), claim(MIGRATION, p2=2, p3=20)), id="elsewhere"),
        pytest.param((claim(INSTANCE, p1=1), claim(MIGRATION, p1=2, p3=20)), id="keeps some"),
    ],
)
def test_what_is_no_swap_begins_no_move(claims: tuple[ConsumerClaim, ...]) -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=2, p3=20))
    decide(ledger, *claims)
    assert not ledger.moves


def test_a_swap_with_an_old_consumer_begins_no_move() -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=2, p3=20), claim(MIGRATION, p1=1))
    decide(ledger, claim(INSTANCE), claim(MIGRATION, p1=2, p3=20))
    assert not ledger.moves


def test_a_swap_between_owners_begins_no_move() -> None:
    ledger = books()
    decide(ledger, claim(INSTANCE, p1=2, p3=20))
    foreign = ConsumerClaim(
        MIGRATION, claim(MIGRATION, p1=2, p3=20).resources, "project", "else", False, None, None
    )
    decide(ledger, claim(INSTANCE), foreign)
    assert not ledger.moves


def test_who_does_not_observe_sees_no_moves() -> None:
    ledger = swapped(by=observer(rules=MoveRules(observe=False)))
    assert not ledger.moves
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    assert pool_use(ledger) == 40


def test_a_move_that_was_observed_ends_well_where_nobody_observes_any_more() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    blind = observer("req-2", rules=MoveRules(observe=False))
    decide(ledger, claim(INSTANCE, p2=2, p3=30), by=blind)
    assert pool_use(ledger) == 30
    decide(ledger, claim(MIGRATION), by=blind)
    assert pool_use(ledger) == 30


def test_a_consumer_that_is_swapped_again_leaves_its_old_move_even_where_the_pool_is_full() -> None:
    """An old hold that nobody dropped counts from then on, and refuses nobody what he has."""
    ledger = swapped(pool=20)
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    third = ConsumerUuid("third")
    decide(ledger, claim(INSTANCE), claim(third, p2=2, p3=20), by=observer("req-2"))
    assert states(ledger)[-2:] == [MoveState.ABANDONED, MoveState.SWAPPED]
    assert pool_use(ledger) == 40
    assert MIGRATION not in ledger.moves
    with pytest.raises(CapacityExceeded):
        decide(ledger, claim(OTHER, p3=1))


@pytest.mark.parametrize(("kept", "taken"), [(0, 20), (5, 15), (20, 1)])
def test_nobody_takes_of_a_full_pool_what_ends_with_a_credit(kept: int, taken: int) -> None:
    """Who is swapped again may have what it has, and no other claim of the request more."""
    ledger = swapped(pool=20)
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    hold = claim(MIGRATION, p3=kept) if kept else claim(MIGRATION)
    swap = claim(INSTANCE), claim(ConsumerUuid("third"), p2=2, p3=20), hold
    with pytest.raises(CapacityExceeded):
        decide(ledger, *swap, claim(OTHER, p3=taken))
    decide(ledger, *swap)
    assert pool_use(ledger) == 20 + kept


def test_a_credit_stays_where_a_pool_ceases_to_share() -> None:
    ledger = swapped()
    decide(ledger, claim(INSTANCE, p2=2, p3=20))
    ledger.sharing = frozenset()
    decide(ledger, claim(INSTANCE, p2=2, p3=25))
    assert pool_use(ledger) == 25


def test_the_table_ends_only_where_nothing_is_left_to_do() -> None:
    begun = {step.before for step in TRANSITIONS}
    for state in MoveState:
        assert (state in begun) == state.is_open
    assert {step.after for step in TRANSITIONS} == set(MoveState)
    assert len({(step.before, step.event) for step in TRANSITIONS}) == len(TRANSITIONS)
    assert state_after(None, MoveEvent.SWAP) is MoveState.SWAPPED


slots = st.sampled_from([POOL_DISK, POOL_2_DISK, (ProviderId(1), CPU), (ProviderId(2), CPU)])
holdings = st.dictionaries(slots, st.integers(1, 50))


@given(mover=holdings, hold=holdings)
def test_a_footprint_is_the_larger_on_pools_and_both_elsewhere(
    mover: Mapping[Slot, int], hold: Mapping[Slot, int]
) -> None:
    sharing = frozenset({ProviderId(3), ProviderId(4)})
    total = footprint_of(mover, hold, credits_of(mover, hold, sharing))
    for slot, amount in total.items():
        mine, its = mover.get(slot, 0), hold.get(slot, 0)
        assert amount == (max(mine, its) if slot[0] in sharing else mine + its)


CONSUMERS = (INSTANCE, OTHER, MIGRATION, ConsumerUuid("m2"))
wishes = st.dictionaries(
    st.sampled_from(["p1", "p2", "p3", "p4"]), st.integers(1, 8), min_size=1, max_size=3
)
steps = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(CONSUMERS), wishes),
    st.tuples(st.just("swap"), st.sampled_from(CONSUMERS), st.sampled_from(CONSUMERS)),
    st.tuples(st.just("give back"), st.sampled_from(CONSUMERS), st.none()),
    st.tuples(st.just("drop"), st.sampled_from(CONSUMERS), st.none()),
)
requests = st.sampled_from([None, "req-1", "req-2"])


def play(ledger: Ledger, step: tuple[str, ConsumerUuid, object], by: Observer) -> None:
    kind, consumer, more = step
    if kind == "claim":
        assert isinstance(more, dict)
        decide(ledger, claim(consumer, **more), by=by)
    elif kind == "swap":
        assert isinstance(more, str)
        give(ledger, consumer, ConsumerUuid(more), by)
    elif kind == "give back":
        move = ledger.moves.get(consumer)
        if move is not None:
            give(ledger, move.hold, move.consumer, by)
    else:
        decide_release(ledger, consumer)
        check_books(ledger)


def give(ledger: Ledger, giver: ConsumerUuid, taker: ConsumerUuid, by: Observer) -> None:
    """One request that empties one consumer and gives another what it held."""
    if giver == taker:
        return
    names = {stock.id: uuid for uuid, stock in ledger.providers.items()}
    held = {names[slot[0]]: amount for slot, amount in ledger.held_by(giver).items()}
    decide(ledger, claim(giver), claim(taker, **held), by=by)


def moves_of(ledger: Ledger) -> Iterator[Move]:
    return iter({move.uuid: move for move in ledger.moves.values()}.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(steps, requests, st.integers(0, 900)), max_size=12))
def test_whatever_happens_usage_is_what_is_held_less_the_credits(
    story: list[tuple[tuple[str, ConsumerUuid, object], str | None, int]],
) -> None:
    ledger = books(pool=12)
    totals = {slot: 12 if slot[1] == DISK else 8 for slot in ledger.used}
    ended: Counter[Slot] = Counter()
    for step, request_id, after_s in story:
        used = dict(ledger.used)
        seen = len(ledger.move_changes)
        by = observer(request_id, after_s=after_s)
        try:
            play(ledger, step, by)
        except Refusal:
            assert ledger.used == used
        for change in ledger.move_changes[seen:]:
            if change.after.state is MoveState.ABANDONED and change.before is not None:
                ended.update(change.before.credits)
        for slot, amount in ledger.used.items():
            # More than there is only where a hold was left behind, by no more than it had.
            assert 0 <= amount <= totals[slot] + ended[slot]
        for move in moves_of(ledger):
            mine, its = ledger.held_by(move.consumer), ledger.held_by(move.hold)
            assert its
            assert (move.state is MoveState.CLAIMED) == bool(mine)
            assert all(
                amount == min(mine[slot], its[slot]) for slot, amount in move.credits.items()
            )
            assert not move.credits.keys() - {POOL_DISK, POOL_2_DISK}
