"""One process of all works by the clock; if it dies, another goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from moorage.operations.services import Services
from moorage.serve import load_app
from moorage.settings import load_settings
from moorage.store.leaders import read_leader
from moorage.store.store import Store
from moorage.telemetry.metrics import render_metrics
from moorage.workers.leadership import (
    RUNNER,
    SILENCE_S_MAX,
    Leadership,
    died_here,
    own_identity,
)
from moorage.workers.runner import SILENT_S, STEPS, Runner, Step
from tests.claims.cloud import CLAIMS, claim_body
from tests.frame.conftest import Lines
from tests.support.client import Answer
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject
from tests.support.servers import Server, serve
from tests.support.world import World, new_uuid


class Clock:
    """Seconds that pass when told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def part_of(services: Services, name: str, clock: Clock, dead: str = "") -> Leadership:
    return Leadership(
        services.store,
        RUNNER,
        holder=lambda: name,
        is_dead=lambda holder: holder == dead,
        clock_s=clock,
    )


def test_the_first_to_come_leads_and_the_others_wait(services: Services, clock: Clock) -> None:
    first, second = part_of(services, "first", clock), part_of(services, "second", clock)
    assert first.take_part()
    for _ in range(10):
        clock.now_s += SILENCE_S_MAX / 2
        assert not second.take_part()
        assert first.take_part()


def test_a_silent_leader_is_replaced_and_finds_that_out(services: Services, clock: Clock) -> None:
    first, second = part_of(services, "first", clock), part_of(services, "second", clock)
    assert first.take_part()
    assert not second.take_part()
    clock.now_s += SILENCE_S_MAX - 0.1
    assert not second.take_part()
    clock.now_s += 0.1
    assert second.take_part()
    assert not first.take_part()
    assert second.take_part()


def test_of_two_that_see_a_silent_leader_one_takes_over(services: Services, clock: Clock) -> None:
    first = part_of(services, "first", clock)
    others = [part_of(services, name, clock) for name in ("second", "third")]
    assert first.take_part()
    assert not any(other.take_part() for other in others)
    clock.now_s += SILENCE_S_MAX
    assert [other.take_part() for other in others] == [True, False]


def test_a_leader_that_is_known_to_be_dead_is_replaced_at_once(
    services: Services, clock: Clock
) -> None:
    assert part_of(services, "first", clock).take_part()
    assert part_of(services, "second", clock, dead="first").take_part()


def test_who_resigns_need_not_be_waited_for(services: Services, clock: Clock) -> None:
    first, second = part_of(services, "first", clock), part_of(services, "second", clock)
    assert first.take_part()
    second.resign()
    assert not second.take_part()
    first.resign()
    assert second.take_part()


def test_a_process_of_this_machine_is_known_by_its_beginning(tmp_path: Path) -> None:
    assert not died_here(own_identity())
    place, pid, began = own_identity().split("-")
    assert int(pid) == os.getpid()
    assert died_here(f"{place}-{pid}-{int(began) - 1}")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    facts = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    holder = f"{place}-{child.pid}-{facts[19]}"
    assert not died_here(holder)
    child.kill()
    child.wait()
    child.communicate()
    assert died_here(holder)
    assert not died_here(f"{'0' * 16}-{child.pid}-{facts[19]}")
    assert not died_here("somebody")


# Turns


def runner_of(services: Services, *steps: Step, clock: Clock | None = None) -> Runner:
    return Runner(
        services,
        part_of(services, "me", clock or Clock()),
        steps=steps,
        clock_s=clock or Clock(),
    )


def test_only_the_leader_works(services: Services, clock: Clock) -> None:
    done: list[str] = []

    def work(name: str) -> Step:
        return Step("work", lambda *_: done.append(name) or 0)

    first = Runner(services, part_of(services, "first", clock), steps=[work("first")])
    second = Runner(services, part_of(services, "second", clock), steps=[work("second")])
    assert [first.turn(), second.turn(), first.turn()] == [True, False, True]
    assert done == ["first", "first"]


def test_a_step_is_run_until_there_is_no_more_of_it(services: Services) -> None:
    left = [3, 2, 1, 0]
    runner_of(services, Step("work", lambda *_: left.pop(0))).turn()
    assert left == []


def test_who_loses_the_lead_in_the_middle_of_much_work_stops(
    services: Services, clock: Clock
) -> None:
    thief = part_of(services, "thief", clock, dead="me")
    worked: list[int] = []

    def work(*_: object) -> int:
        worked.append(1)
        assert len(worked) < 3
        if len(worked) == 2:
            assert thief.take_part()
        return 1

    assert not runner_of(services, Step("work", work)).turn()
    assert len(worked) == 2


def fail(*_: object) -> int:
    raise ZeroDivisionError("a secret: hunter2")


def test_a_step_that_fails_is_an_alert_and_no_hindrance(
    services: Services, clock: Clock, lines: Lines
) -> None:
    done: list[int] = []
    runner = runner_of(
        services,
        Step("broken", fail),
        Step("sound", lambda *_: done.append(1) or 0),
        clock=clock,
    )
    for _ in range(3):
        assert runner.turn()
    assert len(done) == 3
    told = [line for line in lines() if line["event"] == "alert"]
    assert len(told) == 1, "the same trouble is not told every second"
    assert told[0]["level"] == "error"
    assert told[0]["alert"] == "a step of the runner failed"
    assert (told[0]["step"], told[0]["error"]) == ("broken", "builtins.ZeroDivisionError")
    assert "hunter2" not in str(told)
    clock.now_s += SILENT_S
    runner.turn()
    assert len([line for line in lines() if line["event"] == "alert"]) == 2
    page = render_metrics().decode()
    assert 'moorage_alerts_total{alert="a step of the runner failed"}' in page
    assert 'moorage_runner_steps_total{outcome="failed",step="broken"}' in page


def test_a_database_that_is_away_is_an_alert_and_the_runner_goes_on(
    services: Services, lines: Lines
) -> None:
    runner = runner_of(services)
    assert runner.turn()
    good = services.store.reader
    broken = Store.open("sqlite:////nonexistent/books.db")
    services.store.reader = broken.reader
    assert not runner.turn()
    services.store.reader = good
    assert runner.turn()
    told = [line["event"] for line in lines()]
    assert told == ["the runner leads", "alert", "the runner leads no more", "the runner leads"]


def test_the_thread_takes_turns_until_it_is_stopped(services: Services) -> None:
    turns: list[int] = []
    step = Step("count", lambda *_: turns.append(1) or 0)
    leadership = part_of(services, "me", Clock())
    runner = Runner(services, leadership, steps=[step], pause_s=0.001)
    runner.start()
    wait_for(lambda: len(turns) >= 3, "turns")
    runner.stop()
    count = len(turns)
    assert read_leader(services.store, RUNNER) is None
    assert len(turns) == count


def test_leases_are_among_the_steps() -> None:
    assert "expire_leases" in {step.name for step in STEPS}


# Real processes


def wait_for(happens: Callable[[], bool], what: str) -> None:
    """Wait for something that must happen sooner or later."""
    deadline = time.monotonic() + 180
    while not happens():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


def leader_pid(store: Store) -> int | None:
    leader = read_leader(store, RUNNER)
    return None if leader is None else int(leader.holder.split("-")[1])


def ask(server: Server, method: str, path: str, body: Any = None) -> Answer | None:
    """None where the connection was one to a process that is dying."""
    try:
        return server.client().send(method, path, body=body)
    except ConnectionError:
        return None


def claim_for_a_second(server: Server) -> str:
    consumer = new_uuid()
    body = claim_body("resources=VCPU:1", [consumer], expires_in_s=1)
    answers: list[Answer] = []

    def is_answered() -> bool:
        # A process that was killed may still take connections; a claim may be sent again.
        answer = ask(server, "POST", CLAIMS, body)
        answers.extend([] if answer is None else [answer])
        return bool(answers)

    wait_for(is_answered, "an answer")
    assert answers[0].status == 200, answers[0]
    return consumer


def is_freed(server: Server, consumer: str) -> bool:
    answer = ask(server, "GET", f"{CLAIMS}/{consumer}")
    return answer is not None and answer.status == 404


def test_a_served_process_that_is_killed_is_followed_by_another(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    url = fresh_database(database_kind)
    store = Store.open(url)
    with serve(Subject.MOORAGE, Deployment(tmp_path / "conf", url), workers=2) as server:
        client = server.client("1.39")
        world = World(client)
        world.inventory(world.provider("host"), "VCPU", 8)
        first = claim_for_a_second(server)
        wait_for(lambda: is_freed(server, first), "the first lease's end")
        killed = leader_pid(store)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: leader_pid(store) not in (None, killed), "another leader")
        second = claim_for_a_second(server)
        wait_for(lambda: is_freed(server, second), "the second lease's end")
        expired = text("SELECT subject FROM moorage_journal WHERE kind = 'lease.expired'")
        assert sorted(row.subject for row in store.read(expired)) == sorted([first, second])
    store.close()


def test_a_site_may_do_without_the_runner(
    fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    options = {"moorage": {"runner": False}}
    deployment = Deployment(tmp_path / "conf", fresh_database(DatabaseKind.SQLITE), options)
    configuration = load_settings(config_files=[str(deployment.write(Subject.MOORAGE))])
    assert load_settings(config_files=()).settings.runner_enabled
    load_app(configuration, with_runner=True)
    assert "runner" not in {thread.name for thread in threading.enumerate()}
