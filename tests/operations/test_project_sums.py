"""Sums that are followed from the journal are what the database adds up, in every process."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from moorage.coherence import project_sums
from moorage.coherence.project_sums import SILENCE_S_MAX, ProjectSums, SumsEvidence
from moorage.domain.claim import ConsumerClaim
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import Refusal
from moorage.operations.claim_queue import ClaimRequest, write_claims
from moorage.operations.create_resource_class import create_resource_class
from moorage.operations.release import release
from moorage.operations.rename_resource_class import rename_resource_class
from moorage.operations.services import Services
from moorage.operations.show_allocations import show_allocations
from moorage.operations.sum_usages import sum_usages
from moorage.operations.sum_usages_by_type import sum_usages_by_type
from moorage.store.journal import Entry, write_journal
from tests.support.books import (
    ABSENTEE,
    add_host,
    claim_for,
    count_statements,
    hold,
    open_services,
    open_transaction,
    origin,
    share,
)
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

CASES = int(os.environ.get("MOORAGE_CASES", "15"))
CLASSES = ("VCPU", "MEMORY_MB", "CUSTOM_OLD")
PROJECTS = ("p1", "p2", "p3")
USERS = ("u1", "u2")

Sums = dict[str | None, tuple[int, dict[str, int]]]
"""By type of consumer: how many, and what they hold."""


def added_up(services: Services, project: str, user: str | None) -> Sums:
    """What the database says, asked in the plainest way."""
    rows = services.store.read(
        text(
            """SELECT ct.name AS kind, c.uuid, rc.name AS class_name, a.used
               FROM allocations a
               JOIN consumers c ON c.uuid = a.consumer_id
               JOIN projects p ON p.id = c.project_id
               JOIN users u ON u.id = c.user_id
               JOIN resource_classes rc ON rc.id = a.resource_class_id
               LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
               WHERE p.external_id = :project AND (u.external_id = :user OR :anyone = 1)"""
        ),
        {"project": project, "user": user or "", "anyone": int(user is None)},
    )
    taken_off = services.store.read(
        text(
            """SELECT ct.name AS kind, rc.name AS class_name, k.used
               FROM moorage_credits k
               JOIN moorage_moves m ON m.uuid = k.move
               JOIN consumers c ON c.uuid = m.hold
               JOIN projects p ON p.id = c.project_id
               JOIN users u ON u.id = c.user_id
               JOIN resource_classes rc ON rc.id = k.resource_class_id
               LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
               WHERE p.external_id = :project AND (u.external_id = :user OR :anyone = 1)"""
        ),
        {"project": project, "user": user or "", "anyone": int(user is None)},
    )
    sums: Sums = {}
    for kind in {row.kind for row in rows}:
        held: dict[str, int] = {}
        mine = [row for row in rows if row.kind == kind]
        for row in mine:
            held[row.class_name] = held.get(row.class_name, 0) + row.used
        for row in taken_off:
            if row.kind == kind:
                held[row.class_name] -= row.used
        count = len({row.uuid for row in mine})
        sums[kind] = count, {name: used for name, used in held.items() if used}
    return sums


def followed(services: Services, project: str, user: str | None = None) -> Sums:
    groups = services.sums.of(project, user_id=user)
    return {kind: (group.consumer_count, dict(group.used)) for kind, group in groups.items()}


def told(services: Services) -> None:
    for project in PROJECTS:
        for user in (None, *USERS):
            assert followed(services, project, user) == added_up(services, project, user)


class Sites(RuleBasedStateMachine):
    """Two processes on one database; one of them asks at every step, the other now and then."""

    here: Services
    there: Services

    def __init__(self) -> None:
        super().__init__()
        self.names = list(CLASSES)
        # The file is that of the last run: its own class may have been renamed there.
        self.names[2] = f"CUSTOM_{new_uuid().replace('-', '').upper()}"
        create_resource_class(self.here, name=self.names[2], origin=origin())
        self.hosts = [
            add_host(self.there, {name: Inventory(9) for name in self.names}) for _ in range(2)
        ]
        share(self.there, self.hosts[1])
        self.consumers = [new_uuid() for _ in range(4)]
        self.evidence: dict[tuple[str, str | None], tuple[SumsEvidence | None, Sums]] = {}

    def _claim(self, place: int, wish: dict[int, dict[int, int]], owner: Any) -> ConsumerClaim:
        consumer = self.consumers[place]
        found = show_allocations(self.here, consumer)
        project, user, kind = owner
        held = {
            self.hosts[host]: {self.names[name]: amount for name, amount in amounts.items()}
            for host, amounts in wish.items()
        }
        claim = claim_for(consumer, held, generation=None if found is None else found.generation)
        return replace(claim, project_id=project, user_id=user, consumer_type=kind)

    wishes = st.dictionaries(
        st.integers(0, 1),
        st.dictionaries(st.integers(0, 2), st.integers(1, 4), min_size=1),
        max_size=2,
    )
    owners = st.tuples(
        st.sampled_from(PROJECTS), st.sampled_from(USERS), st.sampled_from([None, "A", "B"])
    )

    @rule(place=st.integers(0, 3), wish=wishes, owner=owners, at_once=st.booleans())
    def claim_here(self, place: int, wish: Any, owner: Any, at_once: bool) -> None:
        services = self.there if at_once else self.here
        try:
            hold(services, self._claim(place, wish, owner))
        except Refusal:
            return

    @rule(pairs=st.lists(st.tuples(st.integers(0, 3), wishes, owners), min_size=2, max_size=4))
    def claim_together(self, pairs: list[Any]) -> None:
        requests = [ClaimRequest((self._claim(*pair),), origin()) for pair in pairs]
        write_claims(self.there.store, requests, ABSENTEE)

    @rule(place=st.integers(0, 3))
    def give_up(self, place: int) -> None:
        try:
            release(self.there, consumer=self.consumers[place], origin=origin())
        except Refusal:
            return

    @rule(giver=st.integers(0, 3), taker=st.integers(0, 3))
    def swap(self, giver: int, taker: int) -> None:
        """A move begins or is reverted, if the taker is new; its claims are credited."""
        found = show_allocations(self.here, self.consumers[giver])
        if found is None or giver == taker:
            return
        owner = found.project_id, found.user_id, found.consumer_type
        held = {host: dict(amounts) for host, (_, amounts) in found.resources.items()}
        taking = replace(self._claim(taker, {}, owner), resources=held)
        try:
            hold(self.there, self._claim(giver, {}, owner), taking)
        except Refusal:
            return

    @rule()
    def rename(self) -> None:
        new_name = f"CUSTOM_{new_uuid().replace('-', '').upper()}"
        rename_resource_class(self.there, name=self.names[2], new_name=new_name, origin=origin())
        self.names[2] = new_name

    @rule()
    def ask_there(self) -> None:
        told(self.there)

    @invariant()
    def sums_whose_evidence_stands_are_right(self) -> None:
        for (project, user), (evidence, sums) in self.evidence.items():
            if evidence is not None and self.here.sums.still(evidence):
                assert sums == added_up(self.here, project, user)
        self.evidence = {
            (project, user): (
                self.here.sums.evidence_of(project),
                followed(self.here, project, user),
            )
            for project in PROJECTS
            for user in (None, *USERS)
        }

    @invariant()
    def sums_are_right_here(self) -> None:
        told(self.here)


@pytest.mark.parametrize(("projects_max", "changes_max"), [(1_000, 5_000), (2, 3)])
def test_sums_are_what_the_database_adds_up(
    fresh_database: Callable[[DatabaseKind], str],
    monkeypatch: pytest.MonkeyPatch,
    projects_max: int,
    changes_max: int,
) -> None:
    monkeypatch.setattr(project_sums, "PROJECTS_MAX", projects_max)
    monkeypatch.setattr(project_sums, "CHANGES_MAX", changes_max)
    url = fresh_database(DatabaseKind.SQLITE)
    Sites.here, Sites.there = open_services(url), open_services(url)
    run_state_machine_as_test(
        Sites,
        settings=settings(
            max_examples=CASES,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    Sites.here.store.close()
    Sites.there.store.close()


@pytest.fixture
def pair(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> Iterator[tuple[Services, Services]]:
    url = fresh_database(database_kind)
    here, there = open_services(url), open_services(url)
    yield here, there
    here.store.close()
    there.store.close()


def test_evidence_stands_until_the_project_changes_whoever_changes_it(
    pair: tuple[Services, Services],
) -> None:
    here, there = pair
    host = add_host(there, {"VCPU": Inventory(9)})
    hold(there, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    assert here.sums.evidence_of("project") is None
    followed(here, "project")
    evidence = here.sums.evidence_of("project")
    assert evidence is not None
    assert here.sums.still(evidence)
    hold(there, replace(claim_for(new_uuid(), {host: {"VCPU": 1}}), project_id="other"))
    assert here.sums.still(evidence)
    hold(there, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    assert not here.sums.still(evidence)


def test_sums_hold_what_another_process_has_committed(pair: tuple[Services, Services]) -> None:
    here, there = pair
    host = add_host(there, {"VCPU": Inventory(8), "DISK_GB": Inventory(90)})
    first, second = new_uuid(), new_uuid()
    hold(there, claim_for(first, {host: {"VCPU": 2}}))
    assert sum_usages(here, project_id="project", user_id=None) == {"VCPU": 2}
    hold(there, claim_for(second, {host: {"VCPU": 1, "DISK_GB": 5}}))
    assert sum_usages(here, project_id="project", user_id="user") == {"VCPU": 3, "DISK_GB": 5}
    release(there, consumer=first, origin=origin())
    assert sum_usages(here, project_id="project", user_id=None) == {"VCPU": 1, "DISK_GB": 5}
    assert sum_usages(here, project_id="project", user_id="nobody") == {}
    groups = sum_usages_by_type(here, project_id="project", user_id=None, consumer_type=None)
    assert [(group.consumer_type, group.consumer_count) for group in groups] == [("INSTANCE", 1)]


def test_consumers_that_no_journal_row_tells_of_are_added_up(
    pair: tuple[Services, Services],
) -> None:
    here, there = pair
    host = add_host(there, {"VCPU": Inventory(8)})
    adopted = new_uuid()
    hold(there, claim_for(adopted, {host: {"VCPU": 2}}))
    with there.store.writer.begin() as connection:
        connection.execute(text("DELETE FROM moorage_journal"))
    assert sum_usages(here, project_id="project", user_id=None) == {"VCPU": 2}
    hold(there, claim_for(adopted, {host: {"VCPU": 5}}, generation=1))
    assert sum_usages(here, project_id="project", user_id=None) == {"VCPU": 5}


def test_following_costs_one_statement_and_loading_a_fixed_number(
    pair: tuple[Services, Services],
) -> None:
    here, there = pair
    host = add_host(there, {"VCPU": Inventory(80)})

    def ask() -> object:
        return sum_usages(here, project_id="project", user_id=None)

    hold(there, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    ask()
    for _ in range(3):
        hold(there, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    assert count_statements(here, ask) == 1
    assert count_statements(here, ask) == 1


def test_sums_that_nobody_asked_for_long_are_added_up_anew(
    pair: tuple[Services, Services],
) -> None:
    here, there = pair
    now_s = [0.0]
    sums = ProjectSums(here.store, clock_s=lambda: now_s[0])
    host = add_host(there, {"VCPU": Inventory(80)})
    hold(there, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    assert sums.of("project", user_id=None)["INSTANCE"].used == {"VCPU": 2}
    hold(there, claim_for(new_uuid(), {host: {"VCPU": 3}}))
    with there.store.writer.begin() as connection:
        connection.execute(text("DELETE FROM moorage_journal"))
    now_s[0] = SILENCE_S_MAX + 1
    assert sums.of("project", user_id=None)["INSTANCE"].used == {"VCPU": 5}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
    ],
)
@pytest.mark.parametrize("known_before", [True, False])
def test_a_change_that_commits_after_one_with_a_higher_number_is_not_missed(
    kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], known_before: bool
) -> None:
    services = open_services(fresh_database(kind))
    host = add_host(services, {"VCPU": Inventory(80)})
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    if known_before:
        assert sum_usages(services, project_id="project", user_id=None) == {"VCPU": 1}
    late = {
        "resources": {host: {"VCPU": 10}},
        "project_id": "project",
        "user_id": "user",
        "generation": 1,
        "consumer_type": "INSTANCE",
    }
    with open_transaction(services) as tx:
        write_journal(tx, [Entry("allocation.set", new_uuid(), (), None, late)], origin())
        tx.send()
        hold(services, claim_for(new_uuid(), {host: {"VCPU": 2}}))
        assert sum_usages(services, project_id="project", user_id=None) == {"VCPU": 3}
    # Only the journal tells of it: the sums must have come from there.
    assert sum_usages(services, project_id="project", user_id=None) == {"VCPU": 13}
    services.store.close()
