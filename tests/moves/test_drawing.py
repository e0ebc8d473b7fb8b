"""The documentation shows the states that the code has."""

from pathlib import Path

from moorage.domain.move import ORDERED, THROUGH_ALLOCATIONS, Guard, MoveEvent, MoveState
from tests.moves.drawing import draw

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "moves.md"


def test_the_drawings_of_the_states_are_those_of_the_table() -> None:
    page = PAGE.read_text()
    assert draw(THROUGH_ALLOCATIONS) in page
    assert draw(ORDERED) in page


def test_every_state_event_and_guard_is_told() -> None:
    page = PAGE.read_text()
    for word in (*MoveState, *MoveEvent, *Guard):
        assert f"| `{word.value}` |" in page
