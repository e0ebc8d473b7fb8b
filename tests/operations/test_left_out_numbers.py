"""A journal whose row numbers are left out in between, as on Galera, costs what any other costs."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy

from moorage.coherence.keeper import Keeper
from moorage.coherence.watermark import Watermark
from moorage.domain.ids import ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.operations.create_resource_class import create_resource_class
from moorage.operations.services import Services
from moorage.store.following import GAP_AGE_S_MAX, Since
from moorage.store.journal import Entry, write_journal
from moorage.store.sql import Write
from tests.candidates.test_changes import check_same
from tests.operations.test_keeper import check_that_reads_hold_every_write
from tests.support.books import (
    add_host,
    claim_for,
    counted_statements,
    forget_totals,
    hold,
    open_services,
    open_transaction,
    origin,
)
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

pytestmark = pytest.mark.mariadb

LEFT_OUT = 99
"""Numbers between two rows: as of a large cluster, so that few rows make many gaps."""

STATEMENT_CHARACTERS_MAX = 2_000


@pytest.fixture
def url(fresh_database: Callable[[DatabaseKind], str]) -> Iterator[str]:
    """A database whose connections from now on leave numbers out."""
    url = fresh_database(DatabaseKind.MARIADB)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    set_step = "SET GLOBAL auto_increment_increment = {}"
    with engine.connect() as connection:
        connection.exec_driver_sql(set_step.format(1 + LEFT_OUT))
        yield url
        connection.exec_driver_sql(set_step.format(1))


@pytest.fixture
def services(url: str) -> Iterator[Services]:
    services = open_services(url)
    yield services
    services.store.close()


@pytest.fixture
def host(services: Services) -> ProviderUuid:
    return add_host(services, {"VCPU": Inventory(100_000)})


def fill(services: Services, host: str, times: int) -> None:
    """Consumers of one unit each, one after the other."""
    for _ in range(times):
        hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))


def use_of(services: Services, host: str) -> int:
    """The units in use, as the snapshot has them."""
    snapshot = services.keeper.current()
    used: int = snapshot.resources_of(snapshot.positions.get(host) or 0)["VCPU"][1]
    return used


def sum_of(services: Services) -> int:
    """The units in use, as the project's sums have them."""
    (group,) = services.sums.of("project", user_id=None).values()
    return group.used["VCPU"]


def look_statements(services: Services) -> list[str]:
    with counted_statements(services) as sent:
        services.keeper.current()
    return sent


def test_a_look_asks_for_no_number_where_nothing_is_missing(
    services: Services, host: ProviderUuid
) -> None:
    services.keeper.current()
    fill(services, host, 30)
    assert use_of(services, host) == 30
    assert len(services.keeper._seen.since.gaps) > 25 * LEFT_OUT

    (question,) = look_statements(services)
    assert len(question) < STATEMENT_CHARACTERS_MAX

    for used, is_told in ((31, True), (32, False)):
        fill(services, host, 1)
        if not is_told:
            forget_totals(services)
        questions = look_statements(services)
        assert len(questions) == (1 if is_told else 2)
        assert max(map(len, questions)) < STATEMENT_CHARACTERS_MAX
        assert use_of(services, host) == used


def test_the_sums_of_a_project_ask_for_none_either(services: Services, host: ProviderUuid) -> None:
    fill(services, host, 1)
    assert sum_of(services) == 1
    fill(services, host, 30)
    assert sum_of(services) == 31

    with counted_statements(services) as sent:
        sum_of(services)
    (question,) = sent
    assert len(question) < STATEMENT_CHARACTERS_MAX


def test_a_change_of_providers_is_followed_without_asking_for_numbers(
    services: Services, host: ProviderUuid
) -> None:
    services.keeper.current()
    fill(services, host, 30)
    services.keeper.current()
    another = add_host(services, {"VCPU": Inventory(8)})
    questions = look_statements(services)
    assert max(map(len, questions)) < STATEMENT_CHARACTERS_MAX
    assert services.keeper.current().positions.get(another) is not None
    check_same(services.keeper.current(), Keeper(services.store).current())


@pytest.mark.parametrize("meanwhile", [0, 1, 5, 40])
def test_a_row_that_comes_late_is_found_however_many_have_come_meanwhile(
    services: Services, host: ProviderUuid, meanwhile: int
) -> None:
    create_resource_class(services, name="CUSTOM_WAITS", origin=origin())
    fill(services, host, 1)
    assert (use_of(services, host), sum_of(services)) == (1, 1)
    late = new_uuid()
    with ExitStack() as stack:
        tx = stack.enter_context(open_transaction(services))
        write_journal(
            tx,
            [Entry("class.rename", "CUSTOM_WAITS", (), "CUSTOM_WAITS", "CUSTOM_CAME")],
            origin(),
        )
        rename = Write("UPDATE resource_classes SET name = :new WHERE name = :old")
        tx.write(rename, {"new": "CUSTOM_CAME", "old": "CUSTOM_WAITS"})
        tx.send()
        fill(services, host, meanwhile)
        assert (use_of(services, host), sum_of(services)) == (1 + meanwhile, 1 + meanwhile)
        assert "CUSTOM_CAME" not in services.keeper.current().class_names.values()
    assert "CUSTOM_CAME" in services.keeper.current().class_names.values()
    hold(services, claim_for(late, {host: {"VCPU": 1}}))
    assert (use_of(services, host), sum_of(services)) == (2 + meanwhile, 2 + meanwhile)
    assert len(look_statements(services)) == 1
    check_same(services.keeper.current(), Keeper(services.store).current())


def test_rows_that_nobody_has_counted_are_seen_and_do_no_harm(
    services: Services, host: ProviderUuid
) -> None:
    fill(services, host, 3)
    services.keeper.current()
    fill(services, host, 2)
    services.keeper.current()
    copy = Write(
        """INSERT INTO moorage_journal (at, kind, subject, providers, request_id)
           SELECT at, 'trait.create', 'CUSTOM_X', '[]', request_id FROM moorage_journal LIMIT 1"""
    )
    services.store.run(lambda tx: tx.write(copy))
    fill(services, host, 1)
    assert use_of(services, host) == 6
    services.keeper.current()
    assert len(look_statements(services)) == 1
    fill(services, host, 1)
    assert use_of(services, host) == 7


def test_a_journal_that_was_trimmed_is_read_anew(services: Services, host: ProviderUuid) -> None:
    fill(services, host, 3)
    reader = Keeper(services.store)
    reader.current()
    another = add_host(services, {"VCPU": Inventory(8)})
    fill(services, host, 1)
    reader.current()
    more = add_host(services, {"VCPU": Inventory(8)})
    fill(services, host, 1)
    trim = Write(
        """DELETE FROM moorage_journal WHERE id <
           (SELECT highest FROM (SELECT MAX(id) AS highest FROM moorage_journal) j)"""
    )
    services.store.run(lambda tx: tx.write(trim))
    fill(services, host, 1)
    snapshot = reader.current()
    assert snapshot.positions.get(another) is not None
    assert snapshot.positions.get(more) is not None
    check_same(snapshot, Keeper(services.store).current())


def test_every_row_is_counted_in_its_own_transaction(
    services: Services, host: ProviderUuid
) -> None:
    fill(services, host, 5)
    with open_transaction(services) as tx:
        write_journal(tx, [Entry("allocation.set", host, ())], origin())
        tx.send()
        tx.session.rollback()
        tx.journaled = 0
    counted, rows = services.store.read_with(
        lambda connection: connection.exec_driver_sql(
            "SELECT (SELECT SUM(written) FROM moorage_journal_counts),"
            " (SELECT COUNT(*) FROM moorage_journal)"
        ).one()
    )
    assert counted == rows > 5


def test_rows_that_were_found_without_a_count_are_in_it_afterwards() -> None:
    watermark = Watermark(Since(5, (), 7), now_s=0.0)
    assert watermark.ahead({6, 8}, written=None).written == 9
    watermark.note({6, 8}, written=None, now_s=0.0)
    assert (*watermark.since.gaps, watermark.since.written) == (7, 9)
    ahead = watermark.ahead({7, 10}, written=None)
    assert (ahead.mark, ahead.written) == (10, 11)
    assert (list(ahead.gaps), list(reversed(ahead.gaps)), len(ahead.gaps)) == ([9], [9], 1)
    watermark.note({7, 10}, written=None, now_s=1.0)
    assert watermark.since.written == 11
    watermark.note((), written=20, now_s=GAP_AGE_S_MAX + 0.5)
    assert (list(watermark.since.gaps), watermark.since.written) == ([9], 20)
    watermark.note((), written=None, now_s=GAP_AGE_S_MAX + 1.0)
    assert not watermark.since.gaps


def test_gaps_are_forgotten_in_time(
    services: Services, host: ProviderUuid, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(services, host, 3)
    services.keeper.current()
    fill(services, host, 3)
    services.keeper.current()
    assert len(services.keeper._seen.since.gaps) > LEFT_OUT
    started = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: started + GAP_AGE_S_MAX + 5)
    services.keeper.current()
    assert not services.keeper._seen.since.gaps
    fill(services, host, 1)
    assert use_of(services, host) == 7


def test_reads_hold_every_write_acknowledged_before_they_began(url: str) -> None:
    check_that_reads_hold_every_write(url)
