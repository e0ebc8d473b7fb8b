"""What a search for candidates promises, by example."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from moorage.candidates.answer import CandidatesAnswer
from moorage.candidates.request import (
    CandidatesRequest,
    GroupPolicy,
    RequestGroup,
    SearchRules,
    Strategy,
)
from moorage.candidates.search import find_candidates
from moorage.domain.ids import SHARING_TRAIT, AggregateUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import UnknownResourceClass, UnknownTraits
from tests.candidates.forest import AGGREGATES, Node, snapshot_of, uuid_of

HERE, THERE, ELSEWHERE = (AggregateUuid(uuid) for uuid in AGGREGATES)
A, B = frozenset({"CUSTOM_A"}), frozenset({"CUSTOM_B"})
UNKNOWN = frozenset({"CUSTOM_UNKNOWN"})

RULES = SearchRules()
Allocations = dict[int, dict[str, int]]


def host(**changes: object) -> Node:
    """A provider with 8 VCPU and 8 DISK_GB, all free."""
    stocks = {"VCPU": Inventory(total=8), "DISK_GB": Inventory(total=8)}
    return replace(Node(inventories=stocks), **changes)  # type: ignore[arg-type]


def child(parent: int, count: int = 8, **changes: object) -> Node:
    """A provider below another, with virtual functions."""
    node = Node(parent=parent, inventories={"CUSTOM_VF": Inventory(total=count)})
    return replace(node, **changes)  # type: ignore[arg-type]


def pool(**changes: object) -> Node:
    """A provider that shares 100 DISK_GB with the trees in HERE."""
    shared = Node(
        inventories={"DISK_GB": Inventory(total=100)},
        traits=frozenset({SHARING_TRAIT}),
        aggregates=frozenset({HERE}),
    )
    return replace(shared, **changes)  # type: ignore[arg-type]


def group(suffix: str = "", /, **resources: int) -> RequestGroup:
    return RequestGroup(suffix, tuple(resources.items()))


def search(
    forest: Sequence[Node],
    *groups: RequestGroup,
    rules: SearchRules = RULES,
    **asked: object,
) -> CandidatesAnswer:
    request = replace(CandidatesRequest(groups), **asked)  # type: ignore[arg-type]
    return find_candidates(snapshot_of(forest), request, rules, random=np.random.default_rng(1))


def allocations(answer: CandidatesAnswer) -> list[Allocations]:
    """The allocations of each candidate, by position in the forest."""
    numbers = {uuid_of(number): number for number in range(100)}
    return [
        {numbers[uuid]: dict(amounts) for uuid, amounts in candidate.allocations.items()}
        for candidate in answer.candidates
    ]


# Where resources may come from


def test_a_group_without_suffix_is_spread_over_a_tree() -> None:
    answer = search([host(), child(0)], group(VCPU=2, CUSTOM_VF=1))
    assert allocations(answer) == [{0: {"VCPU": 2}, 1: {"CUSTOM_VF": 1}}]


def test_a_suffixed_group_is_served_by_one_provider() -> None:
    assert not search([host(), child(0)], group("_1", VCPU=2, CUSTOM_VF=1)).candidates


def test_a_pool_serves_the_trees_in_its_aggregates_and_no_other() -> None:
    compute = Node(inventories={"VCPU": Inventory(total=8)})
    near = replace(compute, aggregates=frozenset({HERE}))
    answer = search([near, compute, pool()], group(VCPU=1, DISK_GB=50))
    assert allocations(answer) == [{0: {"VCPU": 1}, 2: {"DISK_GB": 50}}]


def test_a_pool_serves_a_tree_by_the_aggregate_of_any_of_its_providers() -> None:
    forest = [host(), child(0, aggregates=frozenset({HERE})), pool()]
    assert {2: {"DISK_GB": 50}, 0: {"VCPU": 1}} in allocations(
        search(forest, group(VCPU=1, DISK_GB=50))
    )


def test_a_pool_below_a_root_shares_through_its_own_aggregates() -> None:
    compute = Node(inventories={"VCPU": Inventory(total=8)}, aggregates=frozenset({HERE}))
    cabinet = Node(aggregates=frozenset({THERE}))
    unrelated = Node(inventories={"VCPU": Inventory(total=8)}, aggregates=frozenset({THERE}))
    answer = search([compute, cabinet, pool(parent=1), unrelated], group(VCPU=1, DISK_GB=50))
    assert allocations(answer) == [{0: {"VCPU": 1}, 2: {"DISK_GB": 50}}]
    assert [summary.uuid for summary in answer.summaries] == [uuid_of(n) for n in (0, 1, 2)]


def test_in_tree_leaves_out_the_pools_of_a_group_without_suffix() -> None:
    forest = [host(aggregates=frozenset({HERE})), pool()]
    within = replace(group(VCPU=1, DISK_GB=4), in_tree=ProviderUuid(uuid_of(0)))
    assert allocations(search(forest, within)) == [{0: {"VCPU": 1, "DISK_GB": 4}}]


def test_an_unknown_tree_has_no_candidates() -> None:
    within = replace(group(VCPU=1), in_tree=ProviderUuid(uuid_of(77)))
    assert not search([host()], within).candidates


def test_what_two_anchors_find_alike_is_given_once() -> None:
    forest = [host(aggregates=frozenset({HERE})), host(aggregates=frozenset({HERE})), pool()]
    answer = search(forest, group("_1", DISK_GB=50))
    assert allocations(answer) == [{2: {"DISK_GB": 50}}]


def test_a_pool_that_serves_a_spread_group_whole_does_so_for_every_anchor() -> None:
    # Placement keeps one anchor for such a group, whichever comes first, and loses the others.
    compute = Node(inventories={"VCPU": Inventory(total=8)}, aggregates=frozenset({HERE}))
    answer = search([compute, compute, pool()], group(DISK_GB=50), group("_1", VCPU=1))
    assert allocations(answer) == [
        {2: {"DISK_GB": 50}, 0: {"VCPU": 1}},
        {2: {"DISK_GB": 50}, 1: {"VCPU": 1}},
    ]


# Traits and aggregates


def test_required_traits_may_come_from_different_providers_of_a_spread_group() -> None:
    forest = [host(traits=A), child(0, traits=B), child(0)]
    wanted = replace(group(VCPU=1, CUSTOM_VF=1), required_traits=(A, B))
    assert allocations(search(forest, wanted)) == [{0: {"VCPU": 1}, 1: {"CUSTOM_VF": 1}}]


def test_a_trait_of_a_provider_that_gives_nothing_does_not_count() -> None:
    wanted = replace(group(VCPU=1), required_traits=(B,))
    assert not search([host(), child(0, traits=B)], wanted).candidates


def test_a_forbidden_trait_bars_its_provider_alone() -> None:
    forest = [host(), child(0, traits=A), child(0)]
    wanted = replace(group(VCPU=1, CUSTOM_VF=1), forbidden_traits=A)
    assert allocations(search(forest, wanted)) == [{0: {"VCPU": 1}, 2: {"CUSTOM_VF": 1}}]


def test_the_aggregates_of_a_root_span_its_tree_for_a_spread_group_only() -> None:
    forest = [host(aggregates=frozenset({THERE})), child(0)]
    for suffix, found in (("", 1), ("_1", 0)):
        wanted = replace(group(suffix, CUSTOM_VF=1), member_of=(frozenset({THERE}),))
        assert len(search(forest, wanted).candidates) == found


def test_a_pool_must_itself_be_in_the_aggregates_asked_for() -> None:
    compute = Node(inventories={"VCPU": Inventory(total=8)}, aggregates=frozenset({HERE, THERE}))
    wanted = replace(group(VCPU=1, DISK_GB=50), member_of=(frozenset({THERE}),))
    assert not search([compute, pool()], wanted).candidates
    assert search([compute, pool(aggregates=frozenset({HERE, THERE}))], wanted).candidates


def test_a_root_in_a_forbidden_aggregate_takes_its_tree_with_it() -> None:
    forest = [host(aggregates=frozenset({THERE})), child(0)]
    wanted = replace(group(CUSTOM_VF=1), forbidden_aggregates=frozenset({THERE}))
    assert not search(forest, wanted).candidates


def test_root_traits_are_asked_of_the_anchor_not_of_the_provider() -> None:
    forest = [host(traits=A), child(0), host(), child(2)]
    answer = search(forest, group("_1", CUSTOM_VF=1), root_required=A)
    assert allocations(answer) == [{1: {"CUSTOM_VF": 1}}]
    answer = search(forest, group("_1", CUSTOM_VF=1), root_forbidden=A)
    assert allocations(answer) == [{3: {"CUSTOM_VF": 1}}]


# Groups together


def test_amounts_of_one_class_from_one_provider_add_up() -> None:
    answer = search([host(), child(0)], group(VCPU=1, CUSTOM_VF=1), group("1", VCPU=2))
    assert allocations(answer) == [{0: {"VCPU": 3}, 1: {"CUSTOM_VF": 1}}]


def test_groups_that_fit_alone_may_not_fit_together() -> None:
    groups = [group("_1", VCPU=5), group("_2", VCPU=5)]
    assert not search([host()], *groups, group_policy=GroupPolicy.NONE).candidates


def test_isolated_groups_are_served_by_different_providers() -> None:
    forest = [host(), child(0), child(0)]
    groups = [group("_1", CUSTOM_VF=1), group("_2", CUSTOM_VF=1)]
    assert len(search(forest, *groups, group_policy=GroupPolicy.NONE).candidates) == 4
    answer = search(forest, *groups, group_policy=GroupPolicy.ISOLATE)
    assert allocations(answer) == [{1: {"CUSTOM_VF": 1}, 2: {"CUSTOM_VF": 1}}] * 2
    assert answer.candidates[0].mappings != answer.candidates[1].mappings


def test_a_group_without_resources_ties_others_to_its_subtree() -> None:
    forest = [host(), Node(parent=0, traits=A), Node(parent=0), child(1), child(2)]
    numa = RequestGroup("_numa", required_traits=(A,))
    answer = search(
        forest, numa, group("_vf", CUSTOM_VF=1), same_subtrees=(frozenset({"_numa", "_vf"}),)
    )
    assert allocations(answer) == [{3: {"CUSTOM_VF": 1}}]
    assert answer.candidates[0].mappings["_numa"] == (uuid_of(1),)


def test_siblings_share_no_subtree_without_their_parent() -> None:
    forest = [host(), child(0), child(0)]
    groups = [group("_1", CUSTOM_VF=1), group("_2", CUSTOM_VF=1)]
    answer = search(
        forest,
        *groups,
        group_policy=GroupPolicy.ISOLATE,
        same_subtrees=(frozenset({"_1", "_2"}),),
    )
    assert not answer.candidates


def test_a_group_that_only_forbids_finds_nothing() -> None:
    forest = [host(), child(0)]
    idle = RequestGroup("_idle", forbidden_traits=A)
    answer = search(forest, idle, group("_1", VCPU=1), same_subtrees=(frozenset({"_idle", "_1"}),))
    assert not answer.candidates


def test_before_trees_were_known_no_candidate_uses_two_providers_of_one() -> None:
    forest = [host(), child(0), Node(parent=0, inventories={"VCPU": Inventory(total=8)})]
    answer = search(forest, group(VCPU=1), nested=False)
    assert allocations(answer) == [{0: {"VCPU": 1}}, {2: {"VCPU": 1}}]
    assert [summary.uuid for summary in answer.summaries] == [uuid_of(0), uuid_of(2)]
    assert not search(forest, group(VCPU=1, CUSTOM_VF=1), nested=False).candidates


# Names and amounts


@pytest.mark.parametrize("amount", [2**31, 2**63, 10**30])
def test_no_provider_has_room_for_a_huge_amount(amount: int) -> None:
    assert not search([host(), child(0)], group(VCPU=amount)).candidates


def test_a_name_that_nobody_uses_is_known_all_the_same() -> None:
    assert not search([host()], group(CUSTOM_IDLE=1)).candidates
    idle = replace(group(VCPU=1), required_traits=(frozenset({"CUSTOM_IDLE"}),))
    assert not search([host()], idle).candidates


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownResourceClass) as unknown_class:
        search([host()], group(CUSTOM_UNKNOWN=1))
    assert unknown_class.value.name == "CUSTOM_UNKNOWN"
    with pytest.raises(UnknownTraits) as unknown_trait:
        search([host()], replace(group(VCPU=1), forbidden_traits=UNKNOWN))
    assert unknown_trait.value.names == ("CUSTOM_UNKNOWN",)
    with pytest.raises(UnknownTraits):
        search([host()], group(VCPU=1), root_required=UNKNOWN)


def test_an_unknown_name_after_a_group_that_cannot_be_served_is_not_seen() -> None:
    unknown = replace(group("_1", VCPU=1), required_traits=(UNKNOWN,))
    assert not search([host()], group(VCPU=100), unknown).candidates
    with pytest.raises(UnknownTraits):
        search([host()], unknown, group(VCPU=100))


def test_a_group_that_fails_by_its_traits_together_hides_unknown_names_too() -> None:
    forest = [host(traits=A), child(0), host(), child(2, traits=B)]
    unservable = replace(group(VCPU=1, CUSTOM_VF=1), required_traits=(A, B))
    assert not search(forest, unservable, group("_1", CUSTOM_UNKNOWN=1)).candidates


# How many, and in which order


def test_anchors_are_visited_one_after_the_other_or_in_turn() -> None:
    forest = [host(), child(0), child(0), host(), child(3), child(3)]
    wanted = group("_1", CUSTOM_VF=1)
    order = {
        strategy: [
            number
            for found in allocations(search(forest, wanted, rules=SearchRules(strategy=strategy)))
            for number in found
        ]
        for strategy in Strategy
    }
    assert order == {Strategy.DEPTH_FIRST: [1, 2, 4, 5], Strategy.BREADTH_FIRST: [1, 4, 2, 5]}


def test_a_random_sample_is_drawn_from_all_candidates() -> None:
    rules = SearchRules(randomize=True)
    for forest in ([host()] * 40, [host(), child(0), *[host()] * 38]):
        answer = search(forest, group(VCPU=1), rules=rules, limit=5)
        chosen = [number for found in allocations(answer) for number in found]
        assert len(set(chosen)) == 5
        assert max(chosen) > 5
        assert chosen != sorted(chosen)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_random_sample_gives_each_root_the_same_chance(strategy: Strategy) -> None:
    # The first root has five choices, the others one.
    forest = [host(), *[child(0) for _ in range(5)]]
    for _ in range(7):
        forest += [host(), child(len(forest))]
    roots = [number for number, node in enumerate(forest) if node.parent is None]
    snapshot = snapshot_of(forest)
    request = CandidatesRequest((group("_1", CUSTOM_VF=1),), limit=1)
    rules = SearchRules(randomize=True, strategy=strategy)
    drawn = dict.fromkeys(roots, 0)
    for seed in range(400):
        answer = find_candidates(snapshot, request, rules, random=np.random.default_rng(seed))
        (run,) = answer.runs()
        drawn[int(snapshot.roots[run.providers[0, 0]])] += 1
    assert all(25 <= times <= 80 for times in drawn.values())


def test_summaries_tell_only_about_the_candidates_that_were_kept() -> None:
    answer = search([host()] * 5, group(VCPU=1), limit=2)
    assert [summary.uuid for summary in answer.summaries] == [uuid_of(0), uuid_of(1)]


def test_a_wide_tree_is_searched_no_further_than_the_limit() -> None:
    forest = [host(), *[child(0) for _ in range(24)]]
    groups = [group(f"_{number}", CUSTOM_VF=1) for number in range(24)]
    answer = search(forest, *groups, group_policy=GroupPolicy.ISOLATE, limit=5)
    assert len(answer.candidates) == 5


@pytest.mark.parametrize(
    ("policy", "amounts", "count"),
    [
        (GroupPolicy.ISOLATE, [1] * 25, 8),
        (GroupPolicy.NONE, [3] * 25, 4),
        (GroupPolicy.NONE, [3] * 16 + [2] * 17, 4),
    ],
)
def test_a_wide_tree_that_is_one_portion_short_is_given_up_soon(
    policy: GroupPolicy, amounts: list[int], count: int
) -> None:
    forest = [host(), *[child(0, count) for _ in range(24)]]
    groups = [group(f"_{number}", CUSTOM_VF=amount) for number, amount in enumerate(amounts)]
    assert not search(forest, *groups, group_policy=policy).candidates
