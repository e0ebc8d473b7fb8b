"""The least change of rows after which a consumer holds what it should."""

from hypothesis import given
from hypothesis import strategies as st

from moorage.domain.ids import ProviderId, ResourceClassId
from moorage.domain.ledger import Slot
from moorage.domain.mending import HeldRow, decide_rows, healed_generation, moved_units

slots = st.tuples(st.integers(1, 2), st.integers(0, 1)).map(
    lambda pair: (ProviderId(pair[0]), ResourceClassId(pair[1]))
)
held = st.lists(st.tuples(slots, st.integers(1, 4)), max_size=5).map(
    lambda rows: tuple(HeldRow(number, slot, used) for number, (slot, used) in enumerate(rows))
)
wanted = st.dictionaries(slots, st.integers(1, 6), max_size=4)


def sums(rows: tuple[HeldRow, ...]) -> dict[Slot, int]:
    found: dict[Slot, int] = {}
    for row in rows:
        found[row.slot] = found.get(row.slot, 0) + row.used
    return found


@given(rows=held, keeps=wanted)
def test_what_is_held_afterwards_is_what_was_to_be_held(
    rows: tuple[HeldRow, ...], keeps: dict[Slot, int]
) -> None:
    plan = decide_rows(rows, keeps)
    left = tuple(
        HeldRow(row.id, row.slot, plan.changed.get(row.id, row.used))
        for row in rows
        if row.id not in plan.dropped
    )
    after = sums(left)
    for slot, amount in plan.added.items():
        assert slot not in after
        after[slot] = amount
    assert after == keeps
    before = sums(rows)
    moved = moved_units(rows, keeps)
    assert {slot: before.get(slot, 0) + moved.get(slot, 0) for slot in {*before, *keeps}} == {
        slot: keeps.get(slot, 0) for slot in {*before, *keeps}
    }


@given(rows=held)
def test_what_is_right_is_not_touched(rows: tuple[HeldRow, ...]) -> None:
    plan = decide_rows(rows, sums(rows))
    assert (plan.dropped, plan.changed, plan.added) == ((), {}, {})


def test_a_healed_generation_is_one_that_no_claim_of_these_days_reaches() -> None:
    assert healed_generation(3, 1) > 3 + 1_000
    # Two heals of one state, one after the other was undone, are told apart.
    assert healed_generation(3, 1) != healed_generation(3, 2)
