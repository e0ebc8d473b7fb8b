"""The truth through openstacksdk: pages, silent cells, and what only a question by uuid finds."""

from collections.abc import Iterator

import pytest

from moorage.cli.nova import NovaTruth, NovaUnavailable, flavor_resources
from moorage.domain.findings import Confidence, Doubt, Kind
from tests.audit.cloud import Cloud
from tests.audit.nova_stub import NovaStub, serving
from tests.support.books import new_uuid

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def cloud(sqlite_cloud: Cloud) -> Cloud:
    return sqlite_cloud


@pytest.fixture
def nova(cloud: Cloud) -> Iterator[NovaStub]:
    stub = NovaStub()
    for number, host in enumerate(cloud.hosts):
        stub.hypervisors.append({"id": host, "hypervisor_hostname": f"node{number}"})
    stub.add_server(cloud.keeper, "node0")
    with serving(stub):
        yield stub


def truth(nova: NovaStub) -> NovaTruth:
    return NovaTruth(nova.connect())


def add_migration(nova: NovaStub, uuid: str, server: str, status: str) -> None:
    nova.migrations.append(
        {"uuid": uuid, "instance_uuid": server, "migration_type": "migration", "status": status}
    )


def test_lists_are_read_to_their_last_page(cloud: Cloud, nova: NovaStub) -> None:
    uuids = [cloud.place(number % 3) for number in range(5)]
    for number, uuid in enumerate(uuids):
        nova.add_server(uuid, f"node{number % 3}")
        add_migration(nova, new_uuid(), uuid, "confirmed")
    outside = truth(nova).read()
    assert set(outside.servers) == {cloud.keeper, *uuids}
    assert len(outside.migrations) == 5
    assert all(outside.sees_host((host,)) for host in cloud.hosts)
    assert cloud.audit(outside).findings == ()
    versions = dict(nova.asked)
    assert versions["/servers/detail"] == "compute 2.71"


def test_a_short_page_is_not_the_last(cloud: Cloud, nova: NovaStub) -> None:
    """A migration that is not shown leaves its page short; those of the next pages count too."""
    hold = new_uuid()
    cloud.hold(hold, 0)
    for number in range(3):
        add_migration(nova, new_uuid(), cloud.keeper, "confirmed")
        nova.migrations[-1]["hidden"] = number == 1
    add_migration(nova, hold, cloud.keeper, "finished")
    asker = truth(nova)
    outside = asker.read()
    assert outside.migrations[hold].state == "finished"
    findings = cloud.audit(outside, ask=asker.ask).findings
    assert {one.confidence for one in findings} <= {Confidence.UNKNOWN}


def test_an_orphan_is_one_that_nova_does_not_know_when_asked(cloud: Cloud, nova: NovaStub) -> None:
    gone, hidden = new_uuid(), new_uuid()
    for uuid in (gone, hidden):
        cloud.hold(uuid, 1)
    nova.hidden.add(hidden)
    asker = truth(nova)
    report = cloud.audit(asker.read(), ask=asker.ask)
    kinds = {one.subject: (one.kind, one.confidence) for one in report.findings}
    assert kinds == {
        gone: (Kind.ORPHAN, Confidence.CERTAIN),
        hidden: (Kind.UNSEEN, Confidence.UNKNOWN),
    }
    (finding,) = [one for one in report.findings if one.kind is Kind.ORPHAN]
    cloud.heal(finding, report.outside)


def test_a_cell_that_does_not_answer_makes_its_servers_unknown(
    cloud: Cloud, nova: NovaStub
) -> None:
    """Its hypervisors are in no list; its servers are bare, or in no list either."""
    bare, unlisted = cloud.place(1), cloud.place(1)
    assert unlisted
    nova.hypervisors = nova.hypervisors[:1]
    nova.servers.append({"id": bare, "status": "UNKNOWN", "tenant_id": "project"})
    asker = truth(nova)
    (finding,) = cloud.audit(asker.read(), ask=asker.ask).findings
    assert finding.subject == unlisted
    assert finding.kind is Kind.UNSEEN
    assert finding.evidence["unknown_because"] is Doubt.HOST_UNSEEN


def test_without_a_list_of_hosts_those_of_listed_servers_are_seen(
    cloud: Cloud, nova: NovaStub
) -> None:
    """Nova lists no hypervisors at all while one cell does not answer."""
    nova.broken.add("/os-hypervisors")
    nova.add_server(new_uuid(), "node1")
    nova.add_server(new_uuid(), None)
    outside = truth(nova).read()
    assert set(outside.hosts) == {"node0", "node1"}


@pytest.mark.parametrize("ends", ["/os-migrations", "/servers/detail"])
def test_a_cell_that_goes_away_meanwhile_is_not_seen(
    cloud: Cloud, nova: NovaStub, ends: str
) -> None:
    server = new_uuid()
    nova.add_server(server, "node1")

    def lose(path: str) -> None:
        if path == ends:
            nova.broken.add("/os-hypervisors")
            nova.servers = [one for one in nova.servers if one["id"] != server]

    nova.before = lose
    outside = truth(nova).read()
    assert outside.sees_host(("node0",))
    assert not outside.sees_host(("node1",))


def test_a_list_that_breaks_off_is_no_truth(cloud: Cloud, nova: NovaStub) -> None:
    nova.broken.add("/os-migrations")
    with pytest.raises(NovaUnavailable, match="migrations cannot be read: it answered 500"):
        truth(nova).read()


def test_an_answer_other_than_not_found_leaves_a_suspect_unknown(
    cloud: Cloud, nova: NovaStub
) -> None:
    uuid = new_uuid()
    cloud.hold(uuid, 1)
    nova.broken.add(f"/servers/{uuid}")
    asker = truth(nova)
    (finding,) = cloud.audit(asker.read(), ask=asker.ask).findings
    assert finding.evidence["unknown_because"] is Doubt.NOT_ASKED


@pytest.mark.parametrize(
    ("change", "extra", "resources"),
    [
        ({}, {}, {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 20}),
        ({"ephemeral": 5, "swap": 1500}, {}, {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 27}),
        (
            {},
            {"hw:cpu_policy": "dedicated"},
            {"PCPU": 2, "MEMORY_MB": 512, "DISK_GB": 20},
        ),
        (
            {},
            {"resources:VCPU": "0", "resources:CUSTOM_METAL": "1", "resources:X": "no"},
            {"VCPU": 0, "MEMORY_MB": 512, "DISK_GB": 20, "CUSTOM_METAL": 1},
        ),
    ],
)
def test_a_flavor_says_what_is_to_be_held(
    change: dict[str, int], extra: dict[str, str], resources: dict[str, int]
) -> None:
    stub = NovaStub()
    stub.add_server("one", "node0")
    flavor = stub.servers[0]["flavor"] | change | {"extra_specs": extra}
    assert flavor_resources(stub.servers[0] | {"flavor": flavor}) == resources
    on_volume = stub.servers[0] | {"flavor": flavor, "image": ""}
    told = flavor_resources(on_volume)
    assert told is not None
    assert told["DISK_GB"] == resources["DISK_GB"] - 20
    assert flavor_resources({"id": "bare"}) is None
