"""Every fault is found for what it is, heals, and is undone to the byte."""

import pytest

from moorage.domain.findings import Confidence, Finding, Kind
from tests.audit.cloud import Cloud
from tests.audit.faults import ALONE, COMPANIONS, FAULTS, Fault, Injected

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)


def found(cloud: Cloud, injected: Injected) -> Finding:
    (finding,) = [
        one
        for one in cloud.audit(cloud.outside()).findings
        if one.kind is injected.kind and one.subject == injected.subject
    ]
    return finding


def test_nothing_is_found_in_books_that_are_right(cloud: Cloud) -> None:
    for host in (0, 1, 2):
        cloud.place(host)
    assert cloud.audit().findings == ()
    report = cloud.audit(cloud.outside())
    assert report.findings == ()
    assert (report.providers, report.consumers, report.allocations) == (5, 4, 12)


@each_fault
def test_each_fault_is_found_alone_and_its_heal_is_undone_to_the_byte(
    cloud: Cloud, fault: Fault
) -> None:
    for host in (0, 1, 2):
        cloud.place(host)
    injected = fault(cloud)
    findings = cloud.audit(cloud.outside()).findings
    told = {finding.kind for finding in findings}
    assert told == {injected.kind} | COMPANIONS.get(fault, frozenset())
    finding = found(cloud, injected)
    assert finding.confidence is injected.confidence
    assert finding.evidence
    assert (finding.remedy is not None) is injected.heals
    if injected.heals:
        check_heal(cloud, injected, finding)


def check_heal(cloud: Cloud, injected: Injected, finding: Finding) -> None:
    """A heal leaves nothing to find, and its undo leaves nothing of the heal."""
    before = cloud.dump()
    healed = cloud.heal(finding, cloud.outside())
    assert cloud.dump() != before
    # The companions go too: where a failed revert is finished, the server holds where it runs.
    assert cloud.audit(cloud.outside()).findings == ()
    undone = cloud.undo(healed.undo_id)
    assert undone.renumbered == 0
    assert cloud.dump() == before
    assert found(cloud, injected).remedy == finding.remedy


@pytest.mark.parametrize(
    "fault", sorted(ALONE, key=lambda one: one.__name__), ids=lambda one: one.__name__
)
def test_the_books_show_their_own_faults_without_any_truth(cloud: Cloud, fault: Fault) -> None:
    injected = fault(cloud)
    assert cloud.kinds() == {injected.subject: [injected.kind]}


def test_all_faults_at_once_are_all_found(cloud: Cloud) -> None:
    injected = [fault(cloud) for fault in FAULTS]
    keys = {finding.key for finding in cloud.audit(cloud.outside()).findings}
    assert {f"{one.kind}/{one.subject}" for one in injected} <= keys


def test_without_the_truth_nothing_that_only_it_could_know_is_certain(cloud: Cloud) -> None:
    outsiders = [fault(cloud) for fault in FAULTS if fault not in ALONE]
    for finding in cloud.audit().findings:
        assert finding.confidence is not Confidence.CERTAIN
        assert finding.remedy is None
        assert finding.kind in {Kind.TWO_TREES, Kind.POOL_DUPLICATE, Kind.HOLD_LEFT}
    assert outsiders
