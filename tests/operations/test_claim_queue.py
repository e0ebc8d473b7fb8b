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
from moorage.domain.refusals import CapacityExceeded, ConsumerNamedTwice, StoreUnavailable
from moorage.operations.claim_queue import (
    Accepted,
    ClaimQueue,
    ClaimRequest,
    differ_in_spelling,
    write_claims,
)
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.store.store import Store
from moorage.store.transaction import Transaction
from tests.support.app import load
from tests.support.books import (
    ABSENTEE,
    add_host,
    claim_for,
    find_faults,
    open_services,
    origin,
)
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject
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


@pytest.fixture
def adopted(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> Iterator[Services]:
    """Services on tables that Placement made, which do not tell case apart on MariaDB."""
    url = fresh_database(database_kind)
    load(Subject.PEER, Deployment(tmp_path / "peer", url))
    found = open_services(url)
    yield found
    found.store.close()


def test_two_spellings_of_a_new_consumer_in_one_batch_are_decided_one_after_the_other(
    adopted: Services, database_kind: DatabaseKind
) -> None:
    host = add_host(adopted, {"VCPU": Inventory(8)})
    lower = new_uuid()
    uuids = (new_uuid(), lower, lower.upper(), new_uuid())
    first, one, two, neighbour = (claim_for(uuid, {host: {"VCPU": 1}}) for uuid in uuids)
    outcomes = submit_together(Held(adopted.store), first, [one, two, neighbour])
    assert outcomes[neighbour.consumer] is None
    told = sorted(type(outcomes[claim.consumer]).__name__ for claim in (one, two))
    is_one = database_kind is DatabaseKind.MARIADB
    assert told == ["ConsumerGenerationConflict" if is_one else "NoneType", "NoneType"]
    assert find_faults(adopted) == []


def test_neighbours_of_a_request_that_names_a_consumer_in_two_spellings_are_written_with_it(
    adopted: Services, database_kind: DatabaseKind
) -> None:
    host = add_host(adopted, {"VCPU": Inventory(8)})
    lower = new_uuid()
    before, one, two, after = (
        claim_for(uuid, {host: {"VCPU": 1}})
        for uuid in (new_uuid(), lower, lower.upper(), new_uuid())
    )
    requests = [ClaimRequest(claims, origin()) for claims in ((before,), (one, two), (after,))]
    outcomes = write_claims(adopted.store, requests, ABSENTEE)
    told = [type(outcome) for outcome in outcomes]
    is_one = database_kind is DatabaseKind.MARIADB
    assert told == [Accepted, ConsumerNamedTwice if is_one else Accepted, Accepted]
    assert find_faults(adopted) == []


def test_only_a_consumer_of_several_requests_keeps_them_apart_by_its_spellings() -> None:
    lower, other = new_uuid(), new_uuid()
    upper = lower.upper()

    def differ(*batch: Sequence[str]) -> bool:
        return differ_in_spelling(
            ClaimRequest(tuple(claim_for(uuid, {}) for uuid in uuids), origin()) for uuids in batch
        )

    assert differ([lower], [upper])
    assert differ([lower, upper], [upper])
    assert differ([lower], [lower, upper])
    assert not differ([lower, upper], [other])
    assert not differ([lower], [lower])
