"""How much work a search does, counted in steps: clocks differ from machine to machine."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from moorage.candidates import anchors
from moorage.candidates.blocks import BLOCK_SIZE
from moorage.candidates.choices import PAUSE_STEPS, ChoiceSearch
from moorage.candidates.columns import Stock
from moorage.candidates.eligible import Eligible
from moorage.candidates.request import (
    CandidatesRequest,
    GroupPolicy,
    RequestGroup,
    SearchRules,
    Strategy,
)
from moorage.candidates.search import find_candidates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import SHARING_TRAIT
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import SearchTooHard
from tests.candidates.forest import AGGREGATES, TRAITS, Node, snapshot_of
from tests.candidates.test_changes import many_rows

WIDTHS = (8, 16, 32)
LIMIT = 1_000

Count = Callable[[type, str], list[None]]


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts the calls of a method: the list grows by one for each."""

    def watch(owner: type, name: str) -> list[None]:
        calls: list[None] = []
        original = getattr(owner, name)

        def counted(*args: Any, **named: Any) -> Any:
            calls.append(None)
            return original(*args, **named)

        monkeypatch.setattr(owner, name, counted)
        return calls

    return watch


def vf(suffix: str, amount: int = 1, **changes: Any) -> RequestGroup:
    return replace(RequestGroup(suffix, (("CUSTOM_VF", amount),)), **changes)


def host_with(devices: Sequence[Node]) -> list[Node]:
    return [Node(inventories={"VCPU": Inventory(8)}), *devices]


def device(total: int = 1, *traits: str) -> Node:
    return Node(0, {"CUSTOM_VF": Inventory(total)}, traits=frozenset(traits))


def count_candidates(snapshot: Snapshot, request: CandidatesRequest, **rules: Any) -> int:
    answer = find_candidates(snapshot, request, SearchRules(**rules))
    return sum(len(run.providers) for run in answer.runs())


Wide = Callable[[int], tuple[list[Node], list[RequestGroup]]]


def equal(width: int) -> tuple[list[Node], list[RequestGroup]]:
    return [device() for _ in range(width)], [vf(f"_{n}") for n in range(width)]


def roomy(width: int) -> tuple[list[Node], list[RequestGroup]]:
    return [device(8) for _ in range(width)], [vf(f"_{n}") for n in range(width)]


def unequal(width: int) -> tuple[list[Node], list[RequestGroup]]:
    groups = [vf(f"_{n}", 1 + n % 4) for n in range(width)]
    return [device(1 + n % 4) for n in range(width)], groups


def traits(width: int) -> tuple[list[Node], list[RequestGroup]]:
    groups = [
        vf(f"_{n}", required_traits=(frozenset({TRAITS[n % len(TRAITS)]}),)) for n in range(width)
    ]
    return [device(1, TRAITS[n % len(TRAITS)]) for n in range(width)], groups


WIDE: Sequence[Wide] = (equal, roomy, unequal, traits)


@pytest.mark.parametrize("policy", GroupPolicy)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", WIDE)
def test_a_step_in_a_wide_tree_leads_to_many_candidates(
    make: Wide, width: int, policy: GroupPolicy, count: Count
) -> None:
    devices, groups = make(width)
    steps = count(ChoiceSearch, "_place")
    request = CandidatesRequest(tuple(groups), limit=LIMIT, group_policy=policy)
    found = count_candidates(snapshot_of(host_with(devices)), request)
    assert found == LIMIT or width == WIDTHS[0]
    assert len(steps) <= found // 4 + 4 * width


@pytest.mark.parametrize("policy", GroupPolicy)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [equal, unequal, traits])
def test_a_wide_tree_with_one_device_too_few_is_seen_through_at_once(
    make: Wide, width: int, policy: GroupPolicy, count: Count
) -> None:
    devices, groups = make(width)
    steps = count(ChoiceSearch, "_place")
    one_more = [*groups, replace(groups[-1], suffix="_more")]
    request = CandidatesRequest(tuple(one_more), limit=LIMIT, group_policy=policy)
    assert count_candidates(snapshot_of(host_with(devices)), request) == 0
    assert len(steps) <= 4 * width


@pytest.mark.parametrize(
    ("rooms", "amounts", "fits"),
    [
        ([4] * 24, [3] * 16 + [2] * 17, False),
        ([4] * 24, [3] * 16 + [2] * 16, True),
        ([100] * 6, [45, 28, 27, 44, 30, 26, 41, 32, 27, 40, 33, 27, 38, 33, 29, 37, 36, 27], True),
        ([103, 97] * 3, [45, 28, 27, 44, 30, 26, 41, 32, 27, 40, 33, 27, 38, 33, 29] + [34] * 3, 0),
        ([10] * 12, [7, 6, 5, 4, 3] * 4 + [10] * 3, False),
    ],
)
def test_a_tight_packing_is_decided_within_reason(
    rooms: list[int], amounts: list[int], fits: bool, count: Count
) -> None:
    devices = [device(room) for room in rooms]
    groups = [vf(f"_{n}", amount) for n, amount in enumerate(amounts)]
    steps = count(ChoiceSearch, "_place")
    request = CandidatesRequest(tuple(groups), limit=1, group_policy=GroupPolicy.NONE)
    assert bool(count_candidates(snapshot_of(host_with(devices)), request)) == bool(fits)
    assert len(steps) <= 2_000


def hard_packing() -> tuple[list[Node], list[RequestGroup]]:
    """A host with hardly more than is asked for, of two classes, in unlike portions."""
    random = Random(0)
    amounts = [(random.randint(5, 50), random.randint(5, 50)) for _ in range(32)]
    disk, functions = (int(sum(of_class) * 1.02) // 8 for of_class in zip(*amounts, strict=True))
    inventories = {"DISK_GB": Inventory(disk), "CUSTOM_VF": Inventory(functions)}
    groups = [
        RequestGroup(f"_{n}", (("DISK_GB", one), ("CUSTOM_VF", other)))
        for n, (one, other) in enumerate(amounts)
    ]
    return host_with([Node(0, inventories) for _ in range(8)]), groups


def test_what_is_too_hard_is_said_to_be(count: Count) -> None:
    host, groups = hard_packing()
    steps = count(ChoiceSearch, "_place")
    request = CandidatesRequest(tuple(groups), limit=10, group_policy=GroupPolicy.NONE)
    with pytest.raises(SearchTooHard):
        count_candidates(snapshot_of(host), request, steps_max=3_000)
    assert len(steps) <= 2 * 3_000 + PAUSE_STEPS


ORDERS: Sequence[dict[str, Any]] = (
    {},
    {"strategy": Strategy.BREADTH_FIRST},
    {"randomize": True},
)


def find_beside_a_hard_tree(devices: int, limit: int | None, rules: dict[str, Any]) -> int:
    """The candidates that are found where a second host has devices with room for everything."""
    forest, groups = hard_packing()
    roomy = Node(len(forest), {name: Inventory(10_000) for name in ("DISK_GB", "CUSTOM_VF")})
    forest += [Node(inventories={"VCPU": Inventory(8)}), *[roomy] * devices]
    request = CandidatesRequest(tuple(groups), limit=limit, group_policy=GroupPolicy.NONE)
    answer = find_candidates(
        snapshot_of(forest),
        request,
        SearchRules(steps_max=3_000, **rules),
        random=np.random.default_rng(3),
    )
    return len(answer.candidates)


@pytest.mark.parametrize("rules", ORDERS)
def test_easy_trees_have_their_turn_beside_hard_ones(rules: dict[str, Any]) -> None:
    assert find_beside_a_hard_tree(2, 10, rules) == 10


@pytest.mark.parametrize("rules", ORDERS)
def test_what_was_found_beside_a_hard_tree_is_an_answer_to_a_limit_alone(
    rules: dict[str, Any],
) -> None:
    assert find_beside_a_hard_tree(1, 10, rules) == 1
    with pytest.raises(SearchTooHard):
        find_beside_a_hard_tree(1, None, rules)


@pytest.mark.parametrize("strategy", Strategy)
def test_trees_that_look_alike_are_solved_once(strategy: Strategy, count: Count) -> None:
    forest: list[Node] = []
    for number in range(60):
        root = len(forest)
        forest.append(Node(inventories={"VCPU": Inventory(8)}))
        # One virtual function in use or two: for two groups of one it is the same.
        forest += [
            Node(root, {"CUSTOM_VF": Inventory(8)}, used={"CUSTOM_VF": number % 3})
            for _ in range(2)
        ]
    solved = count(anchors.ChoiceSearch, "__init__")
    request = CandidatesRequest((vf("_1"), vf("_2")), group_policy=GroupPolicy.NONE)
    assert count_candidates(snapshot_of(forest), request, strategy=strategy) == 4 * 60
    assert len(solved) == 1


def test_a_limit_leaves_the_blocks_behind_it_unread(count: Count) -> None:
    snapshot = Snapshot.build(many_rows(3 * BLOCK_SIZE))
    looked_at = count(Eligible, "_look_at")
    request = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),), limit=10)
    assert count_candidates(snapshot, request) == 10
    assert len(looked_at) == 1
    assert count_candidates(snapshot, replace(request, limit=None)) == 3 * BLOCK_SIZE
    assert len(looked_at) == 4


def test_no_row_is_read_for_more_than_any_inventory_gives_out(count: Count) -> None:
    host = Node(inventories={"VCPU": Inventory(8), "DISK_GB": Inventory(1000, max_unit=100)})
    snapshot = snapshot_of([host, host])
    compared = count(Stock, "has_room")
    asked = ("VCPU", 1), ("DISK_GB", 101)
    request = CandidatesRequest((RequestGroup("", asked),))
    assert count_candidates(snapshot, request) == 0
    assert compared == []


def test_who_asks_for_no_aggregates_looks_once_for_trees_and_lenders(count: Count) -> None:
    near = Node(inventories={"VCPU": Inventory(8)}, aggregates=frozenset({AGGREGATES[0]}))
    pool = replace(near, inventories={"DISK_GB": Inventory(8)}, traits=frozenset({SHARING_TRAIT}))
    looked_at = count(Eligible, "_look_at")
    request = CandidatesRequest((RequestGroup("", (("VCPU", 1), ("DISK_GB", 1))),))
    assert count_candidates(snapshot_of([near, pool]), request) == 1
    assert len(looked_at) == 2


def test_equal_groups_are_looked_for_once(count: Count) -> None:
    forest = host_with([device(4), device(4)])
    looked_at = count(Eligible, "_look_at")
    request = CandidatesRequest(tuple(vf(f"_{n}") for n in range(4)), group_policy=GroupPolicy.NONE)
    assert count_candidates(snapshot_of(forest), request) == 2**4
    assert len(looked_at) == 1


def test_an_endless_answer_begins_at_once(count: Count) -> None:
    devices, groups = roomy(32)
    steps = count(ChoiceSearch, "_place")
    request = CandidatesRequest(tuple(groups), group_policy=GroupPolicy.ISOLATE)
    answer = find_candidates(snapshot_of(host_with(devices)), request, SearchRules())
    assert len(next(answer.runs()).providers) > 0
    assert len(steps) <= 50_000
