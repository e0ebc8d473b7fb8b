"""Requests that are written together: each has its own answer, and the books hold them all."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from moorage.domain.inventory import Inventory
from moorage.domain.provider import Provider
from moorage.domain.refusals import (
    DuplicateProvider,
    InventoryInUse,
    ProviderGenerationConflict,
    UnknownParent,
    UnknownProvider,
    UnknownResourceClass,
    UnknownTraits,
)
from moorage.operations.create_provider import create_provider
from moorage.operations.provider_changes import ChangeRequest, Decision, Part, Shelf
from moorage.operations.services import Services
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_inventories import set_inventories
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_aggregates import show_aggregates
from moorage.operations.show_provider import show_provider
from moorage.operations.write_queue import WriteQueue
from moorage.store.transaction import Transaction
from tests.support.books import (
    add_host,
    claim_for,
    count_sendings,
    counted_statements,
    find_faults,
    hold,
    origin,
)
from tests.support.ids import new_uuid

STOCK = {"VCPU": Inventory(8), "MEMORY_MB": Inventory(1024)}
TRAITS = ("HW_CPU_X86_VMX", "HW_CPU_X86_AVX2")
WAIT_S_MAX = 60

Work = Callable[[], Any]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def run_together(
    queue: WriteQueue[Any, Any], lead: Callable[[Work], Any], works: Sequence[Work]
) -> list[Any]:
    """What each of these works gives or raises, if they come to a queue while it is led.

    ``lead`` goes through the queue and calls what it is given meanwhile.
    """
    outcomes: list[Any] = [None] * len(works)

    def do(place: int) -> None:
        try:
            outcomes[place] = works[place]()
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(works))]

    def gather() -> None:
        for number, thread in enumerate(threads, 1):
            if thread.ident is None:
                thread.start()
                wait_for(lambda number=number: len(queue) == number)  # type: ignore[misc]

    lead(gather)
    for thread in threads:
        thread.join(WAIT_S_MAX)
        assert not thread.is_alive()
    return outcomes


def together(services: Services, *works: Work) -> list[Any]:
    """What these works give or raise, written in as few transactions as the queue makes of them."""
    host = add_host(services, {})

    def lead(gather: Work) -> None:
        def decide(_shelf: Shelf) -> Decision:
            gather()
            return None, True

        request = ChangeRequest(host, Part.TRAITS, None, (), origin(), decide)
        services.providers.submit(request)

    return run_together(services.providers, lead, works)


def creation(services: Services, name: str, parent: str | None = None) -> Work:
    return lambda: create_provider(
        services, uuid=new_uuid(), name=name, parent_uuid=parent, origin=origin()
    )


def stocking(services: Services, host: str, generation: int, **stock: Inventory) -> Work:
    return lambda: set_inventories(
        services,
        provider=host,
        generation=generation,
        inventories=stock,
        reserved_may_be_total=True,
        origin=origin(),
    )


def marking(services: Services, host: str, generation: int, *traits: str) -> Work:
    return lambda: set_provider_traits(
        services, provider=host, generation=generation, traits=traits, origin=origin()
    )


def joining(services: Services, host: str, generation: int | None, *aggregates: str) -> Work:
    return lambda: set_aggregates(
        services, provider=host, aggregates=aggregates, generation=generation, origin=origin()
    )


@contextmanager
def counted_commits() -> Iterator[list[int]]:
    """How many transactions are committed meanwhile, in whatever thread."""
    counted = [0]
    send = Transaction.send

    def note(tx: Transaction, *, commit: bool = False) -> Any:
        counted[0] += commit
        return send(tx, commit=commit)

    Transaction.send = note  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        Transaction.send = send  # type: ignore[method-assign]


def kinds_of(outcomes: Sequence[Any]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


def test_requests_of_all_kinds_share_one_transaction_and_all_hold(services: Services) -> None:
    stocked, marked, joined, parent = (add_host(services, {}) for _ in range(4))
    zone = new_uuid()
    with counted_commits() as commits:
        outcomes = together(
            services,
            creation(services, "root"),
            stocking(services, stocked, 1, **STOCK),
            creation(services, "child", parent),
            marking(services, marked, 1, *TRAITS),
            joining(services, joined, 1, zone),
        )
        # The host that leads was added with two, and led with one.
        assert commits == [4]
    root, inventories, child, (generation, traits, _), aggregates_generation = outcomes
    assert isinstance(root, Provider)
    assert show_provider(services, root.uuid).root_uuid == root.uuid
    shown = show_provider(services, child.uuid)
    assert (shown.parent_uuid, shown.root_uuid, shown.id) == (parent, parent, child.id)
    assert (inventories.generation, dict(inventories.inventories)) == (2, STOCK)
    assert (generation, set(traits)) == (2, set(TRAITS))
    assert aggregates_generation == 2
    assert show_aggregates(services, joined)[:2] == (2, [zone])
    for host in (stocked, marked, joined):
        assert show_provider(services, host).generation == 2
    assert find_faults(services) == []


def test_a_refusal_harms_none_of_those_beside_it(services: Services) -> None:
    busy, sound, stale, other = (add_host(services, STOCK) for _ in range(4))
    hold(services, claim_for(new_uuid(), {busy: {"VCPU": 1}}))
    outcomes = together(
        services,
        stocking(services, busy, 2),
        stocking(services, sound, 1, VCPU=Inventory(16)),
        stocking(services, stale, 7),
        stocking(services, new_uuid(), 0),
        stocking(services, other, 1, CUSTOM_NONE=Inventory(1)),
        creation(services, "lonely", new_uuid()),
        creation(services, "sound"),
    )
    assert kinds_of(outcomes[:1]) == [InventoryInUse]
    assert outcomes[1].generation == 2
    assert kinds_of(outcomes[2:6]) == [
        ProviderGenerationConflict,
        UnknownProvider,
        UnknownResourceClass,
        UnknownParent,
    ]
    assert show_provider(services, outcomes[6].uuid).name == "sound"
    generations = [show_provider(services, host).generation for host in (busy, sound, stale, other)]
    assert generations == [2, 2, 1, 1]
    assert find_faults(services) == []


def test_of_two_requests_about_one_provider_the_second_sees_what_the_first_did(
    services: Services,
) -> None:
    host = add_host(services, {})
    outcomes = together(
        services,
        marking(services, host, 1, *TRAITS),
        joining(services, host, 1, new_uuid()),
        joining(services, host, 2, new_uuid()),
        marking(services, host, 3, "CUSTOM_NONE"),
        marking(services, host, 3),
    )
    assert outcomes[0][0] == 2
    assert isinstance(outcomes[1], ProviderGenerationConflict)
    assert outcomes[2] == 3
    assert isinstance(outcomes[3], UnknownTraits)
    assert outcomes[4][0] == 4


def test_of_two_new_providers_with_one_name_the_first_is_made(services: Services) -> None:
    outcomes = together(
        services,
        creation(services, "same"),
        creation(services, "other"),
        creation(services, "same"),
    )
    assert kinds_of(outcomes) == [Provider, Provider, DuplicateProvider]


def test_a_name_that_is_taken_is_refused_to_its_own_request_only(services: Services) -> None:
    creation(services, "taken")()
    host = add_host(services, {})
    outcomes = together(
        services,
        creation(services, "free"),
        creation(services, "taken"),
        marking(services, host, 1, *TRAITS),
    )
    assert kinds_of(outcomes[:2]) == [Provider, DuplicateProvider]
    assert outcomes[2][0] == 2


def test_a_request_that_fails_does_not_take_its_neighbours_along(services: Services) -> None:
    broken, sound = add_host(services, {}), add_host(services, {})

    def fail(_shelf: Shelf) -> Decision:
        raise ArithmeticError

    request = ChangeRequest(broken, Part.TRAITS, None, (), origin(), fail)
    outcomes = together(
        services,
        lambda: services.providers.submit(request),
        marking(services, sound, 1, *TRAITS),
    )
    assert isinstance(outcomes[0], ArithmeticError)
    assert outcomes[1][0] == 2


def test_many_requests_send_the_statements_of_one(services: Services) -> None:
    marking(services, add_host(services, {}), 1, *TRAITS)()  # the traits are learned

    def statements(count: int) -> int:
        works = [marking(services, add_host(services, {}), 1, *TRAITS) for _ in range(count)]
        works += [creation(services, new_uuid()) for _ in range(count)]
        with counted_statements(services) as sent:
            together(services, *works)
        return len(sent)

    assert statements(12) == statements(1)


def test_a_new_root_waits_for_the_database_twice(services: Services) -> None:
    assert count_sendings(creation(services, "root")) == 2
    # Its parent, itself, and the rest with the COMMIT.
    parent = add_host(services, {})
    assert count_sendings(creation(services, "child", parent)) == 3


@pytest.mark.parametrize("subjects", [1, 2, 5])
def test_everyone_in_a_queue_has_an_answer_of_its_own(subjects: int) -> None:
    """Batches of the queue itself, without a database: what comes meanwhile waits for the next."""
    batches: list[list[int]] = []
    going_on = threading.Event()

    def write(numbers: list[int]) -> list[int]:
        batches.append(numbers)
        if len(batches) == 1:
            assert going_on.wait(WAIT_S_MAX)
        return [number * 10 for number in numbers]

    # Those with the same remainder are about the same.
    queue: WriteQueue[int, int] = WriteQueue(
        write, subjects=lambda number: [str(number % subjects)]
    )
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        answers[number] = queue.submit(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(11)]
    threads[0].start()
    wait_for(lambda: bool(batches))
    for number, thread in enumerate(threads[1:], 1):
        thread.start()
        wait_for(lambda number=number: len(queue) == number)  # type: ignore[misc]
    going_on.set()
    for thread in threads:
        thread.join(WAIT_S_MAX)
    assert answers == {number: number * 10 for number in range(11)}
    assert [len(batch) for batch in batches[:3]] == [1, subjects, subjects]
