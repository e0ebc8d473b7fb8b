"""Why nothing serves a request, in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What one constraint does to the roots that all constraints before it have left.

    ``group``: the suffix of the group that it is about, None: the request as a whole.
    ``asked``: what the constraint wants, in the words of the query.
    """

    constraint: str
    group: str | None
    asked: str
    eliminated: int
    left: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """All roots there are, and the constraints in the order in which they were applied."""

    roots: int
    steps: tuple[Step, ...]

    @property
    def left(self) -> int:
        """The roots around which there is a candidate."""
        return self.steps[-1].left if self.steps else self.roots
