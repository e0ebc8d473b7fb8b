"""A step of an ordered move that breaks at one of its writes has not happened; it is sent again."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from moorage.domain.move import MoveEvent, MoveKind
from moorage.domain.refusals import Refusal
from moorage.operations.open_move import MoveMade
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_move import show_move
from moorage.operations.watch_moves import clean_up_moves, end_overdue_moves
from tests.moves.breaking import break_everywhere, everything
from tests.moves.fleet import Fleet
from tests.support.books import claim_for, find_faults, hold, new_uuid, origin


@dataclass(frozen=True)
class Shape:
    """A kind of move; ``stays``: its first destination is around the source's own host."""

    kind: MoveKind
    wants: dict[str, int] = field(default_factory=dict)
    stays: bool = False

    @property
    def places(self) -> int:
        """How many of three hosts it may go to."""
        return 3 if self.stays or not self.kind.has_source else 2


SHAPES = {
    "migrate": Shape(MoveKind.MIGRATE),
    "live-migrate": Shape(MoveKind.LIVE_MIGRATE),
    "evacuate": Shape(MoveKind.EVACUATE),
    "resize": Shape(MoveKind.RESIZE, {"VCPU": 3, "DISK_GB": 40}),
    "resize on its host": Shape(MoveKind.RESIZE, {"VCPU": 3, "DISK_GB": 40}, stays=True),
    "unshelve": Shape(MoveKind.UNSHELVE, {"VCPU": 2, "DISK_GB": 20}),
}


class Story:
    """A move in its steps; a client sends each from what it has seen of the move."""

    def __init__(self, services: Services, shape: Shape) -> None:
        self.services = services
        self.shape = shape
        self.fleet = Fleet.build(services, disk=60)
        self.taker = new_uuid()
        self.instance = self.fleet.boot() if shape.kind.has_source else new_uuid()
        if shape.kind is MoveKind.RESIZE and not shape.stays:
            self.fleet.boot(0, cpus=6, disk=0)
        self.order = self.fleet.order(
            self.instance, kind=shape.kind, alternates=1, deadline_s=60, **shape.wants
        )

    def seen(self) -> MoveMade:
        return MoveMade(show_move(self.services, self.order.uuid), repeated=False)

    def act(self, name: str) -> Callable[[], object]:
        """One step, from the move as it is now; it may be repeated."""
        services, fleet = self.services, self.fleet
        others: dict[str, Callable[[], object]] = {
            "open": lambda: fleet.open(self.order),
            "delete": lambda: release(services, consumer=self.instance, origin=origin()),
            "clean up": lambda: clean_up_moves(services, origin()),
            "overdue": lambda: end_overdue_moves(services, fleet.origin(after_s=120)),
        }
        if name in others:
            return others[name]
        if name == "swap":
            return self._swap()
        seen = self.seen()
        if name == "reschedule":
            return lambda: fleet.reschedule(seen)
        return lambda: fleet.step(seen, MoveEvent(name))

    def _swap(self) -> Callable[[], None]:
        found = show_allocations(self.services, self.instance)
        assert found is not None
        gives = claim_for(self.instance, {}, generation=found.generation)
        takes = claim_for(self.taker, self.fleet.held_by(self.instance))
        return lambda: hold(self.services, gives, takes)


@dataclass(frozen=True)
class Plot:
    """What happens, and the state that it leads to; ``sourced``: only to who does or does not come
    from somewhere.

    Where it fails the last step is made as often as there are places to go to.
    """

    steps: tuple[str, ...]
    end: str
    sourced: bool | None = None

    def steps_of(self, shape: Shape) -> Sequence[str]:
        return (*self.steps, *self.steps[-1:] * (shape.places - 1 if self.end == "failed" else 0))


PLOTS = {
    "confirmed": Plot(("open", "start", "confirm"), "confirmed"),
    "reverted": Plot(("open", "revert"), "reverted"),
    "reverted after its start": Plot(("open", "start", "revert"), "reverted"),
    "rescheduled": Plot(
        ("open", "start", "reschedule", "reschedule", "start", "confirm"), "confirmed"
    ),
    "rescheduled and reverted": Plot(("open", "reschedule", "revert"), "reverted"),
    "failed": Plot(("open", "start", "reschedule"), "failed"),
    "overdue": Plot(("open", "overdue"), "reverted"),
    "overdue after its start": Plot(("open", "start", "overdue", "confirm"), "confirmed"),
    "deleted": Plot(("open", "start", "delete", "clean up"), "abandoned", sourced=True),
    "deleted while unshelved": Plot(("open", "start", "delete"), "reverted", sourced=False),
    "moved anew": Plot(("open", "start", "swap"), "abandoned"),
}


@pytest.mark.parametrize(
    ("shape", "plot"),
    [
        pytest.param(shape, plot, id=f"{shape}-{plot}")
        for shape, one in SHAPES.items()
        for plot, told in PLOTS.items()
        if told.sourced in (None, one.kind.has_source)
    ],
)
def test_a_step_that_breaks_anywhere_has_not_happened_and_can_be_repeated(
    shape: str, plot: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(services, SHAPES[shape])
    if plot == "rescheduled":
        # So that there is a further place after the alternate, for those that stay and that leave.
        story.fleet.hosts += [story.fleet.add(cpus=8) for _ in range(2)]
    play(story, PLOTS[plot].steps_of(story.shape), monkeypatch)
    assert story.seen().move.state.value == PLOTS[plot].end
    assert story.fleet.held_by(story.order.uuid) == {}, "nothing is left of the hold"


def play(story: Story, steps: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Break each step everywhere, let it pass, and send it again: at once, and after all others."""
    services = story.services
    sent: list[Callable[[], object]] = []
    for name in steps:
        before = everything(services)
        step = story.act(name)
        points = break_everywhere(services, step, monkeypatch, before)
        assert points > 3
        if name == "open" and story.shape.kind is MoveKind.RESIZE:
            at_home = story.fleet.hosts[0] in story.fleet.held_by(story.instance)
            assert at_home == story.shape.stays
        after = everything(services)
        assert after != before
        assert find_faults(services) == []
        sent.append(step)
        repeat(step)
        assert everything(services) == after, f"{name} has happened twice"
    over = everything(services)
    for name, step in zip(steps, sent, strict=True):
        repeat(step)
        assert everything(services) == over, f"{name} has happened once more, after the end"


def repeat(step: Callable[[], object]) -> None:
    """Send a step again: it is told what has happened, or refused."""
    with contextlib.suppress(Refusal):
        step()
