"""Slots that are alike are served in every way that there is, each once."""

from collections import Counter
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.candidates.arrangements import Rooms, arrangements, combined
from tests.candidates.strategies import thorough


def tried_one_by_one(rooms: Rooms, count: int) -> list[tuple[int, ...]]:
    """All ways to choose a provider for each slot, without those that overfill one."""
    room_of = dict(rooms)
    return [
        chosen
        for chosen in product(room_of, repeat=count)
        if all(served <= room_of[provider] for provider, served in Counter(chosen).items())
    ]


@thorough
@given(
    rooms=st.lists(st.integers(1, 5), max_size=4).map(lambda rooms: list(enumerate(rooms, 10))),
    count=st.integers(1, 5),
)
def test_every_arrangement_is_found_once_and_in_order(rooms: Rooms, count: int) -> None:
    assert list(arrangements(rooms, count)) == tried_one_by_one(rooms, count)


@thorough
@given(
    runs=st.lists(
        st.tuples(st.lists(st.integers(1, 4), max_size=4), st.integers(1, 4)),
        min_size=1,
        max_size=3,
    )
)
def test_runs_are_combined_in_every_way_once_and_in_order(
    runs: list[tuple[list[int], int]],
) -> None:
    apart = [
        (list(enumerate(rooms, 10 * number)), count) for number, (rooms, count) in enumerate(runs)
    ]
    expected = product(*(tried_one_by_one(rooms, count) for rooms, count in apart))
    some = islice(expected, 3_000)
    assert list(islice(combined(apart), 3_000)) == [sum(parts, ()) for parts in some]


def test_a_run_that_cannot_be_served_is_seen_before_others_are() -> None:
    endless = [(provider, 1) for provider in range(32)]
    impossible = [(provider, 1) for provider in range(32, 40)]
    runs = [(endless, 32), (impossible, 9)]
    assert not list(combined(runs))
    assert not list(combined(runs[::-1]))


@pytest.mark.parametrize("room", [1, 2, 32])
def test_the_first_of_very_many_come_at_once(room: int) -> None:
    rooms = [(provider, room) for provider in range(32)]
    found = list(islice(arrangements(rooms, 32), 1_000))
    assert len(set(found)) == 1_000
    assert found == sorted(found)
    assert max(max(Counter(chosen).values()) for chosen in found) <= room


def test_there_is_none_where_there_is_too_little_room() -> None:
    assert not list(arrangements([(0, 3), (1, 2)], 6))
