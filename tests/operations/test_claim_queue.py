"""Claims that wait for each other are written together, and each is answered."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from moorage.domain.claim import ConsumerClaim
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import CapacityExceeded, StoreUnavailable
from moorage.operations.claim_queue import ClaimQueue, ClaimRequest
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.store.store import Store
from moorage.store.transaction import Transaction
from tests.support.books import (
    ABSENTEE,
    add_host,
    claim_for,
    find_faults,
    open_services,
    origin,
)
from tests.support.ids import new_uuid

T = TypeVar("T")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    found = open_services(f"sqlite:///{tmp_path}/books.db")
    yield found
    found.store.close()


class Held(Store):
    """Holds its first transaction up until others wait behind it."""

    def __init__(self, store: Store) -> None:
        super().__init__(
            writer=store.writer,
            reader=store.reader,
            dialect=store.dialect,
            patience=store._patience,
        )
        self.runs = 0
        self.begun = threading.Event()
        self.may_go_on = threading.Event()

    def run(self, attempt: Callable[[Transaction], T]) -> T:
        self.runs += 1
        if self.runs == 1:
            self.begun.set()
            self.may_go_on.wait()
        return super().run(attempt)


class LosesCommits(Held):
    """Commits all but the first, and then does not hear so from the database."""

    def run(self, attempt: Callable[[Transaction], T]) -> T:
        outcome = super().run(attempt)
        if self.runs > 1:
            raise StoreUnavailable(retry_after_s=1)
        return outcome


def submit_together(
    store: Held, first: ConsumerClaim, claims: Sequence[ConsumerClaim]
) -> dict[str, BaseException | None]:
    """Submit claims that gather while the first is written, so that they make one batch."""
    queue = ClaimQueue(store, ABSENTEE)
    outcomes: dict[str, BaseException | None] = {}

    def submit(claim: ConsumerClaim) -> None:
        try:
            queue.submit(ClaimRequest((claim,), origin()))
            outcomes[claim.consumer] = None
        except Exception as error:
            outcomes[claim.consumer] = error

    threads = [threading.Thread(target=submit, args=(claim,)) for claim in (first, *claims)]
    threads[0].start()
    store.begun.wait()
    for thread in threads[1:]:
        thread.start()
    while len(queue) < len(claims):
        time.sleep(0.001)
    store.may_go_on.set()
    for thread in threads:
        thread.join()
    assert outcomes.pop(first.consumer) is None
    return outcomes


def test_what_may_have_been_written_is_not_written_again(services: Services) -> None:
    host = add_host(services, {"VCPU": Inventory(8)})
    store = LosesCommits(services.store)
    # Before 1.28 nobody states a generation, so that a second time would do.
    first, *claims = (claim_for(new_uuid(), {host: {"VCPU": 1}}, checks=False) for _ in range(4))
    outcomes = submit_together(store, first, claims)
    assert [type(outcome) for outcome in outcomes.values()] == [StoreUnavailable] * 3
    assert store.runs == 2
    for claim in claims:
        held = show_allocations(services, claim.consumer)
        assert held is not None
        assert held.generation == 1


def test_a_fault_of_one_request_is_not_its_neighbours(services: Services) -> None:
    host = add_host(services, {"VCPU": Inventory(9)})
    first, good, full = (claim_for(new_uuid(), {host: {"VCPU": number}}) for number in (1, 7, 9))
    broken = replace(claim_for(new_uuid(), {host: {"VCPU": 1}}), project_id="\ud800")
    outcomes = submit_together(Held(services.store), first, [good, broken, full])
    assert outcomes[good.consumer] is None
    assert isinstance(outcomes[full.consumer], CapacityExceeded)
    assert isinstance(outcomes[broken.consumer], UnicodeEncodeError)
    assert find_faults(services) == []
