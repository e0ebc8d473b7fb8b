"""A claim whose consumer changes while it is decided on is decided on a fresh view."""

from collections.abc import Callable
from typing import Any

import pytest

from moorage.domain.inventory import Inventory
from moorage.domain.refusals import CapacityExceeded, ConsumerGenerationConflict
from moorage.operations import books
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_usages import show_usages
from tests.support.books import add_host, claim_for, find_faults, hold, open_services, origin
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


def come_between(monkeypatch: pytest.MonkeyPatch, other: Callable[[], None]) -> None:
    """Let somebody else be faster, once, between what the next request loads and its locks."""
    lock_stock = books.lock_stock

    def lock_after_the_other(*args: Any) -> Any:
        monkeypatch.setattr(books, "lock_stock", lock_stock)
        other()
        return lock_stock(*args)

    monkeypatch.setattr(books, "lock_stock", lock_after_the_other)


def come_after(monkeypatch: pytest.MonkeyPatch, other: Callable[[], None]) -> None:
    """The same behind the locks of the next request, and behind all that it loads with them."""
    lock_stock = books.lock_stock

    def lock_before_the_other(*args: Any) -> Any:
        looked = lock_stock(*args)
        monkeypatch.setattr(books, "lock_stock", lock_stock)
        other()
        return looked

    monkeypatch.setattr(books, "lock_stock", lock_before_the_other)


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
    come_between(
        monkeypatch,
        lambda: hold(there, claim_for(consumer, {host: {"VCPU": 3}}, checks=False)),
    )
    # Its 3 units are its own to replace: seen as another's, they would leave no room for 4.
    hold(here, claim_for(consumer, {host: {"VCPU": 4}}, checks=False))
    assert held_units(here, consumer, host) == 4
    with pytest.raises(CapacityExceeded):
        hold(here, claim_for(consumer, {host: {"VCPU": 5}}, checks=False))
    here.store.close()
    there.store.close()


def release_it(services: Services, consumer: str, host: str) -> None:
    release(services, consumer=consumer, origin=origin())


def claim_elsewhere(services: Services, consumer: str, host: str) -> None:
    hold(services, claim_for(consumer, {host: {"VCPU": 2}}, generation=1))


@pytest.mark.parametrize("change", [release_it, claim_elsewhere])
@servers
def test_a_mover_that_is_claimed_for_in_the_meantime_gives_up_all_it_has(
    kind: DatabaseKind,
    change: Callable[[Services, str, str], None],
    fresh_database: Callable[[DatabaseKind], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It held nothing when it was loaded, so that nobody has locked what it holds by now."""
    url = fresh_database(kind)
    here, there = open_services(url), open_services(url, upgrade=False)
    source, destination, another = (add_host(here, {"VCPU": Inventory(4)}) for _ in range(3))
    instance, migration = new_uuid(), new_uuid()
    hold(here, claim_for(instance, {source: {"VCPU": 1}}))
    hold(
        here,
        claim_for(instance, {}, generation=1),
        claim_for(migration, {source: {"VCPU": 1}}),
    )
    come_between(monkeypatch, lambda: hold(there, claim_for(instance, {destination: {"VCPU": 1}})))
    change(here, instance, another)
    assert show_usages(here, destination)[1] == {"VCPU": 0}
    assert find_faults(here) == []
    here.store.close()
    there.store.close()


@servers
def test_a_new_consumer_that_came_to_be_behind_the_locks_is_found_out(
    kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On another provider, so that nothing keeps the other claim waiting."""
    url = fresh_database(kind)
    here, there = open_services(url), open_services(url, upgrade=False)
    near, far = (add_host(here, {"VCPU": Inventory(4)}) for _ in range(2))
    consumer = new_uuid()
    come_after(monkeypatch, lambda: hold(there, claim_for(consumer, {far: {"VCPU": 3}})))
    with pytest.raises(ConsumerGenerationConflict):
        hold(here, claim_for(consumer, {near: {"VCPU": 1}}))
    assert held_units(here, consumer, far) == 3
    assert find_faults(here) == []
    here.store.close()
    there.store.close()
