"""Services on a new database of each kind."""

from collections.abc import Callable, Iterator

import pytest

from moorage.operations.services import Services
from tests.frame.conftest import lines, log_file  # noqa: F401 - fixtures
from tests.support.books import open_services
from tests.support.databases import DatabaseKind


@pytest.fixture
def services(
    database_kind: DatabaseKind, fresh_database: Callable[[DatabaseKind], str]
) -> Iterator[Services]:
    found = open_services(fresh_database(database_kind))
    yield found
    found.store.close()
