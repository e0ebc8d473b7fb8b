"""Moves of a Nova that knows only Placement's API, over the real application."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.operations.find_candidates import find_candidates
from moorage.serve import build_services
from moorage.settings import load_settings
from moorage.store.store import Store
from tests.moves.nova import Action, NoValidHost, Site
from tests.support.app import load, moorage_client
from tests.support.books import count_statements, find_faults, services_on
from tests.support.client import Client, over_wsgi
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject
from tests.support.world import expect, new_uuid

FLAVOR = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 20}
LARGER = {"VCPU": 2, "MEMORY_MB": 1024, "DISK_GB": 50}


@pytest.fixture
def url(database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]) -> str:
    return fresh_database(database_kind)


@pytest.fixture
def client(url: str, tmp_path: Path) -> Client:
    app = load(Subject.MOORAGE, Deployment(tmp_path / "conf", url))
    return Client(over_wsgi(app), microversion="1.39")


@pytest.fixture
def check(url: str) -> Iterator[Callable[[], None]]:
    """Finds faults in the books."""
    services = services_on(Store.open(url))

    def check() -> None:
        assert find_faults(services) == []

    yield check
    services.store.close()


@pytest.fixture
def site(client: Client) -> Site:
    return Site.build(client, disk=100)


def footprint(site: Site) -> set[int]:
    """What the pool's usage is, whoever tells it."""
    return {site.pool_used(), site.project_used(), site.summarized()}


def begin(site: Site, instance: str, flavor: dict[str, int] = FLAVOR) -> tuple[Action, str]:
    """A cold migration or a resize up to the claim on the second host."""
    action, migration = site.action(), new_uuid()
    expect(action.give(instance, migration))
    action.schedule(instance, flavor, site.hosts[1])
    return action, migration


def test_a_cold_migration_is_confirmed(site: Site, check: Callable[[], None]) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    assert footprint(site) == {20}
    action, migration = site.action(), new_uuid()
    source, _ = action.held_by(instance)
    expect(action.give(instance, migration))
    assert footprint(site) == {20}
    action.schedule(instance, FLAVOR, site.hosts[1])
    assert footprint(site) == {20}
    assert action.held_by(migration)[0] == source
    destination = {site.hosts[1]: {"MEMORY_MB": 512, "VCPU": 1}, site.pool: {"DISK_GB": 20}}
    assert action.held_by(instance)[0] == destination
    assert [site.used(host)["VCPU"] for host in site.hosts] == [1, 1]
    check()
    expect(site.action().drop(migration))
    assert footprint(site) == {20}
    assert [site.used(host)["VCPU"] for host in site.hosts] == [0, 1]
    check()


def test_a_cold_migration_is_reverted(site: Site, check: Callable[[], None]) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    source, _ = site.action().held_by(instance)
    _, migration = begin(site, instance)
    assert footprint(site) == {20}
    expect(site.action().give(migration, instance))
    assert footprint(site) == {20}
    assert site.action().held_by(instance)[0] == source
    assert site.action().held_by(migration)[0] == {}
    check()


def test_a_live_migration_ends_with_its_own_request_id(
    site: Site, check: Callable[[], None]
) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    action, migration = site.action(), new_uuid()
    expect(action.give(instance, migration))
    action.schedule(instance, FLAVOR, site.hosts[1])
    expect(action.drop(migration))
    assert footprint(site) == {20}
    check()


def test_a_live_migration_fails_and_goes_back(site: Site, check: Callable[[], None]) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    source, _ = site.action().held_by(instance)
    action, migration = begin(site, instance)
    expect(action.give(migration, instance))
    assert (footprint(site), site.action().held_by(instance)[0]) == ({20}, source)
    check()


def test_a_move_for_which_there_is_no_host_goes_back(site: Site, check: Callable[[], None]) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    source, _ = site.action().held_by(instance)
    action, migration = site.action(), new_uuid()
    expect(action.give(instance, migration))
    with pytest.raises(NoValidHost):
        action.schedule(instance, FLAVOR | {"VCPU": 65}, site.hosts[1])
    expect(action.give(migration, instance))
    assert (footprint(site), site.action().held_by(instance)[0]) == ({20}, source)
    check()


def test_a_rescheduled_move_takes_the_same_way_again(site: Site, check: Callable[[], None]) -> None:
    """The destination fails: all goes back, and is given to the same migration once more."""
    instance = site.boot(FLAVOR, site.hosts[0])
    action, migration = begin(site, instance)
    expect(action.give(migration, instance))
    assert footprint(site) == {20}
    expect(action.give(instance, migration))
    action.schedule(instance, FLAVOR, site.hosts[1])
    assert footprint(site) == {20}
    expect(site.action().drop(migration))
    assert footprint(site) == {20}
    check()


@pytest.mark.parametrize(("old", "new"), [(FLAVOR, LARGER), (LARGER, FLAVOR)])
@pytest.mark.parametrize("ends", ["confirm", "revert"])
def test_a_resize_has_the_larger_of_both_while_it_is_open(
    site: Site,
    check: Callable[[], None],
    old: dict[str, int],
    new: dict[str, int],
    ends: str,
) -> None:
    instance = site.boot(old, site.hosts[0])
    assert footprint(site) == {old["DISK_GB"]}
    _, migration = begin(site, instance, new)
    assert footprint(site) == {max(old["DISK_GB"], new["DISK_GB"])}
    check()
    if ends == "confirm":
        expect(site.action().drop(migration))
    else:
        expect(site.action().give(migration, instance))
    left = new if ends == "confirm" else old
    assert footprint(site) == {left["DISK_GB"]}
    check()


def test_a_resize_on_its_own_host_has_both_sizes_there(
    site: Site, check: Callable[[], None]
) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    action, migration = site.action(), new_uuid()
    expect(action.give(instance, migration))
    action.schedule(instance, LARGER, site.hosts[0])
    assert site.used(site.hosts[0]) == {"VCPU": 3, "MEMORY_MB": 1536}
    assert footprint(site) == {50}
    expect(site.action().drop(migration))
    assert site.used(site.hosts[0]) == {"VCPU": 2, "MEMORY_MB": 1024}
    assert footprint(site) == {50}
    check()


def test_an_evacuation_names_the_pool_once(site: Site, check: Callable[[], None]) -> None:
    """Both hosts are the instance's until the first one comes back."""
    instance = site.boot(FLAVOR, site.hosts[0])
    action = site.action()
    held, _ = action.held_by(instance)
    both = held | {site.hosts[1]: {"VCPU": 1, "MEMORY_MB": 512}}
    expect(action.claim(instance, both))
    assert footprint(site) == {20}
    left = {site.hosts[1]: both[site.hosts[1]], site.pool: {"DISK_GB": 20}}
    expect(site.action().claim(instance, left))
    assert footprint(site) == {20}
    assert site.used(site.hosts[0])["VCPU"] == 0
    check()


def test_an_instance_that_is_deleted_in_a_move_leaves_nothing(
    site: Site, check: Callable[[], None]
) -> None:
    instance = site.boot(FLAVOR, site.hosts[0])
    _, migration = begin(site, instance)
    expect(site.action().send("DELETE", f"/allocations/{instance}", "1.28"))
    assert footprint(site) == {20}
    check()
    expect(site.action().drop(migration))
    assert footprint(site) == {0}
    check()


def test_several_moves_at_once_share_a_pool(client: Client, check: Callable[[], None]) -> None:
    """A host is emptied: one user action, and so one request id, for all of its instances."""
    site = Site.build(client, disk=100)
    instances = [site.boot(FLAVOR, site.hosts[0]) for _ in range(5)]
    assert footprint_of_a_full(site) == {100}
    action = site.action()
    migrations = [new_uuid() for _ in instances]
    for instance, migration in zip(instances, migrations, strict=True):
        expect(action.give(instance, migration))
    for instance in reversed(instances):
        action.schedule(instance, FLAVOR, site.hosts[1])
        assert footprint_of_a_full(site) == {100}
    check()
    with pytest.raises(NoValidHost):
        site.boot(FLAVOR, site.hosts[1])
    for migration in migrations:
        expect(action.drop(migration))
        assert footprint_of_a_full(site) == {100}
    check()


def footprint_of_a_full(site: Site) -> set[int]:
    return {site.pool_used(), site.project_used()}


def test_under_one_request_id_a_search_sees_free_what_its_own_move_has(client: Client) -> None:
    """Of two moves of a request, the one that has as much as is asked for counts."""
    site = Site.build(client, disk=70)
    large, small = site.boot(LARGER, site.hosts[0]), site.boot(FLAVOR, site.hosts[0])
    action = site.action()
    for instance in (large, small):
        expect(action.give(instance, new_uuid()))
    assert action.search(FLAVOR).json["allocation_requests"]
    assert action.search(LARGER).json["allocation_requests"]
    assert not action.search(FLAVOR | {"DISK_GB": 51}).json["allocation_requests"]
    assert not site.action().search(FLAVOR).json["allocation_requests"]
    assert not Action(site.client, None).search(FLAVOR).json["allocation_requests"]
    summary = action.search(FLAVOR).json["provider_summaries"][site.pool]
    assert summary["resources"]["DISK_GB"] == {"capacity": 70, "used": 70}
    action.schedule(large, LARGER, site.hosts[1])
    assert not action.search(LARGER).json["allocation_requests"]
    action.schedule(small, FLAVOR, site.hosts[1])
    assert not action.search(FLAVOR).json["allocation_requests"]


def test_a_search_that_moves_nothing_asks_nothing_about_moves(client: Client, url: str) -> None:
    """The look for moves costs a look-up, whether or not others have moves open."""
    site = Site.build(client, disk=100)
    services = services_on(Store.open(url))
    wish = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))

    def search(request_id: str | None) -> int:
        return count_statements(
            services,
            lambda: find_candidates(services, wish, global_request_id=request_id).candidates,
        )

    for _ in range(2):
        search(None)  # opens what is kept open
    alone = search("req-1")
    instance = site.boot(FLAVOR, site.hosts[0])
    action = site.action()
    expect(action.give(instance, new_uuid()))
    search(None)  # takes in what is new
    assert search("req-1") == search(None) == alone
    assert search(action.request_id) == alone + 1
    services.store.close()


def test_another_process_hears_of_moves(client: Client, url: str, tmp_path: Path) -> None:
    site = Site.build(client, disk=20)
    other = Client(
        over_wsgi(load(Subject.MOORAGE, Deployment(tmp_path / "other", url))), microversion="1.39"
    )
    instance = site.boot(FLAVOR, site.hosts[0])
    action, migration = site.action(), new_uuid()
    elsewhere = Action(other, action.request_id)
    assert not elsewhere.search(FLAVOR).json["allocation_requests"]
    expect(action.give(instance, migration))
    assert elsewhere.search(FLAVOR).json["allocation_requests"]
    expect(action.give(migration, instance))
    assert not elsewhere.search(FLAVOR).json["allocation_requests"]
    expect(action.give(instance, migration))
    late = Client(
        over_wsgi(load(Subject.MOORAGE, Deployment(tmp_path / "late", url))), microversion="1.39"
    )
    assert Action(late, action.request_id).search(FLAVOR).json["allocation_requests"]
    elsewhere.schedule(instance, FLAVOR, site.hosts[1])
    assert site.pool_used() == 20


def test_clients_without_request_ids_are_credited_too(client: Client) -> None:
    """On a pool with room: a search without an id cannot be told whose it is."""
    site = Site.build(client, disk=40)
    instance = site.boot(FLAVOR, site.hosts[0])
    action = Action(site.client, None)
    expect(action.give(instance, new_uuid()))
    action.schedule(instance, FLAVOR, site.hosts[1])
    assert site.pool_used() == 20


def test_moves_are_not_observed_where_the_site_does_not_want_it(tmp_path: Path) -> None:
    client = moorage_client(tmp_path, options={"moorage": {"observe_moves": False}})
    site = Site.build(client, disk=100)
    instance = site.boot(FLAVOR, site.hosts[0])
    begin(site, instance)
    assert footprint(site) == {40}


def test_the_window_of_clients_without_ids_is_configured(tmp_path: Path) -> None:
    conf = Deployment(
        tmp_path, f"sqlite:///{tmp_path}/books.db", {"moorage": {"observe_window_s": 7}}
    ).write(Subject.MOORAGE)
    settings = load_settings(config_files=[conf]).settings
    services = build_services(Store.open(settings.database.url), settings)
    assert services.rules.moves == services.claims.moves
    assert (services.rules.moves.observe, services.rules.moves.window_s) == (True, 7)


NEARLY_FULL = 100
"""A pool of which 95 are in use, 57 of them by the instance that is going to move."""


def nearly_full(client: Client) -> tuple[Site, str]:
    site = Site.build(client, disk=NEARLY_FULL)
    site.boot(FLAVOR | {"DISK_GB": 38}, site.hosts[0])
    instance = site.boot(FLAVOR | {"DISK_GB": 57}, site.hosts[0])
    assert site.pool_used() == 95
    return site, instance


def client_of(subject: Subject, directory: Path) -> Client:
    return moorage_client(directory / subject.value, subject=subject)


def test_placement_refuses_a_migration_that_needs_nothing_of_a_nearly_full_pool(
    tmp_path: Path,
) -> None:
    """The fault that this is all about, as openstack-placement has it."""
    site, instance = nearly_full(client_of(Subject.PEER, tmp_path))
    action, migration = site.action(), new_uuid()
    expect(action.give(instance, migration))
    with pytest.raises(NoValidHost) as refused:
        action.schedule(instance, FLAVOR | {"DISK_GB": 57}, site.hosts[1])
    assert refused.value.answer.json["allocation_requests"] == []
    # Nor could the destination be claimed by someone who knew it.
    wanted = {site.hosts[1]: {"VCPU": 1, "MEMORY_MB": 512}, site.pool: {"DISK_GB": 57}}
    answer = action.claim(instance, wanted)
    assert answer.status == 409
    assert "capacity" in answer.text


def test_the_same_migration_is_done_here_and_the_pool_stays_as_it_is(tmp_path: Path) -> None:
    site, instance = nearly_full(client_of(Subject.MOORAGE, tmp_path))
    action, migration = site.action(), new_uuid()
    sampled = [footprint(site)]
    expect(action.give(instance, migration))
    sampled.append(footprint(site))
    action.schedule(instance, FLAVOR | {"DISK_GB": 57}, site.hosts[1])
    sampled.append(footprint(site))
    expect(site.action().drop(migration))
    sampled.append(footprint(site))
    assert sampled == [{95}] * 4


def test_placement_counts_a_pool_twice_while_a_move_is_open(tmp_path: Path) -> None:
    site = Site.build(client_of(Subject.PEER, tmp_path), disk=100)
    instance = site.boot(FLAVOR, site.hosts[0])
    begin(site, instance)
    assert site.pool_used() == 40
