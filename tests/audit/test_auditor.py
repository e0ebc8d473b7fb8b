"""The audit by the clock: when it looks, what it counts, when it alerts. It heals nothing."""

import threading

import pytest
from prometheus_client import REGISTRY

from moorage.operations.audit import AuditReport, audit
from moorage.operations.services import Services
from moorage.workers import auditor as auditing
from moorage.workers.auditor import FIRST_S, Auditor
from tests.audit.cloud import Cloud
from tests.audit.faults import over_capacity, total_too_high
from tests.support.books import origin


@pytest.fixture
def cloud(sqlite_cloud: Cloud) -> Cloud:
    return sqlite_cloud


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    told: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(
        auditing, "alert", lambda event, _error=None, **facts: told.append((event, facts))
    )
    return told


class Clock:
    """Seconds that pass when told to."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def count_of(kind: str, confidence: str) -> float | None:
    labels = {"kind": kind, "confidence": confidence}
    return REGISTRY.get_sample_value("moorage_audit_findings", labels)


def turn(auditor: Auditor, cloud: Cloud) -> None:
    assert auditor.run(cloud.services, origin()) == 0
    auditor.wait()


def test_what_is_found_is_counted_and_alerted_and_not_healed(
    cloud: Cloud, alerts: list[tuple[str, dict[str, object]]]
) -> None:
    total_too_high(cloud)
    over_capacity(cloud)
    before = cloud.dump()
    clock = Clock()
    auditor = Auditor(3_600, clock_s=clock)
    turn(auditor, cloud)
    assert alerts == []
    clock.now_s += FIRST_S
    turn(auditor, cloud)
    assert alerts == [("the audit found faults", {"certain": 1, "likely": 0})]
    assert count_of("total-wrong", "certain") == 1
    assert count_of("over-capacity", "certain") == 1
    assert cloud.dump() == before


def test_faults_that_are_gone_are_counted_no_more(
    cloud: Cloud, alerts: list[tuple[str, dict[str, object]]]
) -> None:
    total_too_high(cloud)
    auditing.tell(cloud.audit())
    cloud.heal(cloud.only())
    auditing.tell(cloud.audit())
    assert count_of("total-wrong", "certain") == 0
    assert len(alerts) == 1


def test_notices_are_no_alarm(cloud: Cloud, alerts: list[tuple[str, dict[str, object]]]) -> None:
    over_capacity(cloud)
    auditing.tell(cloud.audit())
    assert alerts == []


def test_it_looks_once_in_each_interval_and_never_twice_at_a_time(cloud: Cloud) -> None:
    looks = 0
    began, may_end = threading.Event(), threading.Event()
    clock = Clock()

    def look(services: Services) -> AuditReport:
        nonlocal looks
        looks += 1
        began.set()
        assert may_end.wait(60)
        return audit(services)

    auditor = Auditor(100, clock_s=clock, look=look)
    for passed in (0, 99, 1, 0, 100, 500):
        clock.now_s += passed
        auditor.run(cloud.services, origin())
    assert began.wait(60)
    assert looks == 1
    may_end.set()
    auditor.wait()
    turn(auditor, cloud)
    assert looks == 2
    turn(auditor, cloud)
    assert looks == 2


def test_an_interval_of_nothing_turns_it_off(cloud: Cloud) -> None:
    def look(_services: Services) -> AuditReport:
        raise AssertionError("it looked")

    clock = Clock()
    auditor = Auditor(0, clock_s=clock, look=look)
    for _ in range(3):
        clock.now_s += 1e6
        turn(auditor, cloud)


def test_an_audit_that_fails_is_an_alert(
    cloud: Cloud, alerts: list[tuple[str, dict[str, object]]]
) -> None:
    def look(_services: Services) -> AuditReport:
        raise RuntimeError("it broke")

    clock = Clock()
    auditor = Auditor(10, clock_s=clock, look=look)
    turn(auditor, cloud)
    clock.now_s += 10
    turn(auditor, cloud)
    assert [event for event, _ in alerts] == ["the audit failed"]
