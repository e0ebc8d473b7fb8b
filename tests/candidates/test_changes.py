"""A snapshot that follows changes is what a snapshot built from scratch would be."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.candidates import fragments
from moorage.candidates.blocks import BLOCK_SIZE
from moorage.candidates.changes import with_changes
from moorage.candidates.columns import IndexArray
from moorage.candidates.filter import filter_providers
from moorage.candidates.index import RECENT_MAX, Index
from moorage.candidates.request import CandidatesRequest, RequestGroup, SearchRules
from moorage.candidates.rows import GenerationRow, ProviderRow, Rows, UsageRow
from moorage.candidates.search import find_candidates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import SHARING_TRAIT, AggregateUuid
from moorage.domain.inventory import Inventory
from moorage.domain.provider import ProviderFilter
from moorage.domain.refusals import Refusal
from tests.candidates.forest import (
    AGGREGATES,
    AT,
    CLASS_NAMES,
    TRAIT_NAMES,
    Node,
    id_of,
    rows_of,
    snapshot_of,
    uuid_of,
)
from tests.candidates.strategies import CASES, forests, nodes, rarely, requests, thorough
from tests.candidates.test_against_oracle import plain_uuids

Forest = dict[int, Node]
"""Number of a provider -> what it is; numbers may be missing, and parents are numbers too."""

NUMBERS_MAX = 14


def rows_in(forest: Forest, numbers: Sequence[int]) -> Rows:
    """The rows of some providers that exist."""
    padded = [forest.get(number, Node()) for number in range(NUMBERS_MAX)]
    return rows_of(padded, sorted(number for number in numbers if number in forest))


def below(forest: Forest, top: int) -> set[int]:
    """A provider and all below it."""
    found = {top}
    for _ in forest:
        found |= {number for number, node in forest.items() if node.parent in found}
    return found


@st.composite
def steps(draw: st.DrawFn, forest: Forest) -> tuple[Forest, set[int]]:
    """What a change leaves of a forest, and the providers that it touched."""
    after = dict(forest)
    kind = draw(st.sampled_from(["add", "change", "move", "delete", "many"]))
    if kind == "add" or not forest:
        number = draw(st.sampled_from([n for n in range(NUMBERS_MAX) if n not in forest] or [0]))
        if number in forest:
            return after, set()
        parent = draw(st.sampled_from([None, *forest]))
        after[number] = draw(nodes(parent=parent, sharing=rarely(draw, 3)))
        return after, {number}
    number = draw(st.sampled_from(sorted(forest)))
    if kind == "delete":
        if any(node.parent == number for node in forest.values()):
            return after, set()
        del after[number]
        return after, {number}
    if kind == "move":
        tree = below(forest, number)
        parent = draw(st.sampled_from([None, *(n for n in forest if n not in tree)]))
        after[number] = replace(forest[number], parent=parent)
        return after, tree
    touched = {number} if kind == "change" else set(draw(st.sets(st.sampled_from(sorted(forest)))))
    for one in touched:
        after[one] = draw(nodes(parent=forest[one].parent, sharing=rarely(draw, 3)))
    return after, touched


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Forest, set[int]]]:
    """A forest and what becomes of it, with the providers touched at each step."""
    forest: Forest = dict(enumerate(draw(forests())))
    history = [(forest, set(forest))]
    for _ in range(draw(st.integers(1, 6))):
        forest, touched = draw(steps(forest))
        history.append((forest, touched))
    return history


def answer(snapshot: Snapshot, request: CandidatesRequest) -> object:
    """All that a search tells, without the order."""
    try:
        found = find_candidates(snapshot, request, SearchRules())
    except Refusal as refusal:
        return str(refusal)
    return (
        sorted(map(repr, plain_uuids(found.candidates))),
        {summary.uuid: summary for summary in found.summaries},
    )


@settings(thorough, max_examples=max(CASES // 2, 50))
@given(histories(), requests(), st.data())
def test_following_changes_leads_to_what_building_anew_would(
    history: list[tuple[Forest, set[int]]], request: CandidatesRequest, data: st.DataObject
) -> None:
    snapshot = Snapshot.build(rows_in(history[0][0], range(NUMBERS_MAX)))
    earlier = [(snapshot, answer(snapshot, request))]
    for forest, touched in history[1:]:
        rows = rows_in(forest, sorted(touched))
        snapshot = with_changes(snapshot, map(id_of, touched), rows)
        built = Snapshot.build(rows_in(forest, range(NUMBERS_MAX)))
        check_same(snapshot, built)
        assert answer(snapshot, request) == answer(built, request)
        earlier.append((snapshot, answer(snapshot, request)))
    for before, told in data.draw(st.permutations(earlier)):
        assert answer(before, request) == told, "an older snapshot stays as it was"


def check_same(followed: Snapshot, built: Snapshot) -> None:
    """Check that two snapshots tell the same of every provider."""
    everyone = filter_providers(built, ProviderFilter())
    there = filter_providers(followed, ProviderFilter())
    assert list(map(followed.provider, there)) == list(map(built.provider, everyone))
    for mine, its in zip(there, everyone, strict=True):
        assert followed.traits_of(mine) == built.traits_of(its)
        assert set(followed.aggregates_of(mine)) == set(built.aggregates_of(its))
        assert list(followed.resources_of(mine).items()) == list(built.resources_of(its).items())
        assert followed.positions.get(built.uuids[its]) == mine
    assert sorted(trees(followed)) == sorted(trees(built))


def trees(snapshot: Snapshot) -> list[list[tuple[str, str]]]:
    """Every tree: its members in name order, and the parent of each."""

    def members_of(members: Sequence[int], parents: Sequence[int]) -> list[tuple[str, str]]:
        uuids = [snapshot.uuids[member] for member in members]
        above = ["" if parent < 0 else uuids[parent] for parent in parents]
        return sorted(zip(uuids, above, strict=True))

    return [
        members_of(members, shape.parents)
        for shape in snapshot.shapes
        for members in shape.members.tolist()
    ]


HOST = Node(inventories={"VCPU": Inventory(total=8)}, traits=frozenset({"CUSTOM_A"}))
CHILD = Node(parent=0, inventories={"CUSTOM_VF": Inventory(total=8)})


def changed(snapshot: Snapshot, forest: Forest, *touched: int) -> Snapshot:
    return with_changes(snapshot, map(id_of, touched), rows_in(forest, touched))


def found(snapshot: Snapshot, **resources: int) -> list[str]:
    request = CandidatesRequest((RequestGroup("_1", tuple(resources.items())),))
    answer = find_candidates(snapshot, request, SearchRules())
    return [uuid for candidate in answer.candidates for uuid in candidate.allocations]


def test_a_change_leaves_untouched_blocks_and_columns_as_they_are() -> None:
    before = Snapshot.build(many_rows(2 * BLOCK_SIZE + 5))
    after = with_changes(before, [7], one_row(7))
    assert after.blocks[0] is not before.blocks[0]
    assert after.blocks[1:] == before.blocks[1:]
    assert after.ids is before.ids
    assert after.shapes is before.shapes
    assert after.lending is before.lending


def test_usages_copy_the_columns_of_one_block_and_one_class() -> None:
    before = Snapshot.build(many_rows(BLOCK_SIZE + 5))
    after = before.with_usages([UsageRow(7, 0, 3)], [GenerationRow(7, 9, AT)])
    assert after.blocks[1] is before.blocks[1]
    kept, made = before.blocks[0], after.blocks[0]
    changed = [key for key, stock in kept.stocks.items() if made.stocks[key] is not stock]
    assert changed == [0]
    assert made.stocks[changed[0]].capacities is kept.stocks[changed[0]].capacities
    assert (after.provider(6).generation, before.provider(6).generation) == (9, 1)


def test_newcomers_fill_the_last_block_and_then_begin_another() -> None:
    before = Snapshot.build(many_rows(BLOCK_SIZE - 2))
    new = range(BLOCK_SIZE - 1, 2 * BLOCK_SIZE + 3)
    after = with_changes(before, new, many_rows(new.stop - 1, first=new.start))
    assert [len(block) for block in after.blocks] == [BLOCK_SIZE, BLOCK_SIZE, 2]
    assert len(found(after, VCPU=1)) == 2 * BLOCK_SIZE + 2
    assert len(found(before, VCPU=1)) == BLOCK_SIZE - 2


def test_a_row_id_that_is_given_out_again_is_another_provider() -> None:
    before = snapshot_of([HOST, HOST])
    again = rows_of([HOST, HOST], [1])
    (row,) = again.providers
    other = replace(again, providers=[row._replace(uuid=uuid_of(9), name="another")])
    after = with_changes(before, [id_of(1)], other)
    assert found(after, VCPU=1) == [uuid_of(0), uuid_of(9)]
    assert found(before, VCPU=1) == [uuid_of(0), uuid_of(1)]
    assert after.positions.get(uuid_of(1)) is None


def test_two_snapshots_may_follow_from_one() -> None:
    before = snapshot_of([HOST])
    one = changed(before, {0: HOST, 1: HOST}, 1)
    other = changed(before, {0: HOST, 2: HOST, 3: HOST}, 2, 3)
    assert found(one, VCPU=1) == [uuid_of(0), uuid_of(1)]
    assert found(other, VCPU=1) == [uuid_of(0), uuid_of(2), uuid_of(3)]
    assert found(before, VCPU=1) == [uuid_of(0)]


def test_a_class_that_is_renamed_is_found_by_its_new_name() -> None:
    before = snapshot_of([HOST, CHILD])
    names = {**CLASS_NAMES, 10_001: "CUSTOM_NIC"}
    after = with_changes(before, [], Rows([], [], [], [], [], names, TRAIT_NAMES))
    assert found(after, CUSTOM_NIC=1) == [uuid_of(1)]
    assert found(before, CUSTOM_VF=1) == [uuid_of(1)]
    with pytest.raises(Refusal):
        found(after, CUSTOM_VF=1)


def test_an_inventory_that_changes_gives_out_what_it_could_not_before() -> None:
    small = Node(inventories={"VCPU": Inventory(8, max_unit=4)})
    before = snapshot_of([small, small])
    assert found(before, VCPU=4) == [uuid_of(0), uuid_of(1)]
    assert found(before, VCPU=6) == []
    large = Node(inventories={"VCPU": Inventory(8, min_unit=5, max_unit=8)})
    after = changed(before, {0: small, 1: large}, 1)
    assert found(after, VCPU=4) == [uuid_of(0)]
    assert found(after, VCPU=6) == [uuid_of(1)]
    assert found(before, VCPU=6) == []


def test_a_child_that_comes_or_goes_is_in_the_summaries_or_not() -> None:
    def summarized(snapshot: Snapshot) -> list[str]:
        request = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))
        return [one.uuid for one in find_candidates(snapshot, request, SearchRules()).summaries]

    flat = snapshot_of([HOST])
    assert summarized(flat) == [uuid_of(0)]
    nested = changed(flat, {0: HOST, 1: Node(parent=0)}, 1)
    assert summarized(nested) == [uuid_of(0), uuid_of(1)]
    assert summarized(changed(nested, {0: HOST}, 1)) == [uuid_of(0)]


def test_a_provider_that_begins_to_share_lends_at_once() -> None:
    near = replace(HOST, aggregates=frozenset({AGGREGATES[0]}))
    pool = Node(inventories={"DISK_GB": Inventory(total=8)}, aggregates=frozenset({AGGREGATES[0]}))
    request = CandidatesRequest((RequestGroup("", (("VCPU", 1), ("DISK_GB", 1))),))
    before = snapshot_of([near, pool])
    assert not find_candidates(before, request, SearchRules()).candidates
    after = changed(before, {0: near, 1: replace(pool, traits=frozenset({SHARING_TRAIT}))}, 1)
    assert len(find_candidates(after, request, SearchRules()).candidates) == 1
    gone = changed(after, {0: near}, 1)
    assert not find_candidates(gone, request, SearchRules()).candidates


def test_fragments_are_kept_for_those_who_did_not_change() -> None:
    made: list[int] = []

    def take(snapshot: Snapshot, *positions: int) -> list[bytes]:
        def make(wanted: IndexArray) -> list[bytes]:
            made.extend(wanted.tolist())
            return [b"%d:%d" % (n, snapshot.provider(n).generation) for n in wanted.tolist()]

        return snapshot.fragments.take(snapshot, "form", np.array(positions, dtype=np.int32), make)

    before = snapshot_of([HOST, HOST, HOST])
    take(before, 0, 1, 2)
    after = before.with_usages([UsageRow(id_of(1), 0, 3)], [GenerationRow(id_of(1), 5, AT)])
    made.clear()
    assert take(after, 0, 1, 2) == [b"0:0", b"1:5", b"2:2"]
    assert made == [1]
    assert take(before, 1) == [b"1:1"], "an older snapshot is told of its own moment"
    moved = changed(after, {0: HOST, 1: HOST, 2: replace(HOST, parent=0)}, 2)
    made.clear()
    take(moved, 0, 2)
    assert made == [2]


def test_fragments_come_in_the_order_asked_whatever_blocks_they_are_of() -> None:
    snapshot = Snapshot.build(many_rows(2 * BLOCK_SIZE + 5))
    made: list[int] = []

    def make(wanted: IndexArray) -> list[bytes]:
        made.extend(wanted.tolist())
        return [b"%d" % position for position in wanted.tolist()]

    def take(*positions: int) -> list[int]:
        asked = np.array(positions, dtype=np.int32)
        return [int(text) for text in snapshot.fragments.take(snapshot, "form", asked, make)]

    near, far, last = 3, BLOCK_SIZE + 3, 2 * BLOCK_SIZE + 3
    assert take() == []
    assert take(far) == [far]
    assert take(last, near, far, near + 1) == [last, near, far, near + 1]
    assert sorted(made) == [near, near + 1, far, last]


def test_fragments_that_are_made_at_the_same_time_are_each_of_their_own_moment() -> None:
    before = snapshot_of([HOST])
    after = before.with_usages([], [GenerationRow(id_of(0), 5, AT)])
    first = np.zeros(1, dtype=np.int32)

    def take(snapshot: Snapshot, meanwhile: Snapshot | None = None) -> list[bytes]:
        def make(_: IndexArray) -> list[bytes]:
            if meanwhile is not None:
                take(meanwhile)
            return [b"%d" % snapshot.provider(0).generation]

        return snapshot.fragments.take(snapshot, "form", first, make)

    assert take(before, meanwhile=after) == [b"0"]
    assert (take(after), take(before), take(after)) == ([b"5"], [b"0"], [b"5"])


def test_fragments_are_forgotten_before_they_take_up_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fragments, "FRAGMENT_BYTES_MAX", 3 * (100 + fragments.ENTRY_BYTES))
    snapshot = snapshot_of([HOST] * 8)
    made: list[int] = []

    def take(position: int) -> list[bytes]:
        def make(wanted: IndexArray) -> list[bytes]:
            made.extend(wanted.tolist())
            return [bytes(100) for _ in wanted.tolist()]

        return snapshot.fragments.take(snapshot, "form", np.array([position], dtype=np.int32), make)

    for position in (0, 1, 2, 0, 1, 2):
        take(position)
    assert made == [0, 1, 2], "as many as there is room for are kept"
    take(3)
    take(3)
    take(0)
    assert made == [0, 1, 2, 3, 0], "for one more all are forgotten"


def test_parents_that_go_in_a_circle_are_roots_each() -> None:
    rows = rows_of([HOST, replace(CHILD, parent=0)])
    looped = [
        row._replace(parent_id=id_of(1 - at)) for at, row in enumerate(sorted(rows.providers))
    ]
    snapshot = Snapshot.build(replace(rows, providers=looped))
    assert snapshot.roots.tolist() == [0, 1]


@given(st.integers(0, 2**32))
def test_a_lookup_with_many_changes_is_a_dict(seed: int) -> None:
    source = random.Random(seed)
    known: dict[int, int] = {number: number for number in range(50)}
    index: Index[int] = Index(dict(known))
    for _ in range(5):
        added = {source.randrange(5_000): source.randrange(99) for _ in range(RECENT_MAX // 3)}
        gone = source.sample(sorted(known), k=min(20, len(known)))
        index = index.with_changes(added, gone)
        known = {key: value for key, value in known.items() if key not in gone} | added
        assert all(index.get(key) == known.get(key) for key in range(5_000))


def many_rows(last: int, *, first: int = 1) -> Rows:
    """Flat hosts with the row ids from ``first`` to ``last``."""
    rows = rows_of([HOST])
    (host,) = rows.providers
    return replace(
        rows,
        providers=[
            ProviderRow(key, f"uuid-{key}", f"host-{key}", 1, None, host.modified_at)
            for key in range(first, last + 1)
        ],
        inventories=[
            row._replace(provider_id=key, class_id=class_id)
            for row in rows.inventories
            for key in range(first, last + 1)
            for class_id in (0, 2)
        ],
        traits=[],
    )


def one_row(key: int) -> Rows:
    """The host with this row id."""
    return many_rows(key, first=key)


def test_members_of_an_aggregate_that_is_new_are_found() -> None:
    before = snapshot_of([HOST])
    new = AggregateUuid("b0000000-0000-0000-0000-000000000001")
    after = changed(before, {0: replace(HOST, aggregates=frozenset({new}))}, 0)
    wanted = ProviderFilter(member_of=(frozenset({new}),))
    assert filter_providers(after, wanted) == [0]
    assert filter_providers(before, wanted) == []
