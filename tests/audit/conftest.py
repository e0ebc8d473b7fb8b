"""A small cloud on a new database of each kind."""

from collections.abc import Callable, Iterator

import pytest

from tests.audit.cloud import Cloud
from tests.support.books import open_services
from tests.support.databases import DatabaseKind


@pytest.fixture
def cloud(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> Iterator[Cloud]:
    services = open_services(fresh_database(database_kind))
    yield Cloud(services)
    services.store.close()
