"""How many statements an operation sends does not depend on how much there is."""

from collections.abc import Callable

from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.domain.ids import ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.provider import ProviderFilter
from moorage.operations.create_provider import create_provider
from moorage.operations.delete_provider import delete_provider
from moorage.operations.find_candidates import find_candidates
from moorage.operations.list_providers import list_providers
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_inventories import set_inventories
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_inventory import show_inventory
from moorage.operations.show_provider import show_provider
from moorage.operations.show_usages import show_usages
from moorage.operations.sum_usages import sum_usages
from tests.support.books import (
    add_host,
    claim_for,
    count_sendings,
    count_statements,
    hold,
    origin,
)
from tests.support.ids import new_uuid

STOCK = {"VCPU": Inventory(10_000), "MEMORY_MB": Inventory(1_000_000)}
WISH = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),), limit=1)
CROWD = 60


def crowd(services: Services, host: ProviderUuid) -> None:
    """Many hosts, and many consumers on one of them."""
    for _ in range(CROWD):
        add_host(services, STOCK)
    for _ in range(CROWD):
        hold(services, claim_for(new_uuid(), {host: {"VCPU": 1, "MEMORY_MB": 1}}))


def put_and_release(services: Services, host: ProviderUuid) -> None:
    consumer = new_uuid()
    hold(services, claim_for(consumer, {host: {"VCPU": 1}}))
    hold(services, claim_for(consumer, {host: {"VCPU": 2}}, generation=1))
    release(services, consumer=consumer, origin=origin())


def register(services: Services) -> None:
    key = new_uuid()
    create_provider(services, uuid=key, name=key, parent_uuid=None, origin=origin())
    set_inventories(
        services,
        provider=key,
        generation=0,
        inventories=STOCK,
        reserved_may_be_total=True,
        origin=origin(),
    )
    set_aggregates(services, provider=key, aggregates=[new_uuid()], generation=1, origin=origin())
    set_provider_traits(
        services, provider=key, generation=2, traits=["HW_CPU_X86_VMX"], origin=origin()
    )
    delete_provider(services, uuid=key, origin=origin())


def test_no_operation_sends_more_statements_where_there_is_more(services: Services) -> None:
    host = add_host(services, STOCK)
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1, "MEMORY_MB": 1}}))
    works: dict[str, Callable[[], object]] = {
        "claim, change, release": lambda: put_and_release(services, host),
        "register a host and delete it": lambda: register(services),
        "show a provider": lambda: show_provider(services, host),
        "show its inventory": lambda: show_inventory(services, host, "VCPU"),
        "show its usages": lambda: show_usages(services, host),
        "show its tree": lambda: list_providers(services, ProviderFilter(in_tree=host)),
        "sum a project's usages": lambda: sum_usages(services, project_id="project", user_id=None),
        "find candidates": lambda: find_candidates(services, WISH),
    }

    def counts() -> dict[str, int]:
        for work in works.values():
            work()  # what a process learns once (names of projects, the snapshot) is learned
        return {name: count_statements(services, work) for name, work in works.items()}

    alone = counts()
    crowd(services, host)
    assert counts() == alone


def test_a_claim_on_many_providers_sends_what_a_claim_on_one_does(services: Services) -> None:
    hosts = [add_host(services, STOCK) for _ in range(20)]

    def put(count: int) -> int:
        resources = {host: {"VCPU": 1, "MEMORY_MB": 1} for host in hosts[:count]}
        return count_statements(services, lambda: hold(services, claim_for(new_uuid(), resources)))

    put(1)
    assert put(20) == put(1)


def test_a_request_for_many_consumers_sends_what_one_for_one_does(services: Services) -> None:
    host = add_host(services, STOCK)

    def put(count: int) -> int:
        claims = [claim_for(new_uuid(), {host: {"VCPU": 1}}) for _ in range(count)]
        return count_statements(services, lambda: hold(services, *claims))

    put(1)
    assert put(30) == put(1)


def test_a_write_waits_for_the_database_as_often_as_it_decides(services: Services) -> None:
    host = add_host(services, STOCK)
    put_and_release(services, host)
    consumer = new_uuid()
    # Of a new consumer: its providers and all that is known of both; the writes with the COMMIT.
    assert count_sendings(lambda: hold(services, claim_for(consumer, {host: {"VCPU": 1}}))) == 2
    # One that has something already: what it has comes first.
    more = claim_for(consumer, {host: {"VCPU": 2}}, generation=1)
    assert count_sendings(lambda: hold(services, more)) == 3
    assert (
        count_sendings(
            lambda: set_inventories(
                services,
                provider=host,
                generation=5,
                inventories=STOCK,
                reserved_may_be_total=True,
                origin=origin(),
            )
        )
        == 2
    )
