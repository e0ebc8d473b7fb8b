"""Claims that most likely name all providers concerned, and those of them that do not."""

from functools import partial

import pytest

from moorage.domain.inventory import Inventory
from moorage.domain.refusals import ConsumerGenerationConflict
from moorage.operations.claim_queue import ClaimRequest, write_claims
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_usages import show_usages
from tests.support.books import (
    ABSENTEE,
    add_host,
    claim_for,
    count_sendings,
    find_faults,
    hold,
    origin,
    share,
)
from tests.support.ids import new_uuid

STOCK = {"VCPU": Inventory(4), "DISK_GB": Inventory(100)}


def used(services: Services, host: str) -> int:
    return show_usages(services, host).used["VCPU"]


def holdings(services: Services, consumer: str) -> dict[str, int]:
    found = show_allocations(services, consumer)
    held = {} if found is None else found.resources
    return {host: amounts["VCPU"] for host, (_, amounts) in held.items()}


@pytest.fixture
def hosts(services: Services) -> list[str]:
    return [add_host(services, STOCK) for _ in range(3)]


def swap(services: Services, instance: str, migration: str, host: str, generation: int = 1) -> None:
    hold(
        services,
        claim_for(migration, {host: {"VCPU": 1}}),
        claim_for(instance, {}, generation=generation),
    )


def test_the_first_step_of_a_move_waits_for_the_database_twice(
    services: Services, hosts: list[str]
) -> None:
    first, second, migration = new_uuid(), new_uuid(), new_uuid()
    for instance in (first, second):
        hold(services, claim_for(instance, {hosts[0]: {"VCPU": 1}}))
    swap(services, first, new_uuid(), hosts[0])
    assert count_sendings(lambda: swap(services, second, migration, hosts[0])) == 2
    # Its destination: the open move has to be read, and who else is in it.
    claim = claim_for(second, {hosts[1]: {"VCPU": 1}})
    assert count_sendings(lambda: hold(services, claim)) == 3
    assert holdings(services, second) == {hosts[1]: 1}
    assert holdings(services, migration) == {hosts[0]: 1}
    assert (used(services, hosts[0]), used(services, hosts[1])) == (2, 1)
    assert find_faults(services) == []


def test_a_swap_on_a_pool_is_found_to_share(services: Services, hosts: list[str]) -> None:
    pool, instance, migration = hosts[2], new_uuid(), new_uuid()
    share(services, pool)
    everything = {hosts[0]: {"VCPU": 1}, pool: {"DISK_GB": 60}}
    hold(services, claim_for(instance, everything))
    hold(services, claim_for(migration, everything), claim_for(instance, {}, generation=1))
    hold(services, claim_for(instance, {hosts[1]: {"VCPU": 1}, pool: {"DISK_GB": 60}}))
    assert show_usages(services, pool).used["DISK_GB"] == 60
    assert find_faults(services) == []


def test_a_swap_and_its_destination_in_one_transaction_count_the_pool_once(
    services: Services, hosts: list[str]
) -> None:
    pool, instance, migration = hosts[2], new_uuid(), new_uuid()
    share(services, pool)
    here, there = ({host: {"VCPU": 1}, pool: {"DISK_GB": 60}} for host in hosts[:2])
    hold(services, claim_for(instance, here))
    swapped = (claim_for(migration, here), claim_for(instance, {}, generation=1))
    requests = [
        ClaimRequest(claims, origin()) for claims in (swapped, (claim_for(instance, there),))
    ]
    write = partial(write_claims, services.store, requests, ABSENTEE)
    assert count_sendings(write) == 2
    assert show_usages(services, pool).used["DISK_GB"] == 60
    assert find_faults(services) == []


def test_who_gives_away_what_it_has_elsewhere_is_looked_for_first(
    services: Services, hosts: list[str]
) -> None:
    """Emptied beside a claim on another provider: nobody has locked what it gives away."""
    instance, other = new_uuid(), new_uuid()
    for elsewhere in (hosts[2], hosts[0]):
        hold(services, claim_for(instance, {elsewhere: {"VCPU": 2}}))
        swap(services, instance, other, hosts[1])
        assert holdings(services, instance) == {}
        assert [used(services, host) for host in hosts] == [0, 1, 0]
        assert find_faults(services) == []
        release(services, consumer=other, origin=origin())


def test_who_is_said_to_be_new_and_is_not_keeps_what_it_has(
    services: Services, hosts: list[str]
) -> None:
    consumer = new_uuid()
    hold(services, claim_for(consumer, {hosts[0]: {"VCPU": 2}}))
    for host in hosts[:2]:
        with pytest.raises(ConsumerGenerationConflict):
            hold(services, claim_for(consumer, {host: {"VCPU": 1}}))
    assert holdings(services, consumer) == {hosts[0]: 2}
    assert find_faults(services) == []
