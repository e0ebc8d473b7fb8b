"""The keeper's snapshot holds every change committed before it was asked, late numbers too."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.candidates.snapshot import Snapshot
from moorage.coherence import keeper as keeper_module
from moorage.coherence.keeper import Keeper, with_told
from moorage.domain.ids import ConsumerUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.provider import ProviderFilter
from moorage.domain.refusals import UnknownResourceClass
from moorage.domain.reshape import Reshape
from moorage.operations.create_provider import create_provider
from moorage.operations.create_resource_class import create_resource_class
from moorage.operations.delete_inventories import delete_inventories
from moorage.operations.delete_provider import delete_provider
from moorage.operations.delete_trait import delete_trait
from moorage.operations.ensure_trait import ensure_trait
from moorage.operations.find_candidates import find_candidates
from moorage.operations.list_providers import list_providers
from moorage.operations.release import release
from moorage.operations.rename_resource_class import rename_resource_class
from moorage.operations.reshape import reshape
from moorage.operations.services import Services
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.set_inventories import set_inventories
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.update_provider import update_provider
from moorage.store import following, migrate
from moorage.store.following import GAP_AGE_S_MAX, Since
from moorage.store.journal import Entry, read_news, write_journal
from moorage.store.pictures import read_picture
from moorage.store.sql import Write, query
from moorage.store.transaction import Transaction
from tests.candidates.test_changes import check_same
from tests.support.books import (
    add_host,
    claim_for,
    count_statements,
    forget_totals,
    hold,
    now,
    open_services,
    open_transaction,
    origin,
)
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

WISH = CandidatesRequest((RequestGroup("", (("VCPU", 8),)),))
STOCK = {"VCPU": Inventory(8), "MEMORY_MB": Inventory(1024)}

servers = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
    ],
)


def found(services: Services) -> int:
    return len(find_candidates(services, WISH).candidates)


def trim_journal(services: Services) -> None:
    """Delete all of the journal but its newest row."""
    services.store.run(
        lambda tx: tx.write(
            Write(
                "DELETE FROM moorage_journal WHERE id <"
                " (SELECT highest FROM (SELECT MAX(id) AS highest FROM moorage_journal) AS j)"
            )
        )
    )


def mark_of(services: Services) -> int:
    """The number of the newest row that the services' snapshot knows of."""
    return services.keeper._seen.since.mark


def test_a_search_sees_what_another_process_has_committed(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    url = fresh_database(database_kind)
    here, there = open_services(url), open_services(url)
    assert found(here) == 0
    host = add_host(there, {"VCPU": Inventory(8)})
    assert found(here) == 1
    consumer = new_uuid()
    hold(there, claim_for(consumer, {host: {"VCPU": 1}}))
    assert found(here) == 0
    hold(there, claim_for(consumer, {}, generation=1))
    assert found(here) == 1


# Following instead of loading


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Keeper]:
    """The keepers that loaded all providers, once for each time."""
    loaded: list[Keeper] = []
    load = Keeper._load

    def noted(keeper: Keeper) -> Snapshot:
        loaded.append(keeper)
        return load(keeper)

    monkeypatch.setattr(Keeper, "_load", noted)
    return loaded


def parent_of(services: Services, child: str, parent: str | None) -> None:
    update_provider(
        services,
        uuid=child,
        name=f"renamed-{child}",
        parent_uuid=parent,
        states_parent=True,
        may_reparent=True,
        origin=origin(),
    )


def changes(services: Services) -> Iterator[str]:
    """Make one change of each kind after the other, and say which it was."""
    here, there, pool = (add_host(services, STOCK) for _ in range(3))
    yield "three hosts"
    child = new_uuid()
    create_provider(services, uuid=child, name="child", parent_uuid=here, origin=origin())
    yield "a child"
    ensure_trait(services, name="CUSTOM_FAST", origin=origin())
    traits = ["MISC_SHARES_VIA_AGGREGATE", "CUSTOM_FAST"]
    set_provider_traits(services, provider=pool, generation=1, traits=traits, origin=origin())
    yield "traits, one of them new"
    common = [new_uuid(), new_uuid()]
    for provider in (here, pool):
        set_aggregates(
            services, provider=provider, aggregates=common, generation=None, origin=origin()
        )
    yield "aggregates without a generation"
    create_resource_class(services, name="CUSTOM_GPU", origin=origin())
    yield "a class that nobody has"
    set_inventories(
        services,
        provider=child,
        generation=0,
        inventories={"CUSTOM_GPU": Inventory(4)},
        reserved_may_be_total=True,
        origin=origin(),
    )
    yield "an inventory of it"
    rename_resource_class(services, name="CUSTOM_GPU", new_name="CUSTOM_TPU", origin=origin())
    yield "another name for the class"
    consumer = new_uuid()
    hold(services, claim_for(consumer, {child: {"CUSTOM_TPU": 1}, pool: {"VCPU": 2}}))
    yield "a claim"
    parent_of(services, child, there)
    yield "another tree for the child"
    parent_of(services, there, here)
    yield "a tree below another"
    kept = {"VCPU": Inventory(8), "CUSTOM_TPU": Inventory(4)}
    given = {
        ProviderUuid(child): (2, dict[str, Inventory]()),
        ProviderUuid(pool): (3, kept | STOCK),
    }
    moved = claim_for(consumer, {pool: {"VCPU": 2, "CUSTOM_TPU": 1}}, generation=1)
    reshape(services, Reshape(given, (moved,)), origin())
    yield "a reshape"
    parent_of(services, child, None)
    delete_provider(services, uuid=child, origin=origin())
    delete_inventories(services, provider=there, origin=origin())
    yield "a provider and an inventory less"
    create_provider(services, uuid=child, name="again", parent_uuid=None, origin=origin())
    yield "the provider again"
    hold(services, claim_for(consumer, {}, generation=2))
    set_provider_traits(services, provider=pool, generation=7, traits=[], origin=origin())
    delete_trait(services, name="CUSTOM_FAST", origin=origin())
    yield "a trait less"


def test_every_kind_of_change_is_followed(
    database_kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    loads: list[Keeper],
) -> None:
    url = fresh_database(database_kind)
    here, there = open_services(url), open_services(url)
    here.keeper.current()
    step_by_step = here.keeper
    for what in changes(there):
        anew = Keeper(here.store).current()
        check_same(step_by_step.current(), anew)
        assert step_by_step.current().class_ids == anew.class_ids, what
        assert step_by_step.current().trait_ids == anew.trait_ids, what
    assert loads.count(step_by_step) == 1
    here.store.close()
    there.store.close()


def test_what_a_refused_name_was_is_known_once_it_exists(services: Services) -> None:
    wish = CandidatesRequest((RequestGroup("", (("CUSTOM_GPU", 1),)),))
    with pytest.raises(UnknownResourceClass):
        find_candidates(services, wish)
    create_resource_class(services, name="CUSTOM_GPU", origin=origin())
    assert not find_candidates(services, wish).candidates


def test_a_read_after_nothing_has_changed_asks_one_question(services: Services) -> None:
    add_host(services, STOCK)
    services.keeper.current()
    snapshot = services.keeper.current()
    assert count_statements(services, services.keeper.current) == 1
    assert services.keeper.current() is snapshot


def test_a_read_after_claims_asks_one_question(services: Services) -> None:
    hosts = [add_host(services, STOCK) for _ in range(2)]
    before = services.keeper.current()
    for host in (*hosts, hosts[1]):
        hold(services, claim_for(new_uuid(), {host: {"VCPU": 1, "MEMORY_MB": 64}}))
    assert count_statements(services, services.keeper.current) == 1
    snapshot = services.keeper.current()
    assert use_of(snapshot, hosts) == [1, 2]
    assert use_of(before, hosts) == [0, 0]
    check_same(snapshot, Keeper(services.store).current())


def test_a_read_after_claims_of_an_older_version_asks_two_questions(services: Services) -> None:
    hosts = [add_host(services, STOCK) for _ in range(2)]
    services.keeper.current()
    for host in hosts:
        hold(services, claim_for(ConsumerUuid(new_uuid()), {host: {"VCPU": 1}}))
    forget_totals(services)
    # One of a newer version among them.
    hold(services, claim_for(ConsumerUuid(new_uuid()), {hosts[0]: {"VCPU": 1}}))
    assert count_statements(services, services.keeper.current) == 2
    assert use_of(services.keeper.current(), hosts) == [2, 1]


def test_of_two_totals_that_of_the_higher_generation_counts(services: Services) -> None:
    host = add_host(services, STOCK)
    services.keeper.current()
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    # As two nodes of a cluster may number their rows.
    first, second = services.store.read(
        query("SELECT j.id, j.totals FROM moorage_journal j WHERE j.totals IS NOT NULL")
    )
    assert first.totals != second.totals
    swap = Write("UPDATE moorage_journal SET totals = :totals WHERE id = :id")
    services.store.run(lambda tx: tx.write(swap, {"id": first.id, "totals": second.totals}))
    services.store.run(lambda tx: tx.write(swap, {"id": second.id, "totals": first.totals}))
    assert count_statements(services, services.keeper.current) == 1
    assert use_of(services.keeper.current(), [host]) == [3]


def test_totals_that_the_snapshot_is_ahead_of_are_left_alone(services: Services) -> None:
    host = add_host(services, STOCK)
    services.keeper.current()
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    news = read_news(services.store, Since(mark_of(services), ())).rows
    snapshot = services.keeper.current()
    (earliest,) = min(news, key=lambda item: item.id).totals or ()
    assert earliest.generation < snapshot.generation_of(snapshot.positions.get(host) or 0)
    assert use_of(with_told(snapshot, [earliest]), [host]) == [3]


def test_a_provider_whose_generation_was_never_set_is_followed(services: Services) -> None:
    host = add_host(services, STOCK)
    unset = Write("UPDATE resource_providers SET generation = NULL WHERE uuid = :uuid")
    services.store.run(lambda tx: tx.write(unset, {"uuid": host}))
    services.keeper.read_anew(services.keeper.current())
    for used in (1, 2, 3):
        hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
        assert use_of(services.keeper.current(), [host]) == [used]
    check_same(services.keeper.current(), Keeper(services.store).current())


def test_a_change_that_raises_no_generation_is_read_from_the_totals(services: Services) -> None:
    host = add_host(services, STOCK)
    services.keeper.current()
    consumers = [new_uuid() for _ in range(2)]
    for consumer in consumers:
        hold(services, claim_for(consumer, {host: {"VCPU": 1}}))
    release(services, consumer=consumers[0], origin=origin())
    assert use_of(services.keeper.current(), [host]) == [1]
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 2}}))
    release(services, consumer=consumers[1], origin=origin())
    assert use_of(services.keeper.current(), [host]) == [2]
    check_same(services.keeper.current(), Keeper(services.store).current())


def use_of(snapshot: Snapshot, hosts: Sequence[str]) -> list[int]:
    return [snapshot.resources_of(snapshot.positions.get(host) or 0)["VCPU"][1] for host in hosts]


@pytest.mark.parametrize(
    ("wishes", "seen", "questions"),
    [
        # Elsewhere: left for the next look.
        ([[(2, 1)]], [1, 0, 0, 0], 2),
        # On the same host: its total holds it already.
        ([[(0, 2)]], [3, 0, 0, 0], 2),
        # On the same host and on another one, each claim by itself.
        ([[(0, 2)], [(1, 1)]], [3, 0, 0, 0], 2),
        # One request for two consumers: it is seen as a whole.
        ([[(0, 2), (1, 1)]], [3, 1, 0, 0], 3),
        # Several, of which one leads to the other.
        ([[(0, 2), (1, 1)], [(1, 1), (2, 1)], [(3, 1)]], [3, 2, 1, 0], 3),
    ],
)
def test_what_is_claimed_between_both_questions_is_seen_as_far_as_it_bears_on_what_is_read(
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    wishes: list[list[tuple[int, int]]],
    seen: list[int],
    questions: int,
) -> None:
    hosts = [add_host(services, STOCK) for _ in range(4)]
    services.keeper.current()
    hold(services, claim_for(new_uuid(), {hosts[0]: {"VCPU": 1}}))
    forget_totals(services)
    asked = 0
    read_usages = keeper_module.read_usages

    def claim_before(*words: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            for wish in wishes:
                claims = (claim_for(new_uuid(), {hosts[at]: {"VCPU": n}}) for at, n in wish)
                hold(services, *claims)
        return read_usages(*words, **more)

    monkeypatch.setattr(keeper_module, "read_usages", claim_before)
    assert use_of(services.keeper.current(), hosts) == seen
    assert 1 + asked == questions
    everything = [
        sum(units for wish in [[(0, 1)], *wishes] for at, units in wish if at == host)
        for host in range(4)
    ]
    assert use_of(services.keeper.current(), hosts) == everything


@pytest.mark.parametrize("is_told", [True, False])
def test_a_read_after_a_claim_behind_a_missing_number_asks_one_question_more(
    services: Services, is_told: bool
) -> None:
    host = add_host(services, STOCK)
    services.keeper.current()
    hold(services, *(claim_for(new_uuid(), {host: {"VCPU": 1}}) for _ in range(2)))
    forget = Write("DELETE FROM moorage_journal WHERE id = :id")
    news = read_news(services.store, Since(mark_of(services), ())).rows
    lowest = min(item.id for item in news)
    services.store.run(lambda tx: tx.write(forget, {"id": lowest}))
    questions = 2
    if not is_told:
        forget_totals(services)
        # Where rows are counted, the missing one is asked for.
        questions = 3 if services.store.dialect.count_journal is None else 4
    assert count_statements(services, services.keeper.current) == questions
    snapshot = services.keeper.current()
    assert snapshot.resources_of(snapshot.positions.get(host) or 0)["VCPU"][1] == 2


def test_claims_in_a_journal_that_does_not_reach_back_are_no_reason_to_miss_a_change(
    services: Services, loads: list[Keeper]
) -> None:
    host = add_host(services, STOCK)
    reader = Keeper(services.store)
    reader.current()
    another = add_host(services, STOCK)
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    trim_journal(services)
    assert reader.current().positions.get(another) is not None
    assert loads.count(reader) == 2


def test_a_journal_that_does_not_reach_back_is_no_reason_to_miss_a_change(
    services: Services, loads: list[Keeper]
) -> None:
    add_host(services, STOCK)
    reader = Keeper(services.store)
    reader.current()
    host = add_host(services, STOCK)
    add_host(services, STOCK)
    trim_journal(services)
    assert reader.current().positions.get(host) is not None
    assert loads.count(reader) == 2


def test_a_recount_of_the_totals_is_seen(services: Services) -> None:
    host = add_host(services, STOCK)
    assert found(services) == 1
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    services.store.run(lambda tx: tx.write(Write("UPDATE moorage_usages SET used = 0")))
    migrate.recount(services.store, at=now())
    assert found(services) == 0


def test_more_changes_than_are_worth_following_are_loaded(
    services: Services, loads: list[Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "FOLLOWED_MIN", 2)
    services.keeper.current()
    for _ in range(3):
        add_host(services, STOCK)
    assert found(services) == 3
    assert loads.count(services.keeper) == 2


# Late numbers


def id_of(services: Services, uuid: str) -> Any:
    query = text("SELECT id FROM resource_providers WHERE uuid = :uuid")
    return services.store.read(query, {"uuid": uuid})[0].id


@servers
def test_a_claim_that_commits_after_one_with_a_higher_number_is_not_missed(
    kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    services = open_services(fresh_database(kind))
    early, late = (add_host(services, {"VCPU": Inventory(8)}) for _ in range(2))
    assert found(services) == 2
    key = id_of(services, early)
    with open_transaction(services) as tx:
        write_journal(tx, [Entry("allocation.set", early, (key,))], origin())
        used = Write("UPDATE moorage_usages SET used = 1 WHERE resource_provider_id = :key")
        tx.write(used, {"key": key})
        tx.send()
        hold(services, claim_for(new_uuid(), {late: {"VCPU": 1}}))
        assert found(services) == 1
    assert found(services) == 0
    services.store.close()


@servers
def test_a_change_that_was_under_way_while_all_was_loaded_is_not_missed(
    kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "LATEST_AT_ONCE", 2)
    services = open_services(fresh_database(kind))
    early, late = (add_host(services, {"VCPU": Inventory(8)}) for _ in range(2))
    key = id_of(services, early)
    with open_transaction(services) as tx:
        write_journal(tx, [Entry("allocation.set", early, (key,))], origin())
        used = Write("UPDATE moorage_usages SET used = 1 WHERE resource_provider_id = :key")
        tx.write(used, {"key": key})
        tx.send()
        for _ in range(5):
            hold(services, claim_for(new_uuid(), {late: {"VCPU": 1}}))
        assert found(services) == 1
    assert found(services) == 0
    services.store.close()


def test_numbers_are_missed_only_where_they_may_still_come(services: Services) -> None:
    long_ago = replace(origin(), at=now() - timedelta(seconds=2 * GAP_AGE_S_MAX))
    entries = [Entry("trait.create", "CUSTOM_A", ())] * 4

    def write(tx: Transaction) -> None:
        tx.write(Write("DELETE FROM moorage_journal"))
        write_journal(tx, entries, long_ago)
        write_journal(tx, entries, origin())

    services.store.run(write)
    mark, gaps, _ = read_picture(services.store, lambda picture: picture.since())
    assert not gaps
    delete = Write("DELETE FROM moorage_journal WHERE id IN (:old, :new)")
    services.store.run(lambda tx: tx.write(delete, {"old": mark - 6, "new": mark - 1}))
    since = read_picture(services.store, lambda picture: picture.since())
    assert (since.mark, list(since.gaps)) == (mark, [mark - 1])


def test_standard_names_of_a_newer_release_are_learned(services: Services) -> None:
    trait, resource_class = "HW_CPU_X86_AVX2", "NUMA_CORE"

    def forget(tx: Transaction) -> None:
        tx.write(Write("DELETE FROM traits WHERE name = :name"), {"name": trait})
        forget_class = Write("DELETE FROM resource_classes WHERE name = :name")
        tx.write(forget_class, {"name": resource_class})

    services.store.run(forget)
    older = services.keeper.current()
    assert trait not in older.trait_ids
    assert resource_class not in older.class_ids
    migrate.make_ready(services.store, at=now())
    newer = services.keeper.current()
    assert trait in newer.trait_ids
    assert resource_class in newer.class_ids


LATE: Sequence[tuple[str, str]] = (
    ("inventory.set", "UPDATE inventories SET total = 4 WHERE resource_provider_id = :key"),
    ("inventory.reshape", "DELETE FROM inventories WHERE resource_provider_id = :key"),
    ("provider.update", "UPDATE resource_providers SET name = 'late' WHERE id = :key"),
    (
        "traits.set",
        """INSERT INTO resource_provider_traits (trait_id, resource_provider_id)
           SELECT MIN(id), :key FROM traits""",
    ),
)


@servers
@pytest.mark.parametrize(("change", "sql"), LATE, ids=[change for change, _ in LATE])
def test_any_change_that_commits_after_one_with_a_higher_number_is_not_missed(
    kind: DatabaseKind, change: str, sql: str, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    services = open_services(fresh_database(kind))
    early, late = (add_host(services, {"VCPU": Inventory(8)}) for _ in range(2))
    services.keeper.current()
    key = id_of(services, early)
    with open_transaction(services) as tx:
        write_journal(tx, [Entry(change, early, (key,))], origin())
        tx.write(Write(sql), {"key": key})
        tx.send()
        set_provider_traits(services, provider=late, generation=1, traits=[], origin=origin())
        hold(services, claim_for(new_uuid(), {late: {"VCPU": 1}}))
        check_same(services.keeper.current(), Keeper(services.store).current())
    check_same(services.keeper.current(), Keeper(services.store).current())
    services.store.close()


@servers
def test_the_number_of_a_change_that_was_rolled_back_is_forgotten_in_time(
    kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = open_services(fresh_database(kind))
    host = add_host(services, {"VCPU": Inventory(8)})
    services.keeper.current()
    with open_transaction(services) as tx:
        write_journal(tx, [Entry("allocation.set", host, ())], origin())
        tx.send()
        tx.session.rollback()
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    assert found(services) == 0
    assert len(services.keeper._seen.since.gaps) == 1
    started = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: started + GAP_AGE_S_MAX + 5)
    assert found(services) == 0
    assert not services.keeper._seen.since.gaps
    services.store.close()


# Many at once


STUCK_S = 120


def test_whoever_waits_while_another_looks_shares_the_next_look(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_host(services, STOCK)
    services.keeper.current()
    begun, go_on = threading.Event(), threading.Event()
    looks: list[int] = []
    look = Keeper._look

    def slow(keeper: Keeper) -> Snapshot:
        looks.append(1)
        begun.set()
        assert go_on.wait(STUCK_S)
        return look(keeper)

    door = services.keeper._looks._door
    came = threading.Semaphore(0)

    class ToldOf:
        """The door of the keeper's looks, which tells when somebody has passed it."""

        def __enter__(self) -> None:
            door.acquire()

        def __exit__(self, *_: object) -> None:
            door.release()
            came.release()

    monkeypatch.setattr(Keeper, "_look", slow)
    monkeypatch.setattr(services.keeper._looks, "_door", ToldOf())
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(services.keeper.current)
        assert begun.wait(STUCK_S)
        others = [pool.submit(services.keeper.current) for _ in range(8)]
        for _ in (first, *others):
            assert came.acquire(timeout=STUCK_S)
        go_on.set()
        for waiting in (first, *others):
            waiting.result()
    assert len(looks) == 2


WATCH_PAUSE_S = 0.005
WRITERS = 4
ROUNDS = 12


def told(snapshot: Snapshot, hosts: Iterable[ProviderUuid]) -> dict[ProviderUuid, int]:
    """The units of VCPU in use on hosts that the snapshot has to know."""
    used = {}
    for host in hosts:
        position = snapshot.positions.get(host)
        assert position is not None
        used[host] = snapshot.resources_of(position)["VCPU"][1]
    return used


def test_reads_hold_every_write_acknowledged_before_they_began(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    check_that_reads_hold_every_write(fresh_database(database_kind))


def check_that_reads_hold_every_write(url: str) -> None:
    """Have threads write on one of two services, and look on both after each write."""
    here, there = open_services(url), open_services(url)
    done = threading.Event()
    seen_back: list[str] = []

    def watch() -> None:
        """A provider that was there once is there ever after: none is deleted here."""
        known: set[str] = set()
        while not done.wait(WATCH_PAUSE_S):
            found = list_providers(there, ProviderFilter())
            listed = {provider.uuid for part in found.parts() for provider in part}
            seen_back.extend(known - listed)
            known = listed

    def write(number: int) -> None:
        source = random.Random(number)
        used: dict[ProviderUuid, int] = {}
        for round_number in range(ROUNDS):
            if round_number % 3 == 0:
                used[add_host(here, STOCK)] = 0
            host = source.choice(list(used))
            if used[host] < STOCK["VCPU"].total:
                hold(here, claim_for(new_uuid(), {host: {"VCPU": 1}}))
                used[host] += 1
            for services in (here, there):
                assert told(services.keeper.current(), used) == used

    with ThreadPoolExecutor(2) as watching:
        watchers = [watching.submit(watch) for _ in range(2)]
        try:
            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(write, range(WRITERS)))
        finally:
            done.set()
    for watcher in watchers:
        watcher.result()
    assert not seen_back
    check_same(here.keeper.current(), Keeper(here.store).current())
    check_same(there.keeper.current(), Keeper(here.store).current())
    here.store.close()
    there.store.close()


@servers
def test_a_lost_connection_is_replaced(
    kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    services = open_services(fresh_database(kind))
    add_host(services, {"VCPU": Inventory(8)})
    assert found(services) == 1
    assert found(services) == 1
    end_connections(services, kind)
    add_host(services, {"VCPU": Inventory(8)})
    assert found(services) == 2
    services.store.close()


def end_connections(services: Services, kind: DatabaseKind) -> None:
    """End all connections of the database but the one that does it."""
    listed, end = {
        DatabaseKind.POSTGRESQL: (
            """SELECT pid AS id FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()""",
            "SELECT pg_terminate_backend({})",
        ),
        DatabaseKind.MARIADB: (
            """SELECT id FROM information_schema.processlist
               WHERE db = database() AND id <> connection_id()""",
            "KILL {}",
        ),
    }[kind]
    with services.store.writer.connect() as connection:
        for row in connection.execute(text(listed)).all():
            connection.execute(text(end.format(row.id)))
