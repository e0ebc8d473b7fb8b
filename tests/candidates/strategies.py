"""Random forests, requests and filters that are likely to meet."""

import os
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from moorage.candidates.request import CandidatesRequest, GroupPolicy, RequestGroup
from moorage.domain.ids import SHARING_TRAIT, AggregateUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.provider import ProviderFilter
from tests.candidates.forest import AGGREGATES, CLASSES, TRAITS, Node, uuid_of

CASES_DEFAULT: Final = 100
CASES: Final = int(os.environ.get("MOORAGE_CASES", str(CASES_DEFAULT)))
NODES_MAX: Final = 9
DEPTH_MAX: Final = 3

thorough = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

aggregate_uuids = st.sampled_from(AGGREGATES).map(AggregateUuid)


@st.composite
def stocks(draw: st.DrawFn) -> tuple[Inventory, int]:
    """An inventory and what is used of it, now and then too much."""
    total = draw(st.sampled_from([8, 8, 6, 4, 2, 1]))
    inventory = Inventory(
        total=total,
        reserved=draw(st.sampled_from([0, 0, 0, 0, 0, 1, 1, total])),
        min_unit=draw(st.sampled_from([1, 1, 1, 1, 1, 1, 2])),
        max_unit=draw(st.sampled_from([8, 8, 8, 8, 2, 3])),
        step_size=draw(st.sampled_from([1, 1, 1, 1, 1, 1, 2])),
        allocation_ratio=draw(st.sampled_from([1.0, 1.0, 1.5, 4.0])),
    )
    return inventory, draw(st.sampled_from([0, 0, 0, 0, 1, 2, inventory.capacity, total + 1]))


@st.composite
def nodes(draw: st.DrawFn, *, parent: int | None, sharing: bool) -> Node:
    """One provider below a parent."""
    offered = {name: draw(stocks()) for name in CLASSES if not rarely(draw, 3)}
    traits = frozenset(name for name in TRAITS if draw(st.booleans()))
    if sharing and draw(st.integers(0, 3)) == 0:
        traits |= {SHARING_TRAIT}
    return Node(
        parent=parent,
        inventories={name: inventory for name, (inventory, _) in offered.items()},
        used={name: used for name, (_, used) in offered.items() if used},
        traits=traits,
        aggregates=draw(st.frozensets(st.sampled_from(AGGREGATES), max_size=2)),
    )


@st.composite
def forests(draw: st.DrawFn) -> list[Node]:
    """Up to ``NODES_MAX`` providers in trees, with or without sharing providers."""
    nested, sharing = draw(
        st.sampled_from([(True, True), (True, True), (True, False), (False, True), (False, False)])
    )
    forest: list[Node] = []
    depths: list[int] = []
    for number in range(draw(st.sampled_from([5, 3, 1, 2, 4, 6, 7, 8, NODES_MAX]))):
        parents = [n for n in range(number) if nested and depths[n] < DEPTH_MAX]
        parent = draw(st.sampled_from([*parents, None])) if parents else None
        forest.append(draw(nodes(parent=parent, sharing=sharing)))
        depths.append(0 if parent is None else depths[parent] + 1)
    return forest


def rarely(draw: st.DrawFn, one_in: int) -> bool:
    """True in a part of the cases; shrinks to False."""
    return draw(st.integers(0, one_in - 1)) == one_in - 1


@st.composite
def groups(draw: st.DrawFn, suffix: str, *, resourceless: bool) -> RequestGroup:
    """A group of a request; one without resources asks for a trait or an aggregate, mostly."""
    traits = st.sampled_from(TRAITS)
    if rarely(draw, 25):
        traits = st.sampled_from([*TRAITS, "CUSTOM_IDLE", "CUSTOM_UNKNOWN", SHARING_TRAIT])
    classes = list(CLASSES)
    if rarely(draw, 25):
        classes += ["CUSTOM_IDLE", "CUSTOM_UNKNOWN"]
    count = draw(st.sampled_from([1, 1, 1, 2] if suffix else [2, 1, 3]))
    named = draw(st.lists(st.sampled_from(classes), min_size=1, max_size=count, unique=True))
    any_of = st.frozensets(traits, min_size=1, max_size=2)
    members = st.frozensets(aggregate_uuids, min_size=1, max_size=2)
    in_tree = None
    if rarely(draw, 12):
        in_tree = ProviderUuid(uuid_of(draw(st.integers(0, NODES_MAX))))
    return RequestGroup(
        suffix=suffix,
        resources=(
            ()
            if resourceless
            else tuple((n, draw(st.sampled_from([1, 1, 1, 2, 2, 4]))) for n in named)
        ),
        required_traits=tuple(draw(st.lists(any_of, min_size=1, max_size=2)))
        if resourceless or rarely(draw, 4)
        else (),
        forbidden_traits=draw(st.frozensets(traits, max_size=2))
        if rarely(draw, 8)
        else frozenset(),
        member_of=tuple(draw(st.lists(members, max_size=2))) if rarely(draw, 6) else (),
        forbidden_aggregates=(
            draw(st.frozensets(aggregate_uuids, max_size=1)) if rarely(draw, 8) else frozenset()
        ),
        in_tree=in_tree,
    )


@st.composite
def requests(draw: st.DrawFn) -> CandidatesRequest:
    """A request as the edge would let it through, without a limit."""
    suffixes = [f"_{number}" for number in range(draw(st.sampled_from([0, 1, 2, 2, 3])))]
    subtrees: tuple[frozenset[str], ...] = ()
    if suffixes and draw(st.booleans()):
        subtree = st.frozensets(st.sampled_from(suffixes), min_size=1)
        subtrees = tuple(draw(st.lists(subtree, min_size=1, max_size=2)))
    bound = frozenset[str]().union(*subtrees)
    spread = not suffixes or draw(st.booleans())
    made = [draw(groups("", resourceless=False))] if spread else []
    made += [draw(groups(s, resourceless=s in bound and draw(st.booleans()))) for s in suffixes]
    if not any(group.resources for group in made):
        made.append(draw(groups("", resourceless=False)))
    policies = [GroupPolicy.NONE, GroupPolicy.ISOLATE] + ([] if len(suffixes) > 1 else [None])
    roots = st.frozensets(st.sampled_from(TRAITS), max_size=1)
    return CandidatesRequest(
        groups=tuple(draw(st.permutations(made))),
        group_policy=draw(st.sampled_from(policies)),
        root_required=draw(roots) if rarely(draw, 8) else frozenset(),
        root_forbidden=draw(roots) if rarely(draw, 8) else frozenset(),
        same_subtrees=subtrees,
        nested=not rarely(draw, 5),
    )


@st.composite
def filters(draw: st.DrawFn) -> ProviderFilter:
    """A filter for a listing of providers."""
    group = draw(groups("", resourceless=draw(st.booleans())))
    return ProviderFilter(
        name=f"node-{draw(st.integers(0, 2))}" if rarely(draw, 6) else None,
        uuid=uuid_of(draw(st.integers(0, 2))) if rarely(draw, 6) else None,
        in_tree=group.in_tree,
        member_of=group.member_of,
        forbidden_aggregates=group.forbidden_aggregates,
        required_traits=group.required_traits,
        forbidden_traits=group.forbidden_traits,
        resources=group.resources,
    )


@st.composite
def wide_trees(draw: st.DrawFn) -> list[Node]:
    """One root with many children that are nearly alike, some of them below a sibling."""
    stock = st.sampled_from([4, 4, 3, 1]).map(lambda total: Inventory(total=total))
    forest = [Node(inventories={"VCPU": Inventory(total=8)})]
    for number in range(1, draw(st.integers(3, 5)) + 1):
        forest.append(
            Node(
                parent=draw(st.sampled_from([0, 0, 0, max(number - 1, 0)])),
                inventories={"CUSTOM_VF": draw(stock)},
                traits=frozenset(draw(st.sampled_from([[], [], ["CUSTOM_A"], ["CUSTOM_B"]]))),
            )
        )
    return forest


@st.composite
def wide_requests(draw: st.DrawFn) -> CandidatesRequest:
    """Many groups that compete for one class, so that most choices lead nowhere."""
    amounts = st.sampled_from([1, 2, 3])
    suffixes = [f"_{number}" for number in range(draw(st.integers(2, 4)))]
    trait = st.sampled_from([(), (), (frozenset({"CUSTOM_A"}),)])
    made = [
        RequestGroup(s, (("CUSTOM_VF", draw(amounts)),), required_traits=draw(trait))
        for s in suffixes
    ]
    if draw(st.booleans()):
        resources = [("CUSTOM_VF", draw(amounts)), ("VCPU", 1)][: draw(st.integers(1, 2))]
        made.insert(0, RequestGroup("", tuple(resources), required_traits=draw(trait)))
    subtrees = st.frozensets(st.sampled_from(suffixes), min_size=2)
    return CandidatesRequest(
        groups=tuple(made),
        group_policy=draw(st.sampled_from(GroupPolicy)),
        same_subtrees=tuple(draw(st.lists(subtrees, max_size=1))),
        nested=not rarely(draw, 6),
    )
