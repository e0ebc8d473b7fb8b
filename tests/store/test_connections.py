"""How many connections a process opens, how long it keeps them, and how it waits for the first."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import event, make_url

from moorage.domain.refusals import StoreUnavailable
from moorage.serve import open_ready_store, open_store
from moorage.settings import DatabaseSettings
from moorage.store import migrate
from moorage.store.dialects.base import CONNECT_S_MAX
from moorage.store.lean import KEPT_MAX, KEPT_S_MAX, Keeping
from moorage.store.sql import query
from moorage.store.store import Store
from tests.support.books import now
from tests.support.databases import DatabaseKind
from tests.support.processes import find_free_port

SQL = "SELECT COUNT(*) AS number FROM projects"
COUNT = query(SQL)

servers = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(DatabaseKind.POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(DatabaseKind.MARIADB, marks=pytest.mark.mariadb),
    ],
    ids=lambda kind: kind.value,
)


def opened_by(store: Store) -> list[object]:
    """The driver's connections that a store opens from now on."""
    found: list[object] = []
    for engine in (store.reader, store.writer):
        event.listen(engine, "connect", lambda connection, _record: found.append(connection))
    return found


def read_at_once(store: Store, count: int) -> None:
    """Read in several threads that all hold a connection before one gives it back."""
    failures: list[BaseException] = []

    def read() -> None:
        try:
            store.read_lean(SQL, ())
            store.read(COUNT)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(("most", "opened"), [(1, 2), (2, 2), (3, 3)])
def test_readers_and_writers_share_what_a_process_may_open(
    most: int, opened: int, tmp_path: Path
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/books.db", connections_max=most)
    found = opened_by(store)
    migrate.upgrade(store, at=now())
    read_at_once(store, 8)
    read_at_once(store, 8)
    assert len(found) <= opened
    store.close()


def test_the_shortest_way_leaves_a_connection_for_others(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/books.db", connections_max=1, connection_wait_s=0)
    migrate.upgrade(store, at=now())
    for _ in range(3):
        store.read_lean(SQL, ())
        assert store.read(COUNT)[0][0] == 0
    store.close()


@pytest.mark.parametrize(
    ("readers_max", "recycle_s", "keeping"),
    [
        (0, 3600, Keeping(KEPT_MAX, KEPT_S_MAX)),
        (16, 3600, Keeping(KEPT_MAX, KEPT_S_MAX)),
        (2, 3600, Keeping(1, KEPT_S_MAX)),
        (1, -1, Keeping(0, KEPT_S_MAX)),
        (16, 60, Keeping(KEPT_MAX, 60)),
    ],
)
def test_what_is_kept_at_hand_is_within_the_pools_bounds(
    readers_max: int, recycle_s: int, keeping: Keeping
) -> None:
    assert Keeping.within(readers_max, recycle_s=recycle_s) == keeping


def test_a_connection_that_has_lain_too_long_goes_back_to_the_pool(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/books.db", recycle_s=0)
    migrate.upgrade(store, at=now())
    store.read_lean(SQL, ())
    found = opened_by(store)
    store.read_lean(SQL, ())
    # The pool replaces all that are older than nothing: none was used again behind its back.
    assert found
    store.close()


@pytest.mark.parametrize(("stated", "bound"), [("", CONNECT_S_MAX), ("?connect_timeout=3", "3")])
@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_no_attempt_to_connect_takes_for_ever(driver: str, stated: str, bound: object) -> None:
    store = Store.open(f"{driver}://nobody@127.0.0.1:1/none{stated}")
    bounds: list[object] = []
    event.listen(
        store.reader,
        "do_connect",
        lambda _d, _r, _a, given: bounds.append(given["connect_timeout"]),
    )
    with pytest.raises(StoreUnavailable):
        store.read(COUNT)
    assert set(map(str, bounds)) == {str(bound)}


def settings_for(url: str, *, retries: int | None) -> DatabaseSettings:
    return DatabaseSettings(
        url=url,
        embedded_file=None,
        upgrade_at_start=True,
        connections_max=None,
        connection_wait_s=None,
        recycle_s=3600,
        connect_retries_max=retries,
        connect_pause_s=0,
    )


def test_a_start_tries_a_database_that_does_not_answer_as_often_as_it_may() -> None:
    told: list[int | None] = []
    with pytest.raises(StoreUnavailable):
        open_ready_store(
            settings_for("postgresql+psycopg://nobody@127.0.0.1:1/none", retries=3),
            tell_absent=told.append,
        )
    assert told == [3, 2, 1]


def test_a_file_that_cannot_be_opened_is_not_waited_for(tmp_path: Path) -> None:
    told: list[int | None] = []
    with pytest.raises(StoreUnavailable):
        open_ready_store(
            settings_for(f"sqlite:///{tmp_path}/no/such/directory/books.db", retries=3),
            tell_absent=told.append,
        )
    assert told == []


@contextmanager
def forwarded(here: int, there: int) -> Iterator[None]:
    """What connects to one port of this machine reaches another."""
    listener = socket.create_server(("127.0.0.1", here))
    threading.Thread(target=_accept, args=(listener, there), daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def _accept(listener: socket.socket, there: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", there))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@servers
def test_a_start_waits_for_a_database_that_comes_later(
    kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> None:
    url = make_url(fresh_database(kind))
    port = find_free_port()
    told: list[int | None] = []
    away = forwarded(port, url.port or 0)

    def tell(left: int | None) -> None:
        told.append(left)
        if len(told) == 2:
            away.__enter__()

    late = url.set(port=port).render_as_string(hide_password=False)
    store = open_ready_store(settings_for(late, retries=None), tell_absent=tell)
    assert told == [None, None]
    assert store.read(COUNT)[0][0] == 0
    store.close()
    away.__exit__(None, None, None)


@pytest.mark.mariadb
def test_a_user_that_is_not_let_in_is_told_at_once_and_by_number(
    fresh_database: Callable[[DatabaseKind], str],
) -> None:
    from moorage.telemetry.redact import error_told

    url = make_url(fresh_database(DatabaseKind.MARIADB)).set(username="nobody", password="s3cr3t")
    told: list[int | None] = []
    settings = settings_for(url.render_as_string(hide_password=False), retries=None)
    with pytest.raises(Exception, match="denied") as refused:
        open_ready_store(settings, tell_absent=told.append)
    assert told == []
    assert error_told(refused.value)["database_code"] == "1045"
    assert "s3cr3t" not in str(error_told(refused.value))
    open_store(settings).close()
