"""What is asked on every request finds its rows by keys, however many others there are."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from moorage.coherence.project_sums import CHANGES_MAX
from moorage.domain.inventory import Inventory
from moorage.operations.list_provider_allocations import list_provider_allocations
from moorage.operations.services import Services
from moorage.store.following import Since
from moorage.store.holdings import CONSUMERS
from moorage.store.inventories import STOCK
from moorage.store.journal import Entry, read_news, write_journal
from moorage.store.moves import OPEN_MOVES
from moorage.store.pictures import read_usages
from moorage.store.sql import Insert, Load
from moorage.store.tables import inventories, moorage_moves, resource_providers
from moorage.store.transaction import Transaction
from moorage.store.usages import read_usage_changes
from tests.support.books import add_host, claim_for, hold, open_transaction, origin
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

CROWD = 600
"""Consumers, and rows of the journal, that nobody asks about."""

CROWDED_HOSTS = 40

FOUND_MAX = 100
"""Rows that the statements here may touch: some times what they give."""

Parameters = tuple[int | str, ...]


@pytest.fixture
def read_rows(services: Services, database_kind: DatabaseKind) -> Iterator[list[int]]:
    """How many rows the database had to look at for each lean statement."""
    count = {
        DatabaseKind.SQLITE: _count_sqlite,
        DatabaseKind.POSTGRESQL: _count_postgresql,
        DatabaseKind.MARIADB: _count_mariadb,
    }[database_kind]
    counts: list[int] = []
    read_lean = services.store.read_lean

    def counted(sql: str, parameters: Parameters, **how: bool) -> Any:
        filled = _filled(sql, parameters)
        counts.append(services.store.read_with(lambda connection: count(connection, filled)))
        return read_lean(sql, parameters, **how)

    services.store.read_lean = counted  # type: ignore[method-assign]
    yield counts
    del services.store.read_lean


def test_news_do_not_read_the_journal(services: Services, read_rows: list[int]) -> None:
    newest = _crowd(services)

    news = read_news(services.store, Since(newest - 1, ())).rows

    assert [item.id for item in news] == [newest]
    assert max(read_rows) <= FOUND_MAX


def test_news_with_late_rows_do_not_read_the_journal(
    services: Services, read_rows: list[int]
) -> None:
    newest = _crowd(services)
    gaps = (newest - 200, newest - 100)

    news = read_news(services.store, Since(newest - 1, gaps)).rows

    assert {item.id for item in news} == {*gaps, newest}
    assert max(read_rows) <= FOUND_MAX


def test_totals_with_late_rows_do_not_read_the_journal(
    services: Services, read_rows: list[int]
) -> None:
    newest = _crowd(services)
    gaps = (newest - 200, newest - 100)

    told = read_usages(services.store, (1,), Since(newest - 1, gaps))

    assert {item.id for item in told.news.rows} == {*gaps, newest}
    assert max(read_rows) <= FOUND_MAX


def test_sums_with_late_rows_do_not_read_the_journal(
    services: Services, read_rows: list[int]
) -> None:
    newest = _crowd(services)
    gaps = (newest - 200, newest - 100)

    changes = read_usage_changes(services.store, Since(newest - 1, gaps), most=CHANGES_MAX).rows

    assert {item.id for item in changes} == {*gaps, newest}
    assert max(read_rows) <= FOUND_MAX


def test_what_a_provider_holds_does_not_read_all_consumers(
    services: Services, read_rows: list[int]
) -> None:
    hosts = [add_host(services, {"VCPU": Inventory(CROWD)}) for _ in range(CROWDED_HOSTS)]
    for host in hosts:
        claims = [claim_for(new_uuid(), {host: {"VCPU": 1}}) for _ in range(CROWD // len(hosts))]
        hold(services, *claims)
    # A planner that knows how much there is may find it cheapest to read all of it.
    services.store.read_with(_analyze)

    held, _ = list_provider_allocations(services, hosts[0])

    assert len(held.rows) == CROWD // len(hosts)
    assert max(read_rows) <= FOUND_MAX


def test_open_moves_are_found_by_their_names(
    services: Services, database_kind: DatabaseKind
) -> None:
    """Before the database has counted how many there are, as in a site's first hours, too."""
    with open_transaction(services) as tx:
        tx.insert(_INSERT_MOVES, [_open_move(number) for number in range(CROWD)])
    with open_transaction(services) as tx:
        before = _count_in(tx, database_kind)
        (move,) = tx.load(OPEN_MOVES, {"uuids": ["move-7"]})
        assert move.consumer == "mover-7"
        assert _count_in(tx, database_kind) - before <= FOUND_MAX
    if database_kind is DatabaseKind.SQLITE:
        asked = OPEN_MOVES.command(services.store.dialect).sql.replace(":uuids", "('move-7')")
        assert not services.store.read_with(lambda connection: _count_sqlite(connection, asked))


ASKED = 16
"""Providers, and consumers, of one batch of claims."""


def test_a_batch_of_claims_finds_its_rows_whatever_the_database_believes_of_its_tables(
    services: Services, database_kind: DatabaseKind
) -> None:
    """MariaDB counts the rows of a table now and then: those of one that fills up are few to it.

    Then it would rather go through what all hosts have of a class than look up each host.
    """
    with open_transaction(services) as tx:
        tx.insert(_INSERT_HOSTS, [_host(number) for number in range(CROWD)])
        hosts = tx.load(Load("SELECT p.id, p.uuid FROM resource_providers p"))
        tx.insert(_INSERT_INVENTORIES, [_inventory(host.id) for host in hosts])
    uuids = [host.uuid for host in hosts[:ASKED]]
    consumers = [new_uuid() for _ in range(CROWD)]
    crowded = add_host(services, {"VCPU": Inventory(CROWD)})
    hold(services, *(claim_for(one, {crowded: {"VCPU": 1}}) for one in consumers))
    if database_kind is DatabaseKind.MARIADB:
        services.store.read_with(_tell_that_tables_are_small)

    for statement, asked, table in (
        (STOCK, uuids, "inventories"),
        (CONSUMERS, consumers[:ASKED], "consumers"),
    ):
        with open_transaction(services) as tx:
            before = _count_in(tx, database_kind, table)
            assert len(tx.load(statement, {"uuids": asked})) == ASKED
            assert _count_in(tx, database_kind, table) - before <= ASKED * 12


def _tell_that_tables_are_small(connection: Connection) -> None:
    """Have MariaDB believe that there is next to nothing in the tables that claims are about."""
    database = connection.exec_driver_sql("SELECT DATABASE()").scalar_one()
    for table, indexes in {
        "inventories": {
            "uniq_inventories0resource_provider_resource_class": (3, 1),
            "inventories_resource_class_id_idx": (1,),
        },
        "consumers": {
            "uniq_consumers0uuid": (1,),
            "consumers_project_id_uuid_idx": (2, 1),
            "consumers_project_id_user_id_uuid_idx": (2, 2, 1),
        },
    }.items():
        connection.exec_driver_sql(
            "REPLACE INTO mysql.table_stats VALUES (%s, %s, 25)", (database, table)
        )
        for index, rows_each in indexes.items():
            for length, rows in enumerate(rows_each, start=1):
                connection.exec_driver_sql(
                    "REPLACE INTO mysql.index_stats VALUES (%s, %s, %s, %s, %s)",
                    (database, table, index, length, rows),
                )
        connection.exec_driver_sql(f"FLUSH TABLES {table}")


_INSERT_HOSTS = Insert(resource_providers, ("uuid", "name", "generation", "created_at"))
_INSERT_INVENTORIES = Insert(
    inventories,
    (
        *("resource_provider_id", "resource_class_id", "total", "reserved"),
        *("min_unit", "max_unit", "step_size", "allocation_ratio", "created_at"),
    ),
)


def _host(number: int) -> dict[str, Any]:
    return {
        "uuid": new_uuid(),
        "name": f"host-{number}",
        "generation": 0,
        "created_at": origin().at,
    }


def _inventory(provider: int) -> dict[str, Any]:
    return {
        "resource_provider_id": provider,
        "resource_class_id": 0,
        "total": CROWD,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": CROWD,
        "step_size": 1,
        "allocation_ratio": 1.0,
        "created_at": origin().at,
    }


_INSERT_MOVES = Insert(
    moorage_moves,
    (
        *("uuid", "kind", "state", "consumer", "hold", "open_consumer", "open_hold"),
        *("credited", "generation", "created_at", "updated_at"),
    ),
)


def _open_move(number: int) -> dict[str, Any]:
    consumer, hold, at = f"mover-{number}", f"hold-{number}", origin().at
    return {
        "uuid": f"move-{number}",
        "kind": "observed",
        "state": "swapped",
        "consumer": consumer,
        "hold": hold,
        "open_consumer": consumer,
        "open_hold": hold,
        "credited": 0,
        "generation": 1,
        "created_at": at,
        "updated_at": at,
    }


_READ_SO_FAR = {
    DatabaseKind.POSTGRESQL: Load(
        "SELECT pg_stat_get_xact_tuples_fetched(to_regclass(:of)) AS rows_read"
    ),
    DatabaseKind.MARIADB: Load(
        """SELECT SUM(s.variable_value) AS rows_read FROM information_schema.session_status s
           WHERE (s.variable_name LIKE 'HANDLER_READ%'
                  OR s.variable_name = 'HANDLER_ICP_ATTEMPTS') AND :of <> ''"""
    ),
}


def _count_in(tx: Transaction, kind: DatabaseKind, table: str = "moorage_moves") -> int:
    """How many rows the database has looked at so far, on this connection or in its transaction.

    SQLite does not count, and PostgreSQL counts those of one table. MariaDB counts by itself what
    it passes over in an index.
    """
    if kind not in _READ_SO_FAR:
        return 0
    return int(tx.load(_READ_SO_FAR[kind], {"of": table})[0].rows_read)


def _crowd(services: Services) -> int:
    """A provider with many consumers and a journal with many rows; the number of the newest."""
    crowded = add_host(services, {"VCPU": Inventory(CROWD)})
    hold(services, *(claim_for(new_uuid(), {crowded: {"VCPU": 1}}) for _ in range(CROWD)))
    with open_transaction(services) as tx:
        write_journal(tx, [Entry("provider.update", crowded, ())] * CROWD, origin())
    return int(services.store.read(text("SELECT MAX(id) FROM moorage_journal"))[0][0])


def _filled(sql: str, parameters: Parameters) -> str:
    """The statement with its parameters in their places."""
    first, *rest = sql.split("?")
    told = [f"'{one}'" if isinstance(one, str) else str(one) for one in parameters]
    return first + "".join(value + part for value, part in zip(told, rest, strict=True))


def _analyze(connection: Connection) -> None:
    table = "" if connection.dialect.name == "postgresql" else "TABLE consumers, allocations"
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(f"ANALYZE {table}")


def _count_postgresql(connection: Connection, sql: str) -> int:
    plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}").scalar_one()
    return _rows_of(plan[0]["Plan"])


def _rows_of(node: dict[str, Any]) -> int:
    rows = 0
    if "Relation Name" in node:
        dropped = node.get("Rows Removed by Filter", 0)
        rows = int((node["Actual Rows"] + dropped) * node["Actual Loops"])
    return rows + sum(map(_rows_of, node.get("Plans", ())))


def _count_mariadb(connection: Connection, sql: str) -> int:
    connection.exec_driver_sql("FLUSH STATUS")
    connection.exec_driver_sql(sql.replace("%", "%%")).all()
    told = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
    return sum(int(count) for _, count in told)


def _count_sqlite(connection: Connection, sql: str) -> int:
    """SQLite counts nothing, but tells what it reads from end to end."""
    steps = [str(row[3]).split() for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
    made = {step[1] for step in steps if step[0] in ("CO-ROUTINE", "MATERIALIZE")}
    return CROWD * sum(step[0] == "SCAN" and step[1] not in made for step in steps)
