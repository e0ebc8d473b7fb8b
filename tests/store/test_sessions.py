"""What goes to the drivers by the shortest way: values, guards, packets, prepared statements."""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import text

from moorage.domain.inventory import Inventory
from moorage.domain.refusals import StoreUnavailable
from moorage.operations.services import Services
from moorage.store.dialects import StaleView, mariadb_session, mariadb_wire
from moorage.store.dialects.mariadb_rows import FEW_ROWS_MAX
from moorage.store.holdings import write_usages
from moorage.store.journal import Entry, write_journal
from moorage.store.sql import Insert, Load, RowsDelete, RowsUpdate, Write
from moorage.store.tables import moorage_usages, projects
from moorage.store.transaction import Transaction
from tests.support.books import (
    add_host,
    claim_for,
    count_sendings,
    hold,
    now,
    open_services,
    origin,
)
from tests.support.databases import DatabaseKind
from tests.support.ids import new_uuid

INSERT = Insert(projects, ("external_id", "created_at"))
FIND = Load(
    "SELECT p.id, p.external_id AS name, p.created_at, p.updated_at FROM projects p"
    " WHERE p.external_id IN :names ORDER BY p.id",
    moments=("created_at", "updated_at"),
)
RENAME = Write("UPDATE projects SET external_id = :name WHERE external_id IN :names")
AGE = RowsUpdate("projects", ("id",), key={"id": "id"}, guard={}, assign={"updated_at": ":at"})
INSERT_TOTALS = Insert(moorage_usages, ("resource_provider_id", "resource_class_id", "used"))
ALL_TOTALS = Load(
    """SELECT u.resource_provider_id AS provider, u.resource_class_id AS class_id, u.used
       FROM moorage_usages u ORDER BY provider, class_id"""
)
SLOT = {"resource_provider_id": "provider", "resource_class_id": "class_id"}
DELETE_TOTALS = RowsDelete(
    "moorage_usages", ("provider", "class_id", "was"), key=SLOT, guard={"used": "was"}
)
UPDATE_TOTALS = RowsUpdate(
    "moorage_usages",
    ("provider", "class_id", "was"),
    key=SLOT,
    guard={"used": "was"},
    assign={"used": "d.was + 1"},
)
ODD = [
    "it's",
    'a "quoted" one',
    "100% %s %%",
    "back\\slash \\' \\",
    "{a,b}",
    "NULL",
    ":name :at $1 ?",
    "a;b -- c /* d",
    "grüße 🚀",
    "tab\tand\nline",
    " ",
]


servers = pytest.mark.parametrize(
    "database_kind",
    [
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
    ],
    ids=lambda kind: kind.value,
)


@pytest.fixture
def services(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> Iterator[Services]:
    found = open_services(fresh_database(database_kind))
    yield found
    found.store.close()


def names_in(services: Services, *names: str) -> list[str]:
    return services.store.run(
        lambda tx: [row.name for row in tx.load(FIND, {"names": list(names)})]
    )


def add(tx: Transaction, *names: str) -> None:
    tx.insert(INSERT, [{"external_id": name, "created_at": now()} for name in names])


def test_every_text_comes_back_as_it_was_sent(services: Services) -> None:
    services.store.run(lambda tx: add(tx, *ODD))
    assert names_in(services, *ODD) == ODD


@pytest.mark.parametrize("name", ODD)
def test_so_does_one_that_is_sent_by_itself(services: Services, name: str) -> None:
    services.store.run(lambda tx: add(tx, "old"))
    services.store.run(lambda tx: tx.write(RENAME, {"name": name, "names": ["old"]}, rows=1))
    assert names_in(services, name) == [name]


def test_moments_and_nothing_come_back_as_they_are(services: Services) -> None:
    at = now().replace(microsecond=0)
    services.store.run(lambda tx: tx.insert(INSERT, [{"external_id": "x", "created_at": at}]))
    (row,) = services.store.run(lambda tx: tx.load(FIND, {"names": ["x"]}))
    assert (row.created_at, row.updated_at) == (at, None)


def test_a_write_that_touches_too_few_rows_starts_the_work_anew_from_nothing(
    services: Services,
) -> None:
    runs: list[int] = []

    def attempt(tx: Transaction) -> None:
        runs.append(1)
        add(tx, f"run {len(runs)}")
        missing = "gone" if len(runs) == 1 else f"run {len(runs)}"
        tx.write(RENAME, {"name": "renamed", "names": [missing]}, rows=1)
        add(tx, "behind it")

    services.store.run(attempt)
    assert len(runs) == 2
    assert names_in(services, "run 1", "run 2", "renamed", "behind it") == ["renamed", "behind it"]


def test_an_update_of_rows_of_which_one_is_gone_is_stale(services: Services) -> None:
    services.store.run(lambda tx: add(tx, "a", "b"))
    keys = [row.id for row in services.store.run(lambda tx: tx.load(FIND, {"names": ["a", "b"]}))]

    def attempt(tx: Transaction) -> None:
        tx.update(AGE, [(keys[0],), (keys[1],), (keys[1] + 1,)], at=now())
        with pytest.raises(StaleView):
            tx.send()
        raise LookupError

    with pytest.raises(LookupError):
        services.store.run(attempt)
    rows = services.store.run(lambda tx: tx.load(FIND, {"names": ["a", "b"]}))
    assert [row.updated_at for row in rows] == [None, None]


@pytest.mark.parametrize("count", [1, 2, FEW_ROWS_MAX, FEW_ROWS_MAX + 1, 200])
class TestRowsThatChange:
    """Each row has a value of its own, and more rows are in the table than change."""

    def totals(self, services: Services) -> list[tuple[int, int, int]]:
        found = services.store.run(lambda tx: tx.load(ALL_TOTALS))
        return [(row.provider, row.class_id, row.used) for row in found]

    @pytest.fixture
    def rows(self, services: Services, count: int) -> list[tuple[int, int, int]]:
        rows = [(1_000 + key // 3, key % 3, 10 * key) for key in range(count + 2)]
        fields = ("resource_provider_id", "resource_class_id", "used")
        given = [dict(zip(fields, row, strict=True)) for row in rows]
        services.store.run(lambda tx: tx.insert(INSERT_TOTALS, given))
        return rows

    def test_are_updated_each_to_its_own_value(
        self, services: Services, rows: list[tuple[int, int, int]]
    ) -> None:
        changes = {row[:2]: (row[2], row[2] + 7) for row in rows[1:-1]}
        services.store.run(lambda tx: write_usages(tx, changes))  # type: ignore[arg-type]
        changed = [(*slot, becomes) for slot, (_, becomes) in changes.items()]
        assert self.totals(services) == [rows[0], *changed, rows[-1]]

    def test_are_deleted(self, services: Services, rows: list[tuple[int, int, int]]) -> None:
        services.store.run(lambda tx: tx.update(DELETE_TOTALS, rows[1:-1]))
        assert self.totals(services) == [rows[0], rows[-1]]

    @pytest.mark.parametrize("change", [UPDATE_TOTALS, DELETE_TOTALS], ids=["update", "delete"])
    def test_are_left_as_they_are_if_one_is_not_as_it_was(
        self, services: Services, rows: list[tuple[int, int, int]], change: RowsUpdate
    ) -> None:
        provider, class_id, used = rows[-2]

        def attempt(tx: Transaction) -> None:
            tx.update(change, [*rows[1:-2], (provider, class_id, used + 1)])
            with pytest.raises(StaleView):
                tx.send()
            raise LookupError

        with pytest.raises(LookupError):
            services.store.run(attempt)
        assert self.totals(services) == rows


def test_rows_and_changes_in_one_packet_are_in_their_order(services: Services) -> None:
    def attempt(tx: Transaction) -> list[list[str]]:
        add(tx, "a")
        first = tx.load_each((FIND, {"names": ["a", "b"]}), (FIND, {"names": ["a"]}))
        add(tx, "b")
        tx.write(RENAME, {"name": "c", "names": ["a"]}, rows=1)
        return [
            [row.name for row in rows] for rows in [*first, tx.load(FIND, {"names": ["b", "c"]})]
        ]

    assert services.store.run(attempt) == [["a"], ["a"], ["c", "b"]]


def test_of_a_packet_that_fails_in_the_middle_nothing_is_left(services: Services) -> None:
    services.store.run(lambda tx: add(tx, "taken"))

    def attempt(tx: Transaction) -> None:
        add(tx, "before")
        add(tx, "taken")
        add(tx, "behind")
        with pytest.raises(Exception, match=r"(?i)duplicate|unique"):
            tx.send()
        raise LookupError

    with pytest.raises(LookupError):
        services.store.run(attempt)
    assert names_in(services, "before", "taken", "behind") == ["taken"]


@pytest.mark.parametrize("is_frequent", [True, False])
def test_a_lean_read_tells_the_same_each_time_and_as_much_as_any(
    services: Services, *, is_frequent: bool
) -> None:
    services.store.run(lambda tx: add(tx, *ODD, "x" * 255))
    sql = (
        "SELECT p.id, p.external_id, p.updated_at FROM projects p"
        " WHERE p.external_id <> ? AND p.id > ? ORDER BY p.id"
    )

    def read(without: str, above: int) -> list[tuple[object, ...]]:
        found = services.store.read_lean(sql, (without, above), is_frequent=is_frequent)
        return [tuple(row) for row in found]

    for without in (*ODD, *ODD):
        rows = read(without, 0)
        assert [row[1] for row in rows] == [name for name in [*ODD, "x" * 255] if name != without]
        assert {row[2] for row in rows} == {None}
        assert read(without, rows[0][0]) == rows[1:]  # type: ignore[arg-type]
        assert read(without, rows[-1][0]) == []  # type: ignore[arg-type]


def test_what_waits_for_no_answer_goes_out_with_what_does(services: Services) -> None:
    def attempt(tx: Transaction) -> int:
        add(tx, "a")
        add(tx, "b")
        return len(tx.load(FIND, {"names": ["a", "b"]}))

    found: list[int] = []
    assert count_sendings(lambda: found.append(services.store.run(attempt))) == 2
    assert found == [2]


def test_a_row_of_megabytes_is_written(services: Services) -> None:
    long = "x" * 3_000_000
    entries = [Entry("test", "x", (), before=long, after=[long])]
    services.store.run(lambda tx: write_journal(tx, entries, origin()))
    what = Load("SELECT LENGTH(j.after) AS size FROM moorage_journal j WHERE j.kind = :kind")
    (row,) = services.store.run(lambda tx: tx.load(what, {"kind": "test"}))
    assert row.size == len(long) + 4


def test_more_than_fits_in_one_packet_is_one_transaction(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb_session, "PACKET_CHARACTERS_MAX", 200)
    names = [f"name {number}" for number in range(30)]

    def attempt(tx: Transaction) -> None:
        for name in names:
            add(tx, name)
        tx.write(RENAME, {"name": "last", "names": names[-1:]}, rows=1)

    services.store.run(attempt)
    assert names_in(services, *names, "last") == [*names[:-1], "last"]


@servers
def test_a_refused_value_leaves_the_connection_as_it_was(services: Services) -> None:
    services.store.run(lambda tx: add(tx, "before"))
    with pytest.raises(Exception):  # noqa: B017 - each driver has its own
        services.store.run(lambda tx: add(tx, "x" * 300, "y"))
    services.store.run(lambda tx: add(tx, "after"))
    assert names_in(services, "before", "after") == ["before", "after"]


@pytest.mark.postgresql
class TestPreparedStatements:
    @pytest.fixture
    def database_kind(self) -> DatabaseKind:
        return DatabaseKind.POSTGRESQL

    def test_a_server_that_forgot_them_is_told_again(self, services: Services) -> None:
        services.store.run(lambda tx: add(tx, "a"))
        with services.store.writer.connect() as connection:
            connection.execute(text("DEALLOCATE ALL"))
            connection.commit()
        services.store.run(lambda tx: add(tx, "b"))
        assert names_in(services, "a", "b") == ["a", "b"]

    def test_one_that_failed_while_it_was_prepared_works_the_next_time(
        self, services: Services
    ) -> None:
        services.store.run(lambda tx: add(tx, "a"))
        with pytest.raises(Exception, match="nowhere"):
            services.store.run(
                lambda tx: tx.load_each(
                    (Load("SELECT x FROM nowhere"), None), (FIND, {"names": ["a"]})
                )
            )
        assert names_in(services, "a") == ["a"]

    @pytest.fixture
    def unused(self, services: Services) -> Iterator[Services]:
        """Services whose connections have not yet sent anything, an upgrade neither."""
        url = services.store.writer.url.render_as_string(hide_password=False)
        found = open_services(url, upgrade=False)
        yield found
        found.store.close()

    def test_each_is_planned_once_and_reads_no_table_from_end_to_end(
        self, unused: Services
    ) -> None:
        for _ in range(7):  # the server looks at five plans before it keeps one
            host = add_host(unused, {"VCPU": Inventory(8)})
            hold(unused, claim_for(new_uuid(), {host: {"VCPU": 1}}))
        with unused.store.writer.connect() as connection:
            prepared = connection.execute(
                text(
                    """SELECT name, statement, custom_plans, cardinality(parameter_types) AS count
                       FROM pg_prepared_statements WHERE name LIKE 'moorage%'"""
                )
            ).all()
            assert len(prepared) > 10
            for one in prepared:
                assert not one.custom_plans, one.statement
                if one.statement.startswith(("BEGIN", "COMMIT")):
                    continue
                nothing = f"({', '.join(['NULL'] * one.count)})" if one.count else ""
                plan = connection.execute(text(f"EXPLAIN EXECUTE {one.name}{nothing}")).scalars()
                steps = "\n".join(plan)
                assert "Seq Scan" not in steps, one.statement
                assert "Hash Join" not in steps, one.statement

    def test_a_text_with_nul_is_refused_not_cut(self, services: Services) -> None:
        services.store.run(lambda tx: add(tx, "a"))
        with pytest.raises(Exception, match="NUL"):
            services.store.run(lambda tx: tx.write(RENAME, {"name": "b\0c", "names": ["a"]}))
        assert names_in(services, "a", "b") == ["a"]


@servers
def test_a_connection_lost_with_the_commit_is_told_not_repeated(services: Services) -> None:
    """The last packet holds the last writes and the COMMIT: nobody knows what took."""
    runs: list[int] = []

    def attempt(tx: Transaction) -> None:
        runs.append(1)
        tx.load(FIND, {"names": ["x"]})
        add(tx, "x")
        end_own_connection(services, tx)

    with pytest.raises(StoreUnavailable):
        services.store.run(attempt)
    assert len(runs) == 1


def end_own_connection(services: Services, tx: Transaction) -> None:
    """Have the server end the connection of an open transaction."""
    own, end = {
        "postgresql": ("SELECT pg_backend_pid() AS id", "SELECT pg_terminate_backend({})"),
        "mariadb": ("SELECT CONNECTION_ID() AS id", "KILL CONNECTION {}"),
    }[services.store.dialect.name]
    waiting, tx.waiting = tx.waiting, []
    (row,) = tx.load(Load(own))
    tx.waiting = waiting
    with services.store.reader.connect() as connection:
        connection.exec_driver_sql(end.format(row.id))


@pytest.mark.mariadb
class TestMariaDBsPackets:
    @pytest.fixture
    def database_kind(self) -> DatabaseKind:
        return DatabaseKind.MARIADB

    def test_values_of_all_kinds_and_lengths_are_read_as_they_are(self, services: Services) -> None:
        what = Load(
            """SELECT 7 AS small, -9223372036854775807 AS large, 1.5E0 AS real_number,
                      CAST(2.50 AS DECIMAL(5, 2)) AS exact, NULL AS nothing, '' AS blank,
                      REPEAT('ü', :a) AS a, REPEAT('x', :b) AS b, REPEAT('x', :c) AS c,
                      CAST('2026-11-23 01:02:03' AS DATETIME) AS moment, _binary 'raw' AS raw"""
        )

        def read(a: int, b: int, c: int) -> tuple[object, ...]:
            return tuple(services.store.run(lambda tx: tx.load(what, {"a": a, "b": b, "c": c})[0]))

        moment = datetime(2026, 11, 23, 1, 2, 3)  # noqa: DTZ001 - the store knows naive UTC only
        for a, b, c in [(125, 250, 251), (126, 65_535, 65_536), (0, 1, 1_000_000)]:
            assert read(a, b, c) == (
                7, -9223372036854775807, 1.5, Decimal("2.50"), None, "",
                "ü" * a, "x" * b, "x" * c, moment, b"raw",
            )  # fmt: skip

    def test_a_connection_that_is_not_as_we_know_it_is_used_with_cursors(
        self, services: Services
    ) -> None:
        url = services.store.writer.url.update_query_dict({"read_timeout": "60"})
        other = open_services(url.render_as_string(hide_password=False), upgrade=False)
        other.store.run(lambda tx: add(tx, *ODD))
        assert names_in(other, *ODD) == ODD

        def rename(tx: Transaction) -> None:
            tx.write(RENAME, {"name": "new", "names": ["gone"]}, rows=1)
            with pytest.raises(StaleView):
                tx.send()
            raise LookupError

        with pytest.raises(LookupError):
            other.store.run(rename)
        connection = other.store.writer.raw_connection()
        assert not mariadb_wire.can_be_wired(connection.driver_connection)
        connection.close()
        other.store.close()
