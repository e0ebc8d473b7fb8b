"""``moorage moves list`` and ``moorage moves show`` as an operator runs them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from moorage.cli.main import app
from moorage.cli.moves import ABSENT
from moorage.domain.move import MoveEvent, MoveKind
from moorage.operations.services import Services
from tests.moves.fleet import Fleet
from tests.support.books import new_uuid, open_services

Run = Callable[..., Result]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    found = open_services(f"sqlite:///{tmp_path}/books.db")
    yield found
    found.store.close()


@pytest.fixture
def fleet(services: Services) -> Fleet:
    return Fleet.build(services)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    environment = {
        "OS_PLACEMENT_DATABASE__CONNECTION": f"sqlite:///{tmp_path}/books.db",
        "OS_PLACEMENT_CONFIG_DIR": str(tmp_path),
        "COLUMNS": "200",
    }
    (tmp_path / "placement.conf").write_text("")
    return lambda *words: CliRunner().invoke(app, ["moves", *words], env=environment)


def uuids(listed: Result) -> list[str]:
    assert listed.exit_code == 0, listed.output
    return [move["uuid"] for move in json.loads(listed.output)["moves"]]


def test_moves_are_listed_by_what_they_are(fleet: Fleet, run: Run) -> None:
    assert uuids(run("list", "--json")) == []
    still = fleet.open(fleet.order(fleet.boot()))
    resized = fleet.open(fleet.order(fleet.boot(1), kind=MoveKind.RESIZE, VCPU=3, DISK_GB=20))
    fleet.step(resized, MoveEvent.REVERT)
    assert uuids(run("list", "--json")) == [still.move.uuid, resized.move.uuid]
    assert uuids(run("list", "--json", "--open")) == [still.move.uuid]
    assert uuids(run("list", "--json", "--over")) == [resized.move.uuid]
    both = [still.move.uuid, resized.move.uuid]
    assert uuids(run("list", "--json", "--project", "project")) == both
    assert uuids(run("list", "--json", "--project", "another")) == []
    assert uuids(run("list", "--json", "--kind", "resize")) == [resized.move.uuid]
    assert uuids(run("list", "--json", "--state", "claimed")) == [still.move.uuid]
    consumer = resized.move.consumer
    assert uuids(run("list", "--json", "--consumer", consumer)) == [resized.move.uuid]
    first = run("list", "--limit", "1")
    assert f"--marker {still.move.uuid}" in first.output
    assert uuids(run("list", "--json", "--marker", still.move.uuid)) == [resized.move.uuid]


def test_uuids_are_whole_on_a_narrow_screen(fleet: Fleet, tmp_path: Path) -> None:
    made = fleet.open(fleet.order(fleet.boot(), kind=MoveKind.LIVE_MIGRATE, deadline_s=60))
    environment = {
        "OS_PLACEMENT_DATABASE__CONNECTION": f"sqlite:///{tmp_path}/books.db",
        "COLUMNS": "80",
    }
    listed = CliRunner().invoke(app, ["moves", "list"], env=environment)
    assert made.move.uuid in listed.output
    assert made.move.consumer in listed.output
    assert "live-migrate" in listed.output


def test_a_move_past_its_deadline_is_marked(fleet: Fleet, services: Services, run: Run) -> None:
    made = fleet.open(fleet.order(fleet.boot(), deadline_s=3_600))
    assert "overdue" not in run("list").output
    past = replace(made.move, deadline=datetime(2026, 1, 1))  # noqa: DTZ001 - naive UTC
    with services.store.writer.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE moorage_moves SET deadline = '{past.deadline}' WHERE uuid = '{past.uuid}'"
        )
    assert "2026-01-01 00:00:00 overdue" in run("list").output


def test_a_move_is_shown_with_all_that_is_known(fleet: Fleet, run: Run) -> None:
    made = fleet.open(fleet.order(fleet.boot()))
    shown = run("show", made.move.uuid)
    assert shown.exit_code == 0
    lines = dict(line.split(": ", 1) for line in shown.output.splitlines())
    assert (lines["state"], lines["consumer"]) == ("claimed", made.move.consumer)
    assert fleet.hosts[0] in lines["source"]
    told = json.loads(run("show", made.move.uuid, "--json").output)["move"]
    assert told["generation"] == 1
    assert told["destination"]["allocations"]


@pytest.mark.parametrize("words", [("show",), ("list", "--marker")])
def test_a_move_that_is_not_there_is_named(fleet: Fleet, run: Run, words: tuple[str, ...]) -> None:
    absent = new_uuid()
    refused = run(*words, absent)
    assert refused.exit_code == ABSENT
    assert f"there is no move {absent}" in refused.output
