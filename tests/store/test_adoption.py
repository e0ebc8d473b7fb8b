"""A site's Placement database becomes Moorage's, and can become Placement's again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from moorage.domain.inventory import Inventory
from moorage.store import migrate
from moorage.store.store import Store
from tests.support.app import load
from tests.support.books import (
    add_host,
    claim_for,
    find_faults,
    hold,
    now,
    open_services,
    services_on,
)
from tests.support.client import Answer, Client, over_wsgi
from tests.support.databases import DatabaseKind
from tests.support.deployments import Deployment, Subject
from tests.support.ids import new_uuid

HOST = "6a1f0d4e-7c1c-4d7e-9a55-0a3f5d3b9c01"
INSTANCE = "0f2cbb7e-2e0c-4f0a-8f0e-3c4b0f9a7d02"
OTHER = "1b7a8e52-55aa-4f5d-a0a6-9b8d7c6e5f03"


def client(subject: Subject, url: str, directory: Path) -> Client:
    app = load(subject, Deployment(directory / subject.value, url))
    return Client(over_wsgi(app), microversion="1.38")


def body(amount: int, generation: int | None) -> dict[str, object]:
    return {
        "allocations": {HOST: {"resources": {"VCPU": amount}}},
        "project_id": "project",
        "user_id": "user",
        "consumer_generation": generation,
        "consumer_type": "INSTANCE",
    }


def populate(service: Client) -> None:
    assert service.post("/resource_providers", {"name": "host", "uuid": HOST}).status == 200
    inventory = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 8}}}
    assert service.put(f"/resource_providers/{HOST}/inventories", inventory).status == 200
    assert service.put(f"/allocations/{INSTANCE}", body(3, None)).status == 204


def test_a_placement_database_is_adopted_and_given_back(
    database_kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    tmp_path: Path,
) -> None:
    url = fresh_database(database_kind)
    populate(client(Subject.PEER, url, tmp_path))

    ours = client(Subject.MOORAGE, url, tmp_path)
    usages = f"/resource_providers/{HOST}/usages"
    assert ours.get(usages).json["usages"] == {"VCPU": 3}
    assert ours.put(f"/allocations/{OTHER}", body(6, None)).status == 409
    assert ours.put(f"/allocations/{OTHER}", body(5, None)).status == 204
    assert ours.put("/traits/CUSTOM_NEW").status == 201
    assert ours.put("/resource_classes/CUSTOM_NEW").status == 201

    theirs = client(Subject.PEER, url, tmp_path)
    assert theirs.get(usages).json["usages"] == {"VCPU": 8}
    held = theirs.get(f"/allocations/{OTHER}").json
    assert held["consumer_generation"] == 1
    assert held["consumer_type"] == "INSTANCE"
    assert theirs.put(f"/allocations/{OTHER}", body(1, 1)).status == 204


AGGREGATE = "aaaaaaaa-52a5-4a4b-8d0e-2f3b4c5d6e01"


@pytest.mark.mariadb
def test_what_a_sites_tables_take_for_the_same_is_the_same_in_any_spelling(
    fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    # Placement's own tables compare without case on MariaDB, as its database's default is.
    url = fresh_database(DatabaseKind.MARIADB)
    populate(client(Subject.PEER, url, tmp_path))
    ours = client(Subject.MOORAGE, url, tmp_path)
    assert ours.get("/usages?project_id=project").json["usages"]["INSTANCE"]["VCPU"] == 3

    taken = ours.post("/resource_providers", {"name": "HOST", "uuid": OTHER})
    assert (taken.status, taken.code) == (409, "placement.duplicate_name")
    aggregates = f"/resource_providers/{HOST}/aggregates"
    for spellings in ([AGGREGATE], [AGGREGATE.upper()], [AGGREGATE, AGGREGATE.upper()]):
        generation = ours.get(f"/resource_providers/{HOST}").json["generation"]
        wanted = {"resource_provider_generation": generation, "aggregates": spellings}
        assert ours.put(aggregates, wanted).status == 200
        assert ours.get(aggregates).json["aggregates"] == [AGGREGATE]

    shouted = body(2, None) | {"project_id": "PROJECT", "user_id": "USER"}
    assert ours.put(f"/allocations/{OTHER}", shouted).status == 204
    assert ours.get(f"/allocations/{OTHER}").json["project_id"] == "project"
    assert ours.get("/usages?project_id=project").json["usages"]["INSTANCE"]["VCPU"] == 5

    upper = f"/allocations/{OTHER.upper()}"
    refused = ours.put(upper, body(1, None))
    assert (refused.status, refused.code) == (409, "placement.concurrent_update")
    assert ours.put(upper, body(1, 1)).status == 204
    assert ours.get(f"/resource_providers/{HOST}/usages").json["usages"] == {"VCPU": 4}
    assert ours.delete(upper).status == 204
    assert ours.get("/usages?project_id=project").json["usages"]["INSTANCE"]["VCPU"] == 3
    assert find_faults(open_services(url)) == []


SPELLINGS = (OTHER, OTHER.upper())


def in_both_spellings(ours: Client, generation: int | None) -> list[Answer]:
    """A claim, and a reshape, which name a consumer in two spellings."""
    host = ours.get(f"/resource_providers/{HOST}/inventories").json
    claims = {uuid: body(1, generation) for uuid in SPELLINGS}
    claimed = ours.post("/allocations", claims)
    if claimed.status == 204:
        host["resource_provider_generation"] += 1
        claims = {uuid: body(2, 1) for uuid in SPELLINGS}
    reshaped = ours.post("/reshaper", {"inventories": {HOST: host}, "allocations": claims})
    return [claimed, reshaped]


@pytest.mark.mariadb
@pytest.mark.parametrize("characters", ["utf8mb4", "utf8mb3", "latin1"])
def test_a_request_that_names_one_consumer_in_two_spellings_is_refused(
    characters: str, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    url = fresh_database(DatabaseKind.MARIADB)
    with Store.open(url).writer.begin() as connection:
        connection.execute(text(f"ALTER DATABASE CHARACTER SET {characters}"))
    populate(client(Subject.PEER, url, tmp_path))
    ours = client(Subject.MOORAGE, url, tmp_path)

    def check_refused(generation: int | None, *, used: int) -> None:
        for refused in in_both_spellings(ours, generation):
            assert (refused.status, refused.code) == (400, "placement.undefined_code")
            assert "the same to the database of this site: name it once" in refused.detail
        usages = ours.get(f"/resource_providers/{HOST}/usages").json["usages"]
        assert usages == {"VCPU": used}

    check_refused(None, used=3)
    assert ours.put(f"/allocations/{OTHER}", body(1, None)).status == 204
    check_refused(1, used=4)
    assert find_faults(open_services(url)) == []


@pytest.mark.parametrize(
    "kind",
    [
        DatabaseKind.SQLITE,
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
    ],
)
def test_where_case_counts_two_spellings_are_two_consumers(
    kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    url = fresh_database(kind)
    populate(client(Subject.PEER, url, tmp_path))
    ours = client(Subject.MOORAGE, url, tmp_path)
    assert [answer.status for answer in in_both_spellings(ours, None)] == [204, 204]
    for uuid in SPELLINGS:
        assert ours.get(f"/allocations/{uuid}").json["consumer_generation"] == 2
    assert ours.get(f"/resource_providers/{HOST}/usages").json["usages"] == {"VCPU": 7}
    assert find_faults(open_services(url)) == []


@pytest.mark.mariadb
def test_tables_that_moorage_made_tell_case_apart_on_mariadb_too(
    fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    ours = client(Subject.MOORAGE, fresh_database(DatabaseKind.MARIADB), tmp_path)
    populate(ours)
    assert [answer.status for answer in in_both_spellings(ours, None)] == [204, 204]


def test_new_names_in_two_spellings_are_one_or_two_as_the_tables_have_it(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    url = fresh_database(database_kind)
    populate(client(Subject.PEER, url, tmp_path))
    ours = client(Subject.MOORAGE, url, tmp_path)
    is_one = database_kind is DatabaseKind.MARIADB
    claims = {
        new_uuid(): body(1, None) | {"project_id": name, "user_id": name}
        for name in ("fresh", "FRESH")
    }
    assert ours.post("/allocations", claims).status == 204
    shown = {ours.get(f"/allocations/{uuid}").json["project_id"] for uuid in claims}
    assert len(shown) == (1 if is_one else 2)
    for name in shown:
        usages = ours.get(f"/usages?project_id={name}").json["usages"]
        assert usages["INSTANCE"]["VCPU"] == (2 if is_one else 1)
    generation = ours.get(f"/resource_providers/{HOST}").json["generation"]
    wanted = {
        "resource_provider_generation": generation,
        "aggregates": [AGGREGATE, AGGREGATE.upper()],
    }
    aggregates = f"/resource_providers/{HOST}/aggregates"
    assert ours.put(aggregates, wanted).status == 200
    assert len(ours.get(aggregates).json["aggregates"]) == (1 if is_one else 2)
    assert find_faults(open_services(url)) == []


@pytest.mark.mariadb
def test_a_trait_is_deleted_by_its_own_name_alone(
    fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    # To such tables CUSTOM_fast is CUSTOM_FAST, to clients it is no trait at all.
    url = fresh_database(DatabaseKind.MARIADB)
    populate(client(Subject.PEER, url, tmp_path))
    ours = client(Subject.MOORAGE, url, tmp_path)
    assert ours.put("/traits/CUSTOM_FAST").status == 201
    assert ours.delete("/traits/CUSTOM_fast").status == 404
    assert ours.get("/traits/CUSTOM_FAST").status == 204
    assert ours.delete("/traits/CUSTOM_FAST").status == 204


@pytest.mark.mariadb
def test_a_text_that_the_sites_tables_cannot_hold_is_refused(
    fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    url = fresh_database(DatabaseKind.MARIADB)
    store = Store.open(url)
    with store.writer.begin() as connection:
        connection.execute(text("ALTER DATABASE CHARACTER SET utf8mb3"))
    populate(client(Subject.PEER, url, tmp_path))
    ours = client(Subject.MOORAGE, url, tmp_path)
    named = ours.post("/resource_providers", {"name": "rocket \U0001f680"})
    owned = ours.put(f"/allocations/{OTHER}", body(1, None) | {"project_id": "\U0001f680"})
    for refused in (named, owned):
        assert refused.status == 400
        assert "cannot store" in refused.detail
    assert ours.get("/usages?project_id=%F0%9F%9A%80").status in (200, 400)
    assert find_faults(open_services(url)) == []


def test_totals_are_counted_anew_after_another_service_wrote(
    fresh_database: Callable[[DatabaseKind], str], tmp_path: Path
) -> None:
    url = fresh_database(DatabaseKind.SQLITE)
    populate(client(Subject.MOORAGE, url, tmp_path))
    theirs = client(Subject.PEER, url, tmp_path)
    assert theirs.put(f"/allocations/{OTHER}", body(2, None)).status == 204
    services = open_services(url)
    assert find_faults(services) == ["a total is not the sum of its allocations"]
    migrate.recount(services.store, at=now())
    assert find_faults(services) == []


def test_upstream_runs_on_a_database_that_moorage_made(
    database_kind: DatabaseKind,
    fresh_database: Callable[[DatabaseKind], str],
    tmp_path: Path,
) -> None:
    url = fresh_database(database_kind)
    populate(client(Subject.MOORAGE, url, tmp_path))
    # Its own migrations run at the start, and find their mark in place.
    theirs = client(Subject.PEER, url, tmp_path)
    assert theirs.get(f"/allocations/{INSTANCE}").json["project_id"] == "project"


def test_an_old_placement_schema_is_refused_by_name(
    fresh_database: Callable[[DatabaseKind], str],
) -> None:
    store = Store.open(fresh_database(DatabaseKind.SQLITE))
    with store.writer.begin() as connection:
        connection.execute(text("CREATE TABLE resource_providers (id INTEGER PRIMARY KEY)"))
    with pytest.raises(migrate.ForeignSchema, match="placement-manage db sync"):
        migrate.upgrade(store, at=now())


def test_a_database_without_our_schema_is_not_served(
    fresh_database: Callable[[DatabaseKind], str],
) -> None:
    store = Store.open(fresh_database(DatabaseKind.SQLITE))
    with pytest.raises(migrate.SchemaOutdated, match="moorage db upgrade"):
        migrate.make_ready(store, at=now())


def test_the_migrations_make_the_tables_that_the_code_works_with(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from moorage.store.tables import metadata

    store = Store.open(fresh_database(database_kind))
    migrate.upgrade(store, at=now())
    ours = set(metadata.tables)
    with store.reader.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_object": lambda _o, name, kind, *_: kind != "table" or name in ours},
        )
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE resource_providers SET root_provider_id = NULL", "without a root"),
        ("DELETE FROM consumers", "without a consumer"),
    ],
)
def test_rows_that_old_placements_left_behind_are_refused_by_name(
    change: str,
    named: str,
    fresh_database: Callable[[DatabaseKind], str],
    tmp_path: Path,
) -> None:
    url = fresh_database(DatabaseKind.SQLITE)
    populate(client(Subject.PEER, url, tmp_path))
    store = Store.open(url)
    with store.writer.begin() as connection:
        connection.execute(text(change))
    with pytest.raises(migrate.ForeignSchema, match=named):
        migrate.upgrade(store, at=now())


class Killed(BaseException):
    """The end of a process in the middle of its work."""


def kill_after(store: Store, tables: int) -> None:
    """End the work on a store once it has sent so many statements that create something."""
    sent = 0

    def note(_c: object, _u: object, statement: str, *_rest: object) -> None:
        nonlocal sent
        sent += statement.lstrip().upper().startswith("CREATE")
        if sent > tables:
            raise Killed

    event.listen(store.writer, "before_cursor_execute", note)


@pytest.mark.mariadb
def test_a_first_upgrade_that_was_broken_off_is_taken_up_from_there(
    fresh_database: Callable[[DatabaseKind], str],
) -> None:
    url = fresh_database(DatabaseKind.MARIADB)
    kills = 0
    for tables in range(1, 40, 4):
        store = Store.open(url)
        kill_after(store, tables)
        try:
            migrate.upgrade(store, at=now())
        except Killed:
            kills += 1
        store.close()
    assert kills > 2
    services = services_on(Store.open(url))
    assert migrate.upgrade(services.store, at=now()).current
    host = add_host(services, {"VCPU": Inventory(1)})
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    assert find_faults(services) == []


def let_another_node_be_first(store: Store) -> list[str]:
    """Have each statement that changes tables or their marks run by another connection before.

    So it goes on a cluster, whose nodes do not see each other's turns. Returns what was run there.
    """
    other = Store.open(store.writer.url.render_as_string(hide_password=False))
    ran: list[str] = []

    def run(_c: object, _u: object, statement: str, parameters: Any, *_rest: object) -> None:
        text = statement.strip()
        marks = text.startswith(("INSERT", "UPDATE")) and "alembic_version" in text
        if (marks or text.startswith(("CREATE", "ALTER"))) and text not in ran:
            ran.append(text)
            with other.writer.begin() as connection:
                connection.exec_driver_sql(text, parameters)

    event.listen(store.writer, "before_cursor_execute", run)
    return ran


@pytest.mark.mariadb
def test_an_upgrade_takes_up_what_another_node_has_made_at_each_of_its_statements(
    fresh_database: Callable[[DatabaseKind], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "RACE_PAUSE_S", 0)
    store = Store.open(fresh_database(DatabaseKind.MARIADB))
    ran = let_another_node_be_first(store)
    assert migrate.upgrade(store, at=now()).current
    changes = [text for text in ran if text.startswith("ALTER")]
    assert len(changes) > 5
    assert sum("alembic_version" in text for text in ran) > 5
    assert len(ran) - len(changes) > 25
    services = services_on(store)
    host = add_host(services, {"VCPU": Inventory(1)})
    hold(services, claim_for(new_uuid(), {host: {"VCPU": 1}}))
    assert find_faults(services) == []
