"""What one process knows of a provider that it has made, and what others do to it meanwhile."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from moorage.domain.inventory import Inventory
from moorage.domain.refusals import (
    DuplicateProvider,
    ProviderGenerationConflict,
    UnknownProvider,
    UnknownResourceClass,
)
from moorage.operations import newcomers
from moorage.operations.create_provider import create_provider
from moorage.operations.delete_provider import delete_provider
from moorage.operations.look_up import look_up
from moorage.operations.services import Services
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_inventories import set_inventories
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_aggregates import show_aggregates
from moorage.operations.show_provider import show_provider
from moorage.operations.show_usages import show_usages
from moorage.store.sql import Load, Write
from tests.support.books import count_sendings, find_faults, open_transaction, origin, services_on
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

STOCK = {"VCPU": Inventory(8), "MEMORY_MB": Inventory(1024)}
TRAITS = ("HW_CPU_X86_AVX2", "HW_CPU_X86_VMX")
ZONE = new_uuid()

Give = Callable[[Services, str, int], object]


def make(services: Services, uuid: str | None = None, parent: str | None = None) -> str:
    key = uuid or new_uuid()
    create_provider(services, uuid=key, name=key, parent_uuid=parent, origin=origin())
    return key


def stock(services: Services, host: str, generation: int, **inventories: Inventory) -> object:
    return set_inventories(
        services,
        provider=host,
        generation=generation,
        inventories=inventories or STOCK,
        reserved_may_be_total=True,
        origin=origin(),
    )


def mark(services: Services, host: str, generation: int, *traits: str) -> object:
    return set_provider_traits(
        services, provider=host, generation=generation, traits=traits or TRAITS, origin=origin()
    )


def join(services: Services, host: str, generation: int | None, zone: str = ZONE) -> object:
    return set_aggregates(
        services, provider=host, aggregates=[zone], generation=generation, origin=origin()
    )


def traits_of(services: Services, host: str) -> set[str]:
    snapshot, position = look_up(services, host)
    return set(snapshot.traits_of(position))


@pytest.fixture
def other(services: Services) -> Services:
    """Another process on the same database."""
    return services_on(services.store)


@pytest.fixture(autouse=True)
def learned(services: Services) -> None:
    """The names that are in the requests here are known to both processes."""
    host = make(services)
    stock(services, host, 0)
    mark(services, host, 1)
    join(services, host, 2)


def test_what_a_new_host_is_given_first_waits_for_the_database_once(services: Services) -> None:
    host = make(services)
    gives: tuple[Give, ...] = (stock, mark, join)
    for generation, give in enumerate(gives):
        assert count_sendings(lambda: give(services, host, generation)) == 1  # noqa: B023
    # From now on it has something, which is looked at.
    assert count_sendings(lambda: stock(services, host, 3)) == 2
    assert show_provider(services, host).generation == 4
    assert show_usages(services, host).used == {"VCPU": 0, "MEMORY_MB": 0}
    assert traits_of(services, host) == set(TRAITS)
    assert show_aggregates(services, host)[:2] == (3 + 1, [ZONE])
    assert find_faults(services) == []


def test_a_child_is_a_newcomer_as_well(services: Services) -> None:
    child = make(services, parent=make(services))
    assert count_sendings(lambda: stock(services, child, 0)) == 1
    assert show_provider(services, child).generation == 1


@pytest.mark.parametrize("give", [stock, mark, join])
def test_what_others_gave_it_meanwhile_is_found_by_its_generation(
    services: Services, other: Services, give: Give
) -> None:
    host = make(services)
    stock(other, host, 0, VCPU=Inventory(4))
    with pytest.raises(ProviderGenerationConflict):
        give(services, host, 0)
    give(services, host, 1)
    assert show_provider(services, host).generation == 2
    assert find_faults(services) == []


def test_the_first_inventories_take_the_place_of_those_that_others_gave(
    services: Services, other: Services
) -> None:
    host = make(services)
    stock(other, host, 0, DISK_GB=Inventory(10))
    stock(services, host, 1)
    assert show_usages(services, host).used == {"VCPU": 0, "MEMORY_MB": 0}


def test_aggregates_that_others_gave_without_a_word_are_found(
    services: Services, other: Services
) -> None:
    """Before 1.19 aggregates do not raise the generation."""
    host, theirs = make(services), new_uuid()
    join(other, host, None, theirs)
    assert show_provider(services, host).generation == 0
    join(services, host, 0)
    assert show_aggregates(services, host)[:2] == (1, [ZONE])
    rows = services.store.read(
        text("SELECT j.before FROM moorage_journal j WHERE j.subject = :host ORDER BY j.id DESC"),
        {"host": host},
    )
    assert rows[0].before == f'["{theirs}"]'


def test_own_changes_without_a_generation_are_not_forgotten(services: Services) -> None:
    host, first = make(services), new_uuid()
    join(services, host, None, first)
    join(services, host, 0)
    assert show_aggregates(services, host)[:2] == (1, [ZONE])


def test_one_that_others_deleted_is_gone(services: Services, other: Services) -> None:
    host = make(services)
    delete_provider(other, uuid=host, origin=origin())
    with pytest.raises(UnknownProvider):
        stock(services, host, 0)
    make(other, host)
    stock(services, host, 0)
    assert show_provider(services, host).generation == 1
    assert find_faults(services) == []


def test_what_is_refused_leaves_it_a_newcomer_that_has_nothing(services: Services) -> None:
    host = make(services)
    with pytest.raises(UnknownResourceClass):
        stock(services, host, 0, CUSTOM_NONE=Inventory(1))
    with pytest.raises(ProviderGenerationConflict):
        mark(services, host, 5)
    with pytest.raises(DuplicateProvider):
        make(services, host)
    stock(services, host, 0)
    assert show_provider(services, host).generation == 1
    assert find_faults(services) == []


def test_only_so_many_are_remembered(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "NEWCOMERS_MAX", 4)
    hosts = [make(services) for _ in range(5)]
    assert count_sendings(lambda: stock(services, hosts[0], 0)) == 2
    assert count_sendings(lambda: stock(services, hosts[4], 0)) == 1


def test_row_ids_that_were_given_out_before_their_rows_are_nobody_elses(
    services: Services, other: Services
) -> None:
    """Beside a service that lets the database number its rows, as Placement does."""
    hosts = [make(services)]
    for _ in range(40):
        with open_transaction(services) as tx:
            key = new_uuid()
            tx.write(
                Write(
                    "INSERT INTO resource_providers (uuid, name, generation)"
                    f" VALUES ('{key}', '{key}', 0)"
                )
            )
            tx.write(
                Write(
                    "UPDATE resource_providers SET root_provider_id = id"
                    " WHERE root_provider_id IS NULL"
                )
            )
        hosts += [make(services), make(other)]
    ids = [show_provider(services, host).id for host in hosts]
    assert ids == sorted(set(ids))
    assert find_faults(services) == []


def test_a_table_without_its_sequence_numbers_its_rows_itself(
    services: Services, database_kind: DatabaseKind
) -> None:
    if database_kind is DatabaseKind.POSTGRESQL:
        with open_transaction(services) as tx:
            (row,) = tx.load(
                Load("SELECT pg_get_serial_sequence('resource_providers', 'id') AS sequence")
            )
            tx.write(Write(f"ALTER SEQUENCE {row.sequence} OWNED BY NONE"))
    host = make(services)
    provider = show_provider(services, host)
    assert provider.root_uuid == host
    stock(services, host, 0)
    assert show_provider(services, host).generation == 1
