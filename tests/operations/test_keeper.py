"""The keeper's snapshot holds every change committed before it was asked, late numbers too."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.domain.inventory import Inventory
from moorage.operations.find_candidates import find_candidates
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.transaction import Transaction
from tests.support.books import add_host, claim_for, hold, new_uuid, open_services, origin
from tests.support.databases import DatabaseKind

WISH = CandidatesRequest((RequestGroup("", (("VCPU", 8),)),))


def found(services: Services) -> int:
    return len(find_candidates(services, WISH).candidates)


def test_a_search_sees_what_another_process_has_committed(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    url = fresh_database(database_kind)
    here, there = open_services(url), open_services(url)
    assert found(here) == 0
    host = add_host(there, {"VCPU": Inventory(8)})
    assert found(here) == 1
    consumer = new_uuid()
    hold(there, claim_for(consumer, {host: {"VCPU": 1}}))
    assert found(here) == 0
    hold(there, claim_for(consumer, {}, generation=1))
    assert found(here) == 1


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
    ],
)
def test_a_change_that_commits_after_one_with_a_higher_number_is_not_missed(
    kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    services = open_services(fresh_database(kind))
    early = add_host(services, {"VCPU": Inventory(8)})
    late = add_host(services, {"VCPU": Inventory(8)})
    assert found(services) == 2
    slow = services.store.writer.connect()
    opened = slow.begin()
    tx = Transaction(slow, services.store.dialect, services.store.memory)
    key = slow.execute(
        text("SELECT id FROM resource_providers WHERE uuid = :uuid"), {"uuid": early}
    ).scalar_one()
    write_journal(tx, [Entry("allocation.set", early, (key,))], origin())
    slow.execute(
        text("UPDATE moorage_usages SET used = 1 WHERE resource_provider_id = :key"), {"key": key}
    )
    hold(services, claim_for(new_uuid(), {late: {"VCPU": 1}}))
    assert found(services) == 1
    opened.commit()
    assert found(services) == 0
    slow.close()
    services.store.close()
