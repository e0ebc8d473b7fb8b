"""The drawings of the states of moves in docs/reference/moves.md, made from the table.

``python -m tests.moves.drawing`` prints them.
"""

from collections.abc import Iterator, Sequence

from moorage.domain.move import ORDERED, THROUGH_ALLOCATIONS, MoveState, Transition


def draw(steps: Sequence[Transition]) -> str:
    """A part of the table as a state diagram that Mermaid draws."""
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines(steps), "```"])


def lines(steps: Sequence[Transition]) -> Iterator[str]:
    for step in steps:
        before = "[*]" if step.before is None else step.before.value
        guard = "" if step.guard is None else f" [{step.guard.value}]"
        yield f"    {before} --> {step.after.value}: {step.event.value}{guard}"
    reached = {step.after for step in steps}
    for state in MoveState:
        if state in reached and not state.is_open:
            yield f"    {state.value} --> [*]"


if __name__ == "__main__":
    print(draw(THROUGH_ALLOCATIONS), draw(ORDERED), sep="\n\n")
