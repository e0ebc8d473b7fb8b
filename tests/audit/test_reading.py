"""How the books are read for an audit: none at all, or many with no more statements."""

import time
from collections.abc import Callable

import pytest

from moorage.domain.findings import Kind
from moorage.operations.audit import audit
from tests.audit.cloud import Cloud
from tests.audit.crowd import fill
from tests.audit.faults import orphan
from tests.support.books import count_statements, new_uuid, open_services
from tests.support.databases import DatabaseKind


def test_empty_books_have_no_faults(
    database_kind: DatabaseKind, migrated_database: Callable[[DatabaseKind], str]
) -> None:
    services = open_services(migrated_database(database_kind))
    report = audit(services)
    assert report.findings == ()
    assert (report.providers, report.consumers, report.allocations) == (0, 0, 0)
    services.store.close()


def test_more_books_are_read_with_no_more_statements(cloud: Cloud) -> None:
    for host in (0, 1):
        cloud.place(host)
    few = count_statements(cloud.services, lambda: cloud.audit(cloud.outside()))
    for number in range(20):
        cloud.place(number % 3)
    many = count_statements(cloud.services, lambda: cloud.audit(cloud.outside()))
    assert few == many


def test_a_heal_reads_no_more_where_there_is_more(cloud: Cloud) -> None:
    def heal_one() -> None:
        finding = next(
            one for one in cloud.audit(cloud.outside()).findings if one.kind is Kind.ORPHAN
        )
        cloud.heal(finding, cloud.outside())

    orphan(cloud)
    few = count_statements(cloud.services, heal_one)
    for number in range(20):
        cloud.place(number % 3)
    orphan(cloud)
    assert count_statements(cloud.services, heal_one) == few


@pytest.mark.parametrize("listed", [True, False])
def test_a_consumer_may_hold_a_slot_in_several_rows(cloud: Cloud, listed: bool) -> None:
    """Two rows for one slot are one holding."""
    uuid = new_uuid()
    cloud.hold(uuid, 0)
    cloud.sql(
        "INSERT INTO allocations (resource_provider_id, consumer_id, resource_class_id, used)"
        " VALUES (:p, :uuid, :c, 3)",
        p=cloud.id_of(cloud.hosts[0]),
        uuid=uuid,
        c=cloud.class_id("VCPU"),
    )
    cloud.sql(
        "UPDATE moorage_usages SET used = used + 3 WHERE resource_provider_id = :p"
        " AND resource_class_id = :c",
        p=cloud.id_of(cloud.hosts[0]),
        c=cloud.class_id("VCPU"),
    )
    if listed:
        cloud.tell(uuid, 0)
    finding = cloud.only(cloud.outside())
    assert finding.kind is (Kind.AMOUNTS_DIFFER if listed else Kind.ORPHAN)
    before = cloud.dump()
    healed = cloud.heal(finding, cloud.outside())
    assert cloud.audit(cloud.outside()).findings == ()
    cloud.undo(healed.undo_id)
    assert cloud.dump() == before


@pytest.mark.slow
def test_two_hundred_thousand_allocations_are_audited_in_ten_seconds(sqlite_cloud: Cloud) -> None:
    cloud = sqlite_cloud
    fill(cloud, hosts=10_000, servers=66_667)
    started = time.monotonic()
    report = cloud.audit(cloud.outside())
    took_s = time.monotonic() - started
    assert report.providers >= 10_000
    assert report.allocations >= 200_000
    assert report.findings == ()
    assert took_s <= 10
