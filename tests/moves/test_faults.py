"""A request that breaks at any of its writes leaves nothing behind, and may be sent again."""

from pathlib import Path

import pytest

from moorage.operations.release import release
from moorage.operations.services import Services
from tests.moves.breaking import TABLES, break_everywhere, breaking, everything
from tests.moves.cloud import Cloud
from tests.support.books import find_faults, new_uuid, open_services, origin


class Story:
    """A move in its steps, each of which a client may send again."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.cloud = Cloud.build(services, disk=50)
        self.instance, self.migration = new_uuid(), new_uuid()
        self.cloud.put(self.instance, self.cloud.on(self.cloud.host_1, disk=20))

    def swap(self) -> None:
        self.cloud.give(self.instance, self.migration)

    def claim(self) -> None:
        self.cloud.put(self.instance, self.cloud.on(self.cloud.host_2, disk=50))

    def confirm(self) -> None:
        release(self.services, consumer=self.migration, origin=origin())

    def confirm_by_put(self) -> None:
        self.cloud.put(self.migration, {})

    def give_back(self) -> None:
        self.cloud.give(self.migration, self.instance)

    def delete(self) -> None:
        release(self.services, consumer=self.instance, origin=origin())

    def swap_again(self) -> None:
        self.cloud.give(self.instance, new_uuid())


STORIES = {
    "confirmed": ("swap", "claim", "confirm"),
    "confirmed by PUT": ("swap", "claim", "confirm_by_put"),
    "reverted": ("swap", "claim", "give_back"),
    "reverted before it was claimed": ("swap", "give_back"),
    "rescheduled": ("swap", "claim", "give_back", "swap", "claim", "confirm"),
    "deleted": ("swap", "claim", "delete", "confirm"),
    "moved anew": ("swap", "claim", "swap_again"),
}


@pytest.mark.parametrize("name", STORIES)
def test_a_step_that_breaks_anywhere_has_not_happened_and_can_be_repeated(
    name: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(services)
    for step in STORIES[name]:
        before = everything(services)
        points = break_everywhere(services, getattr(story, step), monkeypatch, before)
        assert points > 5
        assert everything(services) != before
        assert find_faults(services) == []
    assert story.cloud.moves()


def test_the_story_of_a_whole_move_touches_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the breaking points would not be where they matter."""
    services = open_services(f"sqlite:///{tmp_path}/books.db")
    story = Story(services)
    with breaking(monkeypatch, 10_000) as sent:
        for step in ("swap", "claim", "confirm"):
            getattr(story, step)()
    written = [sql for sql in sent if not sql.lstrip().startswith("SELECT")]
    for name in TABLES:
        assert any(name in sql for sql in written), name
    services.store.close()
