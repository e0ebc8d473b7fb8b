"""Random work on the books: after every step they are what a plain model says, without fault."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from moorage.domain.ids import ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import Refusal
from moorage.domain.reshape import Reshape
from moorage.operations.release import release
from moorage.operations.reshape import reshape
from moorage.operations.services import Services
from moorage.operations.set_inventories import set_inventories
from moorage.operations.show_allocations import show_allocations
from moorage.operations.show_provider import show_provider
from moorage.operations.show_usages import show_usages
from tests.support.books import (
    add_host,
    claim_for,
    find_faults,
    hold,
    open_services,
    origin,
)
from tests.support.ids import new_uuid

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")
CASES = int(os.environ.get("MOORAGE_CASES", "20"))

consumers = st.integers(0, 3)
hosts = st.integers(0, 2)
amounts = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 6), min_size=1)
wishes = st.dictionaries(hosts, amounts, max_size=2)


class Books(RuleBasedStateMachine):
    """The service on one SQLite file beside a dictionary of who holds what."""

    services: Services

    def __init__(self) -> None:
        super().__init__()
        self.hosts = [
            add_host(self.services, {name: Inventory(10) for name in CLASSES}) for _ in range(3)
        ]
        self.consumers = [new_uuid() for _ in range(4)]
        self.totals = {(host, name): 10 for host in self.hosts for name in CLASSES}
        self.held: dict[str, dict[str, dict[str, int]]] = {}
        self.generations = Counter(dict.fromkeys(self.hosts, 0))

    def _resources(self, wish: dict[int, dict[str, int]]) -> dict[str, dict[str, int]]:
        return {self.hosts[place]: held for place, held in wish.items()}

    def _used(self, held: dict[str, dict[str, dict[str, int]]]) -> Counter[tuple[str, str]]:
        used: Counter[tuple[str, str]] = Counter()
        for resources in held.values():
            for host, amounts_held in resources.items():
                for name, amount in amounts_held.items():
                    used[host, name] += amount
        return used

    def _fits(
        self, after: dict[str, dict[str, dict[str, int]]], asked: set[tuple[str, str]]
    ) -> bool:
        before, later = self._used(self.held), self._used(after)
        return all(
            slot in self.totals
            and (later[slot] <= self.totals[slot] or later[slot] <= before[slot])
            for slot in asked
        )

    def _generation(self, consumer: str) -> int | None:
        found = show_allocations(self.services, consumer)
        return None if found is None else found.generation

    @rule(wanted=st.dictionaries(consumers, wishes, min_size=1, max_size=3))
    def claim(self, wanted: dict[int, dict[int, dict[str, int]]]) -> None:
        resources = {self.consumers[place]: self._resources(wish) for place, wish in wanted.items()}
        asked = {
            (host, name)
            for held in resources.values()
            for host, amounts_held in held.items()
            for name in amounts_held
        }
        after = {**self.held, **resources}
        after = {consumer: held for consumer, held in after.items() if held}
        claims = [
            claim_for(consumer, held, generation=self._generation(consumer))
            for consumer, held in resources.items()
        ]
        try:
            hold(self.services, *claims)
        except Refusal:
            assert not self._fits(after, asked)
        else:
            assert self._fits(after, asked)
            self.held = after

    @rule(place=consumers)
    def release(self, place: int) -> None:
        consumer = self.consumers[place]
        try:
            release(self.services, consumer=consumer, origin=origin())
        except Refusal:
            assert consumer not in self.held
        else:
            del self.held[consumer]

    @rule(place=hosts, totals=st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 12)))
    def set_inventories(self, place: int, totals: dict[str, int]) -> None:
        host = self.hosts[place]
        used = self._used(self.held)
        in_use = any(used[host, name] for name in CLASSES if name not in totals)
        try:
            set_inventories(
                self.services,
                provider=host,
                generation=show_provider(self.services, host).generation,
                inventories={name: Inventory(total) for name, total in totals.items()},
                reserved_may_be_total=True,
                origin=origin(),
            )
        except Refusal:
            assert in_use
        else:
            assert not in_use
            self._take_totals(host, totals)

    @rule(one_place=hosts, other_place=hosts)
    def reshape(self, one_place: int, other_place: int) -> None:
        """Move everything that one host holds to another, inventories and allocations."""
        one, other = self.hosts[one_place], self.hosts[other_place]
        moving = {name: total for (host, name), total in self.totals.items() if host == one}
        if one == other or not moving:
            return
        staying = {name: total for (host, name), total in self.totals.items() if host == other}
        totals = {name: moving.get(name, 0) + staying.get(name, 0) for name in moving | staying}
        after = {consumer: self._moved(held, one, other) for consumer, held in self.held.items()}
        changed = [consumer for consumer, held in self.held.items() if one in held]
        request = Reshape(
            inventories={
                ProviderUuid(one): (show_provider(self.services, one).generation, {}),
                ProviderUuid(other): (
                    show_provider(self.services, other).generation,
                    {name: Inventory(total) for name, total in totals.items()},
                ),
            },
            claims=tuple(
                claim_for(consumer, after[consumer], generation=self._generation(consumer))
                for consumer in changed
            ),
        )
        asked = {(other, name) for c in changed for name in after[c].get(other, {})}
        old_totals = dict(self.totals)
        self._take_totals(other, totals)
        fits = self._fits(after, asked)
        self.totals = old_totals
        try:
            reshape(self.services, request, origin())
        except Refusal:
            assert not fits
        else:
            assert fits
            self._take_totals(one, {})
            self._take_totals(other, totals)
            self.held = after

    def _take_totals(self, host: str, totals: dict[str, int]) -> None:
        self.totals = {slot: total for slot, total in self.totals.items() if slot[0] != host}
        self.totals |= {(host, name): total for name, total in totals.items()}

    def _moved(
        self, held: dict[str, dict[str, int]], one: str, other: str
    ) -> dict[str, dict[str, int]]:
        if one not in held:
            return held
        together = Counter(held[one]) + Counter(held.get(other, {}))
        rest = {host: amounts_held for host, amounts_held in held.items() if host != one}
        return rest | {other: dict(together)}

    @invariant()
    def everyone_holds_what_was_granted(self) -> None:
        for consumer, resources in self.held.items():
            found = show_allocations(self.services, consumer)
            assert found is not None
            assert {host: dict(held[1]) for host, held in found.resources.items()} == resources

    @invariant()
    def usages_are_what_is_held(self) -> None:
        used = self._used(self.held)
        for host in self.hosts:
            assert show_usages(self.services, host).used == {
                name: used[host, name] for at, name in self.totals if at == host
            }

    @invariant()
    def generations_grow(self) -> None:
        for host in self.hosts:
            generation = show_provider(self.services, host).generation
            assert generation >= self.generations[host]
            self.generations[host] = generation

    @invariant()
    def the_books_have_no_fault(self) -> None:
        assert find_faults(self.services) == []


@pytest.fixture
def services(tmp_path: object) -> Iterator[Services]:
    found = open_services(f"sqlite:///{tmp_path}/books.db")
    yield found
    found.store.close()


def test_random_work_keeps_the_books_true(services: Services) -> None:
    machine = type("BooksOnServices", (Books,), {"services": services})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=CASES,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
