"""What a snapshot promises, by example."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moorage.candidates.columns import CAPACITY_COLUMN_MAX
from moorage.candidates.filter import filter_providers
from moorage.candidates.request import CandidatesRequest, RequestGroup, SearchRules
from moorage.candidates.rows import UsageRow
from moorage.candidates.search import find_candidates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import AMOUNT_MAX
from moorage.domain.inventory import Inventory
from moorage.domain.provider import Provider, ProviderFilter
from tests.candidates.forest import AGGREGATES, AT, Node, snapshot_of, uuid_of

HOST = Node(
    inventories={"VCPU": Inventory(total=8), "DISK_GB": Inventory(total=8)},
    used={"VCPU": 2},
    traits=frozenset({"CUSTOM_C", "CUSTOM_A"}),
    aggregates=frozenset(AGGREGATES[1:]),
)
CHILD = Node(parent=0, inventories={"VCPU": Inventory(total=4)})
FOREST = [HOST, CHILD, HOST]


def arrays(value: Any) -> list[NDArray[Any]]:
    found = []
    for field in fields(value):
        column = getattr(value, field.name)
        if isinstance(column, np.ndarray):
            found.append(column)
    return found


def test_no_column_can_be_written() -> None:
    snapshot = snapshot_of(FOREST)
    parts = [snapshot, *snapshot.blocks, *snapshot.shapes]
    parts += [stock for block in snapshot.blocks for stock in block.stocks.values()]
    columns = [column for part in parts for column in arrays(part)]
    assert len(columns) > 20
    assert not any(column.flags.writeable for column in columns)


def test_a_provider_is_read_back_whole() -> None:
    assert snapshot_of(FOREST).provider(1) == Provider(
        id=17,  # type: ignore[arg-type]
        uuid=uuid_of(1),  # type: ignore[arg-type]
        name="node-1",
        generation=1,  # type: ignore[arg-type]
        parent_uuid=uuid_of(0),  # type: ignore[arg-type]
        root_uuid=uuid_of(0),  # type: ignore[arg-type]
        modified_at=AT,
    )


def test_traits_are_told_in_the_order_of_their_ids() -> None:
    node = Node(traits=frozenset({"CUSTOM_A", "CUSTOM_B"}))
    assert snapshot_of([node]).traits_of(0) == ["CUSTOM_B", "CUSTOM_A"]


def test_aggregates_and_trees_are_read_by_position() -> None:
    snapshot = snapshot_of(FOREST)
    assert set(snapshot.aggregates_of(2)) == set(AGGREGATES[1:])
    assert sorted(shape.members.tolist() for shape in snapshot.shapes) == [[[0, 1]], [[2]]]
    assert snapshot.ancestors_of(1) == [1, 0]


def test_new_usages_make_a_new_snapshot_and_leave_the_old_one() -> None:
    before = snapshot_of(FOREST)
    after = before.with_usages([UsageRow(7, 0, 8), UsageRow(17, 0, 4), UsageRow(999, 0, 1)])
    request = CandidatesRequest((RequestGroup("_1", (("VCPU", 1),)),))

    def found(snapshot: Snapshot) -> list[str]:
        answer = find_candidates(snapshot, request, SearchRules())
        return [uuid for candidate in answer.candidates for uuid in candidate.allocations]

    assert found(before) == [uuid_of(0), uuid_of(1), uuid_of(2)]
    assert found(after) == [uuid_of(2)]
    assert after.traits is before.traits


def test_an_empty_deployment_has_an_empty_snapshot() -> None:
    snapshot = snapshot_of([])
    request = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))
    assert not find_candidates(snapshot, request, SearchRules()).candidates
    assert filter_providers(snapshot, ProviderFilter()) == []


@given(
    st.integers(0, AMOUNT_MAX),
    st.integers(0, AMOUNT_MAX),
    st.one_of(st.floats(0, 1e38), st.floats(0, 100)),
)
def test_capacity_is_what_the_domain_says(total: int, reserved: int, ratio: float) -> None:
    inventory = Inventory(total=total, reserved=min(total, reserved), allocation_ratio=ratio)
    snapshot = snapshot_of([Node(inventories={"VCPU": inventory})])
    (stock,) = snapshot.blocks[0].stocks.values()
    assert stock.capacity_at(0) == inventory.capacity
    assert stock.capacities[0] == min(inventory.capacity, CAPACITY_COLUMN_MAX)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (ProviderFilter(), [0, 1, 2]),
        (ProviderFilter(name="node-2"), [2]),
        (ProviderFilter(uuid=uuid_of(9)), []),
        (ProviderFilter(in_tree=uuid_of(1)), [0, 1]),
        (ProviderFilter(resources=(("VCPU", 7),)), []),
        (ProviderFilter(resources=(("VCPU", 5), ("DISK_GB", 8))), [0, 2]),
        (ProviderFilter(forbidden_traits=frozenset({"CUSTOM_A"})), [1]),
    ],
)
def test_a_listing_shows_what_passes_every_part_of_the_filter(
    wanted: ProviderFilter, shown: list[int]
) -> None:
    assert filter_providers(snapshot_of(FOREST), wanted) == shown
