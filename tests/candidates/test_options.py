"""Options in an order of preference, places for gangs, and why there are none."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.candidates.eligible import rooms_at
from moorage.candidates.explain import explain, roots_found
from moorage.candidates.gang import Gang, Placement, Placements, Relation, find_alternates
from moorage.candidates.options import Option, Preference, find_options, loads_of
from moorage.candidates.request import CandidatesRequest, RequestGroup, SearchRules
from moorage.candidates.search import find_candidates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import SHARING_TRAIT, AggregateUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import Refusal
from tests.candidates.forest import AGGREGATES, Node, snapshot_of, uuid_of
from tests.candidates.strategies import NODES_MAX, forests, requests, thorough
from tests.candidates.test_against_oracle import plain_uuids

ONE_VCPU = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))
preferences = st.sampled_from(Preference)


def random() -> np.random.Generator:
    return np.random.default_rng(11)


def options_of(
    snapshot: Snapshot, request: CandidatesRequest, preference: Preference = Preference.FIRST
) -> list[Option]:
    return list(find_options(snapshot, request, preference, random()))


def hosts(*used: int, total: int = 8) -> Snapshot:
    return snapshot_of(
        [Node(inventories={"VCPU": Inventory(total)}, used={"VCPU": one}) for one in used]
    )


def roots_of(options: Sequence[Option]) -> list[int]:
    return [option.root for option in options]


@thorough
@given(forests(), requests(), preferences)
def test_whatever_comes_first_the_options_are_the_candidates(
    forest: list[Node], request: CandidatesRequest, preference: Preference
) -> None:
    snapshot = snapshot_of(forest)
    try:
        right = plain_uuids(find_candidates(snapshot, request, SearchRules()).candidates)
    except Refusal as refusal:
        with pytest.raises(type(refusal)):
            options_of(snapshot, request, preference)
        return
    found = options_of(snapshot, request, preference)
    assert sorted(map(str, plain_uuids(one.candidate for one in found))) == sorted(map(str, right))
    rounds = Counter[int]()
    turns = []
    for option in found:
        turns.append(rounds[option.root])
        rounds[option.root] += 1
    if not snapshot.sharing.size:
        assert turns == sorted(turns), "a root's second option comes after all first ones"


@thorough
@given(
    forests(),
    requests(),
    st.frozensets(st.integers(0, NODES_MAX).map(uuid_of), max_size=3),
    st.booleans(),
)
def test_destinations_bind_the_root_and_nothing_else(
    forest: list[Node], request: CandidatesRequest, named: frozenset[str], avoided: bool
) -> None:
    snapshot = snapshot_of(forest)
    trees = frozenset(map(ProviderUuid, named))
    bound = replace(request, **({"trees_avoided": trees} if avoided else {"trees_used": trees}))
    try:
        explain(snapshot, request)
    except Refusal:
        return  # a name does not exist
    everything = roots_found(snapshot, request, None)
    known = [at for uuid in named if (at := snapshot.positions.get(uuid)) is not None]
    inside = np.isin(np.arange(len(snapshot)), snapshot.roots[known])
    allowed = everything & (~inside if avoided else inside)
    assert roots_found(snapshot, bound, None).tolist() == allowed.tolist()
    assert all(allowed[option.root] for option in options_of(snapshot, bound))
    assert set(map(str, plain_uuids(one.candidate for one in options_of(snapshot, bound)))) <= set(
        map(str, plain_uuids(one.candidate for one in options_of(snapshot, request)))
    )
    limited = find_candidates(snapshot, bound, SearchRules()).candidates
    assert len(limited) == len(options_of(snapshot, bound))


def test_naming_a_host_does_not_exclude_its_pool() -> None:
    forest = [
        Node(inventories={"VCPU": Inventory(8)}, aggregates=frozenset(AGGREGATES[:1])),
        Node(inventories={"VCPU": Inventory(8)}, aggregates=frozenset(AGGREGATES[:1])),
        Node(
            inventories={"DISK_GB": Inventory(100)},
            traits=frozenset({SHARING_TRAIT}),
            aggregates=frozenset(AGGREGATES[:1]),
        ),
    ]
    group = RequestGroup("", (("VCPU", 1), ("DISK_GB", 10)))
    snapshot = snapshot_of(forest)
    in_tree = CandidatesRequest((replace(group, in_tree=ProviderUuid(uuid_of(1))),))
    assert options_of(snapshot, in_tree) == []
    used = CandidatesRequest((group,), trees_used=frozenset({ProviderUuid(uuid_of(1))}))
    (option,) = options_of(snapshot, used)
    assert set(option.candidate.allocations) == {uuid_of(1), uuid_of(2)}


def test_packing_takes_the_fullest_root_first_and_spreading_the_emptiest() -> None:
    snapshot = hosts(3, 8, 1, 6, 0)
    assert roots_of(options_of(snapshot, ONE_VCPU, Preference.FIRST)) == [0, 2, 3, 4]
    assert roots_of(options_of(snapshot, ONE_VCPU, Preference.PACK)) == [3, 0, 2, 4]
    assert roots_of(options_of(snapshot, ONE_VCPU, Preference.SPREAD)) == [4, 2, 0, 3]
    assert sorted(roots_of(options_of(snapshot, ONE_VCPU, Preference.RANDOM))) == [0, 2, 3, 4]


def test_a_provider_that_is_over_full_has_no_room_and_no_less() -> None:
    snapshot = hosts(9, 3, 8)
    everyone = np.arange(len(snapshot), dtype=np.int32)
    assert rooms_at(snapshot, snapshot.class_ids["VCPU"], everyone).tolist() == [0, 5, 0]


def test_equally_full_roots_are_packed_in_order_and_spread_at_random() -> None:
    snapshot = hosts(*[4] * 50)
    assert roots_of(options_of(snapshot, ONE_VCPU, Preference.PACK)) == list(range(50))
    spread = roots_of(options_of(snapshot, ONE_VCPU, Preference.SPREAD))
    assert spread != sorted(spread)
    assert sorted(spread) == list(range(50))


def test_a_tree_is_as_full_as_its_classes_are_on_the_mean() -> None:
    forest = [
        Node(inventories={"VCPU": Inventory(8)}, used={"VCPU": 4}),
        Node(parent=0, inventories={"VCPU": Inventory(8), "DISK_GB": Inventory(10)}),
        Node(inventories={"DISK_GB": Inventory(10, reserved=10)}),
        Node(),
    ]
    loads = loads_of(snapshot_of(forest), {"VCPU", "DISK_GB"})
    assert loads.tolist() == [0.125, 0.0, 1.0, 0.0]


# Gangs


def gang_of(*members: CandidatesRequest, relation: Relation, preference: Preference) -> Gang:
    return Gang(tuple(members), preference, relation)


def fits(snapshot: Snapshot, options: Sequence[Option]) -> bool:
    asked = Counter[tuple[str, str]]()
    for option in options:
        for uuid, amounts in option.candidate.allocations.items():
            for name, amount in amounts.items():
                asked[uuid, name] += amount
    for (uuid, name), amount in asked.items():
        position = snapshot.positions.get(uuid)
        assert position is not None
        capacity, used = snapshot.resources_of(position)[name]
        if used + amount > capacity:
            return False
    return True


def stands(relation: Relation, roots: Sequence[int]) -> bool:
    if relation is Relation.AFFINITY:
        return len(set(roots)) == 1
    return relation is Relation.NONE or len(set(roots)) == len(roots)


def all_around(snapshot: Snapshot, request: CandidatesRequest) -> list[Option]:
    """The options around each root by itself: those of shared providers alone are found again."""
    found = []
    for root in np.flatnonzero(snapshot.parents < 0).tolist():
        within = np.arange(len(snapshot)) == root
        found += find_options(snapshot, request, Preference.FIRST, random(), within=within)
    return found


@thorough
@given(forests(), requests(), requests(), st.sampled_from(Relation), preferences)
def test_a_gang_is_placed_if_and_only_if_there_is_a_place(
    forest: list[Node],
    first: CandidatesRequest,
    second: CandidatesRequest,
    relation: Relation,
    preference: Preference,
) -> None:
    snapshot = snapshot_of(forest)
    placements = Placements(
        snapshot, gang_of(first, second, relation=relation, preference=preference), random()
    )
    try:
        for request in (first, second):
            explain(snapshot, request)
    except Refusal:
        return  # a name does not exist
    every = [all_around(snapshot, request) for request in (first, second)]
    found: Placement | None = next(iter(placements), None)
    pairs = itertools.islice(itertools.product(*every), 4_000)
    possible = any(
        stands(relation, [one.root for one in pair]) and fits(snapshot, pair) for pair in pairs
    )
    if found is None:
        assert not possible or placements.stuck().gave_up
        stuck = placements.stuck()
        request = (first, second)[stuck.member]
        if not stuck.gave_up and relation is not Relation.AFFINITY:
            assert explain(stuck.snapshot, request, within=stuck.within).left == 0
    else:
        assert fits(snapshot, found)
        assert stands(relation, roots_of(found))


def test_a_gang_of_unlike_members_is_tried_again_where_the_first_choice_blocks_the_second() -> None:
    traits = [frozenset({"CUSTOM_A", "CUSTOM_B"}), frozenset({"CUSTOM_A"})]
    snapshot = snapshot_of(
        [Node(inventories={"VCPU": Inventory(1)}, traits=having) for having in traits]
    )
    asked = [
        CandidatesRequest((RequestGroup("", (("VCPU", 1),), (frozenset({name}),)),))
        for name in ("CUSTOM_A", "CUSTOM_B")
    ]
    gang = gang_of(*asked, relation=Relation.NONE, preference=Preference.FIRST)
    assert roots_of(next(iter(Placements(snapshot, gang, random())))) == [1, 0]


def test_affinity_finds_the_only_root_that_has_room_for_all() -> None:
    snapshot = hosts(*[7] * 2_000, 5, *[7] * 2_000)
    gang = gang_of(*[ONE_VCPU] * 3, relation=Relation.AFFINITY, preference=Preference.FIRST)
    assert roots_of(next(iter(Placements(snapshot, gang, random())))) == [2_000] * 3


def test_too_few_roots_for_anti_affinity_are_seen_at_once() -> None:
    placements = Placements(
        hosts(0, 0, 8),
        gang_of(*[ONE_VCPU] * 3, relation=Relation.ANTI_AFFINITY, preference=Preference.FIRST),
        random(),
    )
    assert list(placements) == []
    stuck = placements.stuck()
    assert (stuck.member, stuck.gave_up) == (2, False)
    explanation = explain(stuck.snapshot, ONE_VCPU, within=stuck.within)
    told = [(step.constraint, step.eliminated, step.left) for step in explanation.steps]
    assert told[0] == ("relation", 2, 1)
    assert ("free", 1, 0) in told


def test_a_search_that_gives_up_says_so() -> None:
    pool = Node(
        inventories={"DISK_GB": Inventory(10)},
        traits=frozenset({SHARING_TRAIT}),
        aggregates=frozenset(AGGREGATES[:1]),
    )
    host = Node(inventories={"VCPU": Inventory(8)}, aggregates=frozenset(AGGREGATES[:1]))
    snapshot = snapshot_of([pool, *[host] * 300])
    small = CandidatesRequest((RequestGroup("", (("VCPU", 1), ("DISK_GB", 4))),))
    large = CandidatesRequest((RequestGroup("", (("VCPU", 1), ("DISK_GB", 8))),))
    gang = gang_of(small, large, relation=Relation.NONE, preference=Preference.FIRST)
    placements = Placements(snapshot, gang, random())
    assert list(placements) == []
    assert placements.stuck().gave_up


# Alternates


def test_alternates_are_around_other_roots_beside_what_the_gang_takes() -> None:
    snapshot = hosts(0, 7, 7, 8, 0)
    # The second member takes the last unit of root 1.
    for relation, roots in (
        (Relation.NONE, [[2, 4], [0, 2, 4]]),
        (Relation.ANTI_AFFINITY, [[2, 4], [2, 4]]),
    ):
        gang = gang_of(ONE_VCPU, ONE_VCPU, relation=relation, preference=Preference.FIRST)
        placement = (options_of(snapshot, ONE_VCPU)[0], options_of(snapshot, ONE_VCPU)[1])
        found = find_alternates(snapshot, gang, placement, 5, random())
        assert [roots_of(alternates) for alternates in found] == roots


def test_alternates_of_an_affine_gang_belong_together() -> None:
    snapshot = hosts(0, 7, 6, 0, 6)
    gang = gang_of(ONE_VCPU, ONE_VCPU, relation=Relation.AFFINITY, preference=Preference.FIRST)
    placement = next(iter(Placements(snapshot, gang, random())))
    assert roots_of(placement) == [0, 0]
    found = find_alternates(snapshot, gang, placement, 5, random())
    assert [roots_of(alternates) for alternates in found] == [[2, 3, 4], [2, 3, 4]]
    assert find_alternates(snapshot, gang, placement, 0, random()) == ((), ())


# Explanations


@thorough
@given(forests(), requests())
def test_no_step_of_an_explanation_takes_away_a_root_that_has_a_candidate(
    forest: list[Node], request: CandidatesRequest
) -> None:
    snapshot = snapshot_of(forest)
    try:
        explanation = explain(snapshot, request)
    except Refusal:
        return
    assert explanation.left == int(roots_found(snapshot, request, None).sum())
    left = explanation.roots
    for step in explanation.steps:
        assert step.eliminated == left - step.left
        left = step.left


def test_an_explanation_counts_what_each_constraint_takes_away_in_order() -> None:
    aggregate = frozenset(AGGREGATES[:1])
    trait = frozenset({"CUSTOM_A"})
    forest = [
        Node(inventories={"VCPU": Inventory(8)}, aggregates=aggregate),
        Node(inventories={"VCPU": Inventory(8)}, traits=trait),
        Node(inventories={"DISK_GB": Inventory(8)}, traits=trait, aggregates=aggregate),
        Node(inventories={"VCPU": Inventory(8, max_unit=2)}, traits=trait, aggregates=aggregate),
        Node(inventories={"VCPU": Inventory(3)}, traits=trait, aggregates=aggregate),
        Node(
            inventories={"VCPU": Inventory(8)},
            used={"VCPU": 5},
            traits=trait,
            aggregates=aggregate,
        ),
        Node(inventories={"VCPU": Inventory(8)}, traits=trait | {"CUSTOM_B"}, aggregates=aggregate),
        Node(inventories={"VCPU": Inventory(8)}, traits=trait, aggregates=aggregate),
    ]
    group = RequestGroup(
        "",
        (("VCPU", 4),),
        required_traits=(trait,),
        forbidden_traits=frozenset({"CUSTOM_B"}),
        member_of=(frozenset(map(AggregateUuid, aggregate)),),
    )
    request = CandidatesRequest((group,), trees_avoided=frozenset({ProviderUuid(uuid_of(7))}))
    explanation = explain(snapshot_of(forest), request)
    assert explanation.roots == 8
    assert [(s.constraint, s.asked, s.eliminated, s.left) for s in explanation.steps] == [
        ("trees_avoided", "1 given", 1, 7),
        ("member_of", AGGREGATES[0], 1, 6),
        ("required", "CUSTOM_A", 1, 5),
        ("required", "!CUSTOM_B", 1, 4),
        ("inventory", "VCPU:4", 1, 3),
        ("units", "VCPU:4", 1, 2),
        ("capacity", "VCPU:4", 1, 1),
        ("free", "VCPU:4", 1, 0),
        ("together", "all groups at once", 0, 0),
    ]


def test_a_trait_that_nobody_has_is_named_where_a_pool_may_serve_too() -> None:
    aggregate = frozenset(AGGREGATES[:1])
    forest = [
        Node(inventories={"VCPU": Inventory(8)}, aggregates=aggregate),
        Node(
            inventories={"VCPU": Inventory(8)}, aggregates=aggregate, traits=frozenset({"CUSTOM_A"})
        ),
        Node(
            inventories={"DISK_GB": Inventory(8)},
            aggregates=aggregate,
            traits=frozenset({SHARING_TRAIT}),
        ),
    ]
    required = (frozenset({"CUSTOM_A"}), frozenset({"CUSTOM_B"}))
    group = RequestGroup("", (("VCPU", 4), ("DISK_GB", 4)), required_traits=required)
    steps = explain(snapshot_of(forest), CandidatesRequest((group,))).steps
    assert [(step.asked, step.left) for step in steps if step.constraint == "required"] == [
        ("CUSTOM_A", 1),
        ("CUSTOM_B", 0),
    ]


def test_the_tree_of_a_group_without_resources_takes_nothing_away() -> None:
    forest = [
        Node(inventories={"VCPU": Inventory(8)}, traits=frozenset({"CUSTOM_A"})),
        Node(),
    ]
    groups = (
        RequestGroup("_1", (("VCPU", 1),)),
        RequestGroup(
            "_2",
            required_traits=(frozenset({"CUSTOM_A"}),),
            in_tree=ProviderUuid(uuid_of(1)),
        ),
    )
    request = CandidatesRequest(groups, same_subtrees=(frozenset({"_1", "_2"}),))
    explanation = explain(snapshot_of(forest), request)
    assert explanation.left == 1
    assert "in_tree" not in {step.constraint for step in explanation.steps}
