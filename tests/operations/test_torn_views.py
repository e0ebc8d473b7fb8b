"""A claim whose consumer changes between its loading and the locks is decided on a fresh view."""

from collections.abc import Callable
from typing import Any

import pytest

from moorage.domain.inventory import Inventory
from moorage.domain.refusals import CapacityExceeded
from moorage.operations import books
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from tests.support.books import add_host, claim_for, hold, open_services
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

servers = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
    ],
)


def held_units(services: Services, consumer: str, host: str) -> int:
    found = show_allocations(services, consumer)
    assert found is not None
    (_, amounts) = found.resources[next(key for key in found.resources if key == host)]
    return amounts["VCPU"]


@servers
def test_what_a_consumer_took_in_the_meantime_does_not_stand_in_its_own_way(
    kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = fresh_database(kind)
    here, there = open_services(url), open_services(url, upgrade=False)
    host = add_host(here, {"VCPU": Inventory(4)})
    consumer = new_uuid()
    hold(here, claim_for(consumer, {host: {"VCPU": 1}}))
    lock_stock = books.lock_stock
    between = iter([lambda: hold(there, claim_for(consumer, {host: {"VCPU": 3}}, checks=False))])

    def lock_after_the_other(*args: Any) -> Any:
        for come_between in between:
            monkeypatch.setattr(books, "lock_stock", lock_stock)
            come_between()
        return lock_stock(*args)

    monkeypatch.setattr(books, "lock_stock", lock_after_the_other)
    # Its 3 units are its own to replace: seen as another's, they would leave no room for 4.
    hold(here, claim_for(consumer, {host: {"VCPU": 4}}, checks=False))
    assert held_units(here, consumer, host) == 4
    with pytest.raises(CapacityExceeded):
        hold(here, claim_for(consumer, {host: {"VCPU": 5}}, checks=False))
    here.store.close()
    there.store.close()
