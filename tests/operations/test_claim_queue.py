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


def submit_together(
    queue: ClaimQueue, claims: Sequence[ConsumerClaim]
) -> dict[str, BaseException | None]:
    """Submit each claim from a thread of its own, so that one leader takes all of them."""
    outcomes: dict[str, BaseException | None] = {}

    def submit(claim: ConsumerClaim) -> None:
        try:
            queue.submit(ClaimRequest((claim,), origin()))
            outcomes[claim.consumer] = None
        except Exception as error:
            outcomes[claim.consumer] = error

    threads = [threading.Thread(target=submit, args=(claim,)) for claim in claims]
    # As if another request were being written, which then hands the lead over.
    queue._led = True
    for thread in threads:
        thread.start()
    while len(queue) < len(claims):
        time.sleep(0.001)
    queue._waiting[0].call()
    for thread in threads:
        thread.join()
    return outcomes


class LosesCommits(Store):
    """Commits, and then does not hear so from the database."""

    runs = 0

    def run(self, attempt: Callable[[Transaction], T]) -> T:
        self.runs += 1
        super().run(attempt)
        raise StoreUnavailable(retry_after_s=1)


def test_what_may_have_been_written_is_not_written_again(services: Services) -> None:
    host = add_host(services, {"VCPU": Inventory(8)})
    store = services.store
    lossy = LosesCommits(
        writer=store.writer, reader=store.reader, dialect=store.dialect, patience=store._patience
    )
    # Before 1.28 nobody states a generation, so that a second time would do.
    claims = [claim_for(new_uuid(), {host: {"VCPU": 1}}, checks=False) for _ in range(3)]
    outcomes = submit_together(ClaimQueue(lossy, ABSENTEE), claims)
    assert [type(outcome) for outcome in outcomes.values()] == [StoreUnavailable] * 3
    assert lossy.runs == 1
    for claim in claims:
        held = show_allocations(services, claim.consumer)
        assert held is not None
        assert held.generation == 1


def test_a_fault_of_one_request_is_not_its_neighbours(services: Services) -> None:
    host = add_host(services, {"VCPU": Inventory(8)})
    good, full = (claim_for(new_uuid(), {host: {"VCPU": number}}) for number in (7, 9))
    broken = replace(claim_for(new_uuid(), {host: {"VCPU": 1}}), project_id="\ud800")
    outcomes = submit_together(services.claims, [good, broken, full])
    assert outcomes[good.consumer] is None
    assert isinstance(outcomes[full.consumer], CapacityExceeded)
    assert isinstance(outcomes[broken.consumer], UnicodeEncodeError)
    assert find_faults(services) == []
