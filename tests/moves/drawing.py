"""The drawing of the states of moves in docs/reference/moves.md, made from the table.

``python -m tests.moves.drawing`` prints it.
"""

from collections.abc import Iterator

from moorage.domain.move import TRANSITIONS, MoveState


def draw() -> str:
    """The table as a state diagram that Mermaid draws."""
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines(), "```"])


def lines() -> Iterator[str]:
    for step in TRANSITIONS:
        before = "[*]" if step.before is None else step.before.value
        yield f"    {before} --> {step.after.value}: {step.event.value}"
    for state in MoveState:
        if not state.is_open:
            yield f"    {state.value} --> [*]"


if __name__ == "__main__":
    print(draw())
