"""The retry loop: what is tried again, what is not, and what a lost database does."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from moorage.domain.refusals import Refusal, StoreUnavailable, UnknownProvider
from moorage.operations.services import Services
from moorage.store import transaction
from moorage.store.dialects import StaleView, Trouble
from moorage.store.sql import Insert, Load, Write, query
from moorage.store.store import Store
from moorage.store.tables import moorage_leaders
from moorage.store.transaction import Patience, Transaction, session_of
from moorage.telemetry.redact import error_told
from tests.support.books import count_sendings, now, open_services
from tests.support.databases import DatabaseKind

COUNT_SQL = "SELECT COUNT(*) AS number FROM projects"
COUNT = query(COUNT_SQL)
LOAD_COUNT = Load(COUNT_SQL)
INSERT = Insert(moorage_leaders, ("name", "holder", "beat"))
ADD = Write("INSERT INTO projects (external_id, created_at) VALUES (:name, :at)")


@pytest.fixture
def services(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> Iterator[Services]:
    found = open_services(fresh_database(database_kind))
    yield found
    found.store.close()


def add(tx: Transaction, name: str) -> None:
    add_at_end(tx, name)
    tx.send()


def add_at_end(tx: Transaction, name: str) -> None:
    tx.write(ADD, {"name": name, "at": now()})


def test_a_stale_view_starts_the_work_anew_from_nothing(services: Services) -> None:
    runs: list[int] = []

    def attempt(tx: Transaction) -> int:
        runs.append(1)
        add(tx, "x")
        if len(runs) < 3:
            raise StaleView
        return int(tx.load(LOAD_COUNT)[0].number)

    assert services.store.run(attempt) == 1
    assert len(runs) == 3


def test_a_refusal_is_not_tried_again_and_leaves_nothing(services: Services) -> None:
    runs: list[int] = []

    def attempt(tx: Transaction) -> None:
        runs.append(1)
        add(tx, "x")
        raise UnknownProvider("host")

    with pytest.raises(Refusal):
        services.store.run(attempt)
    assert len(runs) == 1
    assert services.store.read(COUNT)[0][0] == 0


def test_a_row_that_another_inserted_first_starts_the_work_anew(services: Services) -> None:
    runs: list[int] = []

    def attempt(tx: Transaction) -> None:
        runs.append(1)
        add(tx, "same" if len(runs) == 1 else "other")

    services.store.run(lambda tx: add(tx, "same"))
    services.store.run(attempt)
    assert len(runs) == 2


def test_a_fault_of_ours_is_raised_at_once(services: Services) -> None:
    runs: list[int] = []

    def attempt(tx: Transaction) -> None:
        runs.append(1)
        tx.load(Load("SELECT nonsense FROM nowhere"))

    with pytest.raises(Exception, match="nowhere"):
        services.store.run(attempt)
    assert len(runs) == 1


def test_endless_conflicts_end_with_the_budget(services: Services) -> None:
    def attempt(_tx: Transaction) -> None:
        raise StaleView

    impatient = Store(
        writer=services.store.writer,
        reader=services.store.reader,
        dialect=services.store.dialect,
        patience=Patience(budget_s=0.2),
    )
    with pytest.raises(StoreUnavailable):
        impatient.run(attempt)


def test_two_writers_of_the_same_rows_in_opposite_order_both_finish(services: Services) -> None:
    services.store.run(lambda tx: (add(tx, "a"), add(tx, "b")))
    touch = Write("UPDATE projects SET updated_at = :at WHERE external_id = :name")
    # Where writers come one at a time, the other cannot come: no use to wait for it.
    alone = services.store.dialect.name == "sqlite"
    meet = threading.Barrier(2, timeout=0.2 if alone else 30)
    failures: list[BaseException] = []

    def work(first: str, second: str) -> None:
        met = False

        def attempt(tx: Transaction) -> None:
            nonlocal met
            tx.write(touch, {"name": first, "at": now()})
            tx.send()
            if not met:
                met = True
                with contextlib.suppress(threading.BrokenBarrierError):
                    meet.wait()
            tx.write(touch, {"name": second, "at": now()})

        try:
            services.store.run(attempt)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class TestLostConnections:
    """A server that ends our connections, as in a restart or a failover."""

    @pytest.fixture(
        params=[
            pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
            pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
        ],
        ids=lambda kind: kind.value,
    )
    def lossy(
        self, request: pytest.FixtureRequest, fresh_database: Callable[[DatabaseKind], str]
    ) -> Iterator[Services]:
        found = open_services(fresh_database(request.param))
        yield found
        found.store.close()

    def cut(self, services: Services) -> None:
        """End every connection but the one that says so, which writes later."""
        with services.store.writer.connect() as connection:
            self.end_others(services, connection)

    def end_others(self, services: Services, connection: Connection) -> None:
        if services.store.dialect.name == "postgresql":
            connection.exec_driver_sql(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
            return
        rows = connection.exec_driver_sql(
            """SELECT id FROM information_schema.processlist
               WHERE db = DATABASE() AND id <> CONNECTION_ID()"""
        ).all()
        for (number,) in rows:
            connection.exec_driver_sql(f"KILL CONNECTION {number}")

    def test_a_read_is_tried_again_on_a_new_connection(self, lossy: Services) -> None:
        lossy.store.read(COUNT)
        self.cut(lossy)
        assert lossy.store.read(COUNT)[0][0] == 0

    def test_a_write_that_lost_its_connection_is_done_once(self, lossy: Services) -> None:
        runs: list[int] = []

        def attempt(tx: Transaction) -> None:
            runs.append(1)
            add(tx, "x")
            if len(runs) == 1:
                self.cut(lossy)
            tx.load(LOAD_COUNT)

        lossy.store.run(attempt)
        assert len(runs) == 2
        assert lossy.store.read(COUNT)[0][0] == 1

    def test_one_that_ended_while_nobody_used_it_is_found_before_the_commit(
        self, lossy: Services
    ) -> None:
        """Though a write that loads nothing takes its COMMIT along."""
        store = lossy.store
        store.run(lambda tx: add_at_end(tx, "x"))
        assert count_sendings(lambda: store.run(lambda tx: add_at_end(tx, "y"))) == 1
        with store.reader.connect() as connection:
            self.end_others(lossy, connection)
        idle = store.writer.raw_connection()
        session = session_of(idle, store.dialect)
        deadline = time.monotonic() + 30
        while session.is_open():
            assert time.monotonic() < deadline
        idle.close()
        store.run(lambda tx: add_at_end(tx, "z"))
        assert store.read(COUNT)[0][0] == 3

    def test_one_that_was_long_unused_has_its_commit_by_itself(
        self, lossy: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transaction, "TRUSTED_S", 0.0)
        lossy.store.run(lambda tx: add_at_end(tx, "x"))
        assert count_sendings(lambda: lossy.store.run(lambda tx: add_at_end(tx, "y"))) == 2

    def test_a_connection_lost_at_commit_is_told_not_repeated(self, lossy: Services) -> None:
        runs: list[int] = []

        def attempt(tx: Transaction) -> None:
            runs.append(1)
            add(tx, "x")
            self.cut(lossy)

        with pytest.raises(StoreUnavailable):
            lossy.store.run(attempt)
        assert len(runs) == 1


def test_a_lost_connection_keeps_no_lock_though_its_error_is_kept(tmp_path: object) -> None:
    """The claim queue hands errors on, and with them all that they refer to."""
    services = open_services(f"sqlite:///{tmp_path}/books.db")
    lost = sqlite3.OperationalError("disk I/O error")
    lost.sqlite_errorname = "SQLITE_IOERR"
    kept: list[Transaction] = []

    def attempt(tx: Transaction) -> None:
        kept.append(tx)
        tx.insert(INSERT, [{"name": "job", "holder": "process", "beat": 1}])
        tx.send()
        raise lost

    with pytest.raises(StoreUnavailable):
        services.store.run(attempt)
    assert kept
    with contextlib.closing(sqlite3.connect(f"{tmp_path}/books.db", timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
    services.store.close()


def test_a_server_that_is_away_is_told_as_such() -> None:
    store = Store.open("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        store.read(COUNT)
    with pytest.raises(StoreUnavailable) as unavailable:
        store.run(lambda tx: add(tx, "x"))
    # What kept it from answering is what the alert tells.
    assert "psycopg.OperationalError" in error_told(unavailable.value)["causes"]


def test_a_full_disk_is_told_as_such(tmp_path: object) -> None:
    services = open_services(f"sqlite:///{tmp_path}/books.db")

    def attempt(tx: Transaction) -> None:
        tx.load(Load("PRAGMA max_page_count = 1"))
        for number in range(10_000):
            add(tx, f"{number:0200d}")

    with pytest.raises(StoreUnavailable):
        services.store.run(attempt)
    assert services.store.read(COUNT)[0][0] == 0
    assert Trouble.FULL.value
