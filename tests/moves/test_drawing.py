"""The documentation shows the states that the code has."""

from pathlib import Path

from moorage.domain.move import MoveEvent, MoveState
from tests.moves.drawing import draw

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "moves.md"


def test_the_drawing_of_the_states_is_that_of_the_table() -> None:
    assert draw() in PAGE.read_text()


def test_every_state_and_event_is_told() -> None:
    page = PAGE.read_text()
    for word in (*MoveState, *MoveEvent):
        assert f"| `{word.value}` |" in page
