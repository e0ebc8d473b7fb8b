"""The order of preference: what is remembered and what is left unsorted changes nothing of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.candidates import loads, options
from moorage.candidates.blocks import ROOMS_KEPT_MAX
from moorage.candidates.changes import with_changes
from moorage.candidates.columns import GRANTS_KEPT_MAX
from moorage.candidates.gang import with_taken
from moorage.candidates.loads import TreeLoads
from moorage.candidates.options import (
    Preference,
    amounts_of,
    find_options,
    in_ascending_order,
    loads_of,
)
from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.candidates.rows import UsageRow
from moorage.candidates.snapshot import Snapshot
from moorage.domain.inventory import Inventory
from tests.candidates.forest import CLASSES, Node, id_of, rows_of, snapshot_of
from tests.candidates.strategies import CASES, thorough
from tests.candidates.test_changes import Forest, histories, rows_in

ONE_VCPU = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))
KNOWN = set(CLASSES)


def forgetful(snapshot: Snapshot) -> Snapshot:
    """The same snapshot, which has nothing to go by but itself."""
    return replace(snapshot, loads=TreeLoads())


def plain_loads(snapshot: Snapshot) -> list[float]:
    """Loads root by root, as one would add them up by hand."""
    found = []
    for root in range(len(snapshot)):
        shares = []
        for name in KNOWN:
            roots, used, capacity = amounts_of(snapshot, snapshot.class_ids[name])
            mine = roots == root
            if mine.any():
                there = capacity[mine].sum()
                shares.append(min(max(used[mine].sum() / there, 0.0), 1.0) if there > 0 else 1.0)
        found.append(sum(shares) / len(shares) if shares else 0.0)
    return found


@given(st.lists(st.integers(-5, 5), max_size=60), st.integers(1, 5))
@settings(max_examples=CASES, deadline=None)
def test_an_order_in_parts_is_that_of_a_stable_sort(keys: list[int], first: int) -> None:
    given_keys = np.array(keys, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "RANKED_FIRST", first)
        patch.setattr(options, "RANKED_GROWTH", 2)
        parts = list(in_ascending_order(given_keys))
    whole = np.argsort(given_keys, kind="stable").tolist()
    assert [place for part in parts for place in part.tolist()] == whole
    if len(set(keys)) == len(keys) > 2 * first:
        assert len(parts[0]) == first, "whoever wants a few does not pay for all"


@settings(thorough, max_examples=max(CASES // 2, 50))
@given(histories())
def test_loads_that_are_followed_are_those_added_up_anew(
    history: list[tuple[Forest, set[int]]],
) -> None:
    (forest, _), *later = history
    snapshot = Snapshot.build(rows_in(forest, sorted(forest)))
    for forest, touched in later:
        loads_of(snapshot, KNOWN)
        snapshot = with_changes(snapshot, map(id_of, touched), rows_in(forest, sorted(touched)))
        followed = loads_of(snapshot, KNOWN)
        assert followed.tolist() == loads_of(forgetful(snapshot), KNOWN).tolist()
        assert np.allclose(followed, plain_loads(snapshot), rtol=1e-12, atol=0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=12))
@settings(max_examples=CASES, deadline=None)
def test_loads_follow_what_is_used_also_for_snapshots_that_are_asked_again(
    steps: list[tuple[int, int]],
) -> None:
    """Usages alone take a shorter way than other changes."""
    host = Node(inventories={"VCPU": Inventory(8)})
    forest = [host, Node(0, {"VCPU": Inventory(4)}), host, Node(2, {"DISK_GB": Inventory(9)})]
    snapshot = snapshot_of(forest)
    passed = [(snapshot, plain_loads(snapshot))]
    for number, used in steps:
        at = number % 3
        snapshot = snapshot.with_usages([UsageRow(id_of(at), snapshot.class_ids["VCPU"], used)])
        passed.append((snapshot, plain_loads(snapshot)))
        assert np.allclose(loads_of(snapshot, KNOWN), passed[-1][1], rtol=1e-12, atol=0)
    for snapshot, right in reversed(passed):
        assert np.allclose(loads_of(snapshot, KNOWN), right, rtol=1e-12, atol=0)


def test_amounts_too_large_to_be_taken_away_again_are_added_up_anew() -> None:
    huge = 2**60 + 1
    snapshot = snapshot_of([Node(inventories={"VCPU": Inventory(huge)}, used={"VCPU": huge})])
    for used in (3, huge, 2**59):
        snapshot = snapshot.with_usages([UsageRow(id_of(0), snapshot.class_ids["VCPU"], used)])
        found = loads_of(snapshot, {"VCPU"})
        assert found.tolist() == loads_of(forgetful(snapshot), {"VCPU"}).tolist()


@pytest.mark.parametrize("depth", [1, 2], ids=["flat", "trees"])
@pytest.mark.parametrize("preference", [Preference.PACK, Preference.SPREAD])
def test_options_come_in_the_order_of_the_loads_far_behind_the_first_part_too(
    depth: int, preference: Preference
) -> None:
    forest: list[Node] = []
    for number in range(300):
        used = {"VCPU": (number * 7) % 16}
        if depth == 2:
            forest.append(Node())
        parent = len(forest) - 1 if depth == 2 else None
        forest.append(Node(parent, {"VCPU": Inventory(16)}, used))
    snapshot = snapshot_of(forest)
    random = np.random.default_rng(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "RANKED_FIRST", 8)
        found = [one.root for one in find_options(snapshot, ONE_VCPU, preference, random)]
    load = loads_of(snapshot, {"VCPU"})
    sign = -1 if preference is Preference.PACK else 1
    assert sorted(found) == [root for root in range(len(forest)) if root % depth == 0]
    assert [sign * load[root] for root in found] == sorted(sign * load[root] for root in found)
    if preference is Preference.PACK:
        assert found == sorted(found, key=lambda root: (-load[root], root))


def test_a_claim_costs_the_loads_no_more_than_what_it_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered: list[int] = []
    enter = loads._Sums._add

    def count(self: loads._Sums, column: object, places: np.ndarray, more: object) -> None:
        entered.append(places.size)
        enter(self, column, places, more)  # type: ignore[arg-type]

    monkeypatch.setattr(loads._Sums, "_add", count)
    snapshot = Snapshot.build(rows_of([Node(inventories={"VCPU": Inventory(8)})] * 500))
    random = np.random.default_rng(5)
    option = next(find_options(snapshot, ONE_VCPU, Preference.PACK, random))
    assert sum(entered) == 2 * 500
    for _ in range(3):
        entered.clear()
        snapshot = with_taken(snapshot, option)
        option = next(find_options(snapshot, ONE_VCPU, Preference.PACK, random))
        assert entered == [1]


def test_who_has_room_is_worked_out_once_and_never_for_other_amounts_in_use() -> None:
    snapshot = snapshot_of([Node(inventories={"VCPU": Inventory(8)})])
    vcpu, block = snapshot.class_ids["VCPU"], snapshot.blocks[0]
    assert block.providers_with_room(((vcpu, 8),)) is block.providers_with_room(((vcpu, 8),))
    assert block.providers_with_room(((vcpu, 8),)).tolist() == [0]
    assert block.providers_with_room(((vcpu, 9),)).tolist() == []
    full = snapshot.with_usages([UsageRow(id_of(0), vcpu, 1)]).blocks[0]
    assert full.providers_with_room(((vcpu, 8),)).tolist() == []
    for amount in range(1, 9):
        assert full.providers_with_room(((vcpu, amount),)).tolist() == [0] * (amount < 8)
    assert len(block.rooms) <= ROOMS_KEPT_MAX
    assert len(full.stocks[vcpu].grants) <= GRANTS_KEPT_MAX


def test_units_that_allow_an_amount_are_compared_once_however_often_what_is_used_changes() -> None:
    fives = Inventory(100, min_unit=5, max_unit=50, step_size=5)
    snapshot = snapshot_of([Node(inventories={"VCPU": fives})])
    vcpu = snapshot.class_ids["VCPU"]

    def gives(amount: int, at: Snapshot) -> bool:
        return bool(at.blocks[0].providers_with_room(((vcpu, amount),)).size)

    assert [amount for amount in range(1, 102) if gives(amount, snapshot)] == list(range(5, 51, 5))
    taken = snapshot.with_usages([UsageRow(id_of(0), vcpu, 60)])
    assert taken.blocks[0].stocks[vcpu].grants is snapshot.blocks[0].stocks[vcpu].grants
    assert [amount for amount in range(1, 102) if gives(amount, taken)] == list(range(5, 41, 5))


def test_what_a_move_has_in_advance_makes_room_beyond_the_capacity() -> None:
    snapshot = snapshot_of([Node(inventories={"VCPU": Inventory(8)})])
    vcpu = snapshot.class_ids["VCPU"]
    seen = snapshot.with_usages([UsageRow(id_of(0), vcpu, -4)])
    assert seen.blocks[0].providers_with_room(((vcpu, 12),)).tolist() == [0]
    assert seen.blocks[0].providers_with_room(((vcpu, 13),)).tolist() == []
