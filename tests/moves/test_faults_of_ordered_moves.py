"""A step of an ordered move that breaks at one of its writes has not happened; it is sent again."""

from collections.abc import Callable

import pytest

from moorage.domain.move import MoveEvent, MoveKind
from moorage.operations.open_move import MoveMade
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_move import show_move
from moorage.operations.watch_moves import clean_up_moves, end_overdue_moves
from tests.moves.breaking import break_everywhere, everything
from tests.moves.fleet import Fleet
from tests.support.books import find_faults, new_uuid, origin

ORDERS = {
    MoveKind.MIGRATE: {},
    MoveKind.LIVE_MIGRATE: {},
    MoveKind.EVACUATE: {},
    MoveKind.RESIZE: {"VCPU": 3, "DISK_GB": 40},
    MoveKind.UNSHELVE: {"VCPU": 2, "DISK_GB": 20},
}


class Story:
    """A move in its steps; a client sends each from what it has seen of the move."""

    def __init__(self, services: Services, kind: MoveKind) -> None:
        self.services = services
        self.fleet = Fleet.build(services, disk=60)
        self.instance = self.fleet.boot() if kind.has_source else new_uuid()
        self.order = self.fleet.order(
            self.instance, kind=kind, alternates=1, deadline_s=60, **ORDERS[kind]
        )

    def seen(self) -> MoveMade:
        return MoveMade(show_move(self.services, self.order.uuid), repeated=False)

    def act(self, name: str) -> Callable[[], object]:
        """One step, from the move as it is now; it may be repeated."""
        if name == "open":
            return lambda: self.fleet.open(self.order)
        if name == "delete":
            return lambda: release(self.services, consumer=self.instance, origin=origin())
        if name == "clean up":
            return lambda: clean_up_moves(self.services, origin())
        if name == "overdue":
            return lambda: end_overdue_moves(self.services, self.fleet.origin(after_s=120))
        seen = self.seen()
        if name == "reschedule":
            return lambda: self.fleet.reschedule(seen)
        return lambda: self.fleet.step(seen, MoveEvent(name))


STORIES = {
    "confirmed": ("open", "start", "confirm"),
    "reverted": ("open", "revert"),
    "reverted after its start": ("open", "start", "revert"),
    "rescheduled": ("open", "start", "reschedule", "reschedule", "start", "confirm"),
    "overdue": ("open", "overdue"),
    "overdue after its start": ("open", "start", "overdue", "confirm"),
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("kind", ORDERS, ids=str)
def test_a_step_that_breaks_anywhere_has_not_happened_and_can_be_repeated(
    kind: MoveKind, name: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(services, kind)
    if name == "rescheduled":
        # So that there is a further place after the alternate, for those that stay and that leave.
        story.fleet.hosts += [story.fleet.add(cpus=8) for _ in range(2)]
    play(story, STORIES[name], monkeypatch)


def test_a_move_that_fails_breaks_as_little(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(services, MoveKind.MIGRATE)
    play(story, ("open", "reschedule", "start", "reschedule"), monkeypatch)
    assert story.seen().move.state.value == "failed"


def test_the_move_of_a_deleted_consumer_breaks_as_little(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(services, MoveKind.MIGRATE)
    play(story, ("open", "start", "delete", "clean up"), monkeypatch)
    assert story.fleet.held_by(story.order.uuid) == {}


def play(story: Story, steps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Break each step everywhere, then let it pass, and send it again."""
    services = story.services
    for name in steps:
        before = everything(services)
        step = story.act(name)
        points = break_everywhere(services, step, monkeypatch, before)
        assert points > 3
        after = everything(services)
        assert after != before
        assert find_faults(services) == []
        if name != "delete":
            step()
            assert everything(services) == after, f"{name} has happened twice"
