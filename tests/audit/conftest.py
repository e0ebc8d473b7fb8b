"""A small cloud on a new database of each kind."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.audit.cloud import Cloud
from tests.support.books import open_services
from tests.support.databases import DatabaseKind


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables and names: copying it is quicker than making it."""
    file = tmp_path_factory.mktemp("empty") / "books.db"
    open_services(f"sqlite:///{file}").store.close()
    return file


@pytest.fixture
def migrated_database(
    fresh_database: Callable[[DatabaseKind], str], empty_books: Path
) -> Callable[[DatabaseKind], str]:
    """Makes a new database with all tables and returns its URL."""

    def make(kind: DatabaseKind) -> str:
        url = fresh_database(kind)
        if kind is DatabaseKind.SQLITE:
            shutil.copyfile(empty_books, str(make_url(url).database))
        return url

    return make


@pytest.fixture
def cloud(
    database_kind: DatabaseKind, migrated_database: Callable[[DatabaseKind], str]
) -> Iterator[Cloud]:
    """For suites that do not need every kind, ``sqlite_cloud``."""
    yield from _cloud(migrated_database(database_kind))


@pytest.fixture
def sqlite_url(migrated_database: Callable[[DatabaseKind], str]) -> str:
    return migrated_database(DatabaseKind.SQLITE)


@pytest.fixture
def sqlite_cloud(sqlite_url: str) -> Iterator[Cloud]:
    yield from _cloud(sqlite_url)


def _cloud(url: str) -> Iterator[Cloud]:
    services = open_services(url)
    yield Cloud(services)
    services.store.close()
