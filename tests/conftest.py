"""What every suite shares: fixtures, and that every run tries the same."""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.support import ids
from tests.support.databases import DatabaseKind, Databases

MARKERS = (
    "postgresql: needs PostgreSQL's server binaries",
    "mariadb: needs MariaDB's server binaries",
    "slow: takes minutes; left to .ci/run",
)

# MOORAGE_EXPLORE=1 tries other examples in each run. Nothing hangs on how fast the machine is.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("explore" if os.environ.get("MOORAGE_EXPLORE") == "1" else "same")
# Hypothesis also tries numbers and words that stand in those modules that happen to be loaded by
# then, so that a test would try other examples in a worker of its own than after others.
providers._get_local_constants = providers.Constants


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    ids.begin(item.nodeid)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Database servers of this session; each starts when it is first asked for a database."""
    servers = Databases(tmp_path_factory.mktemp("databases"))
    yield servers
    servers.end()


@pytest.fixture
def fresh_database(databases: Databases) -> Callable[[DatabaseKind | str], str]:
    """Makes a new empty database of a kind and returns its SQLAlchemy URL."""
    return databases.fresh


def _mark(kind: DatabaseKind) -> pytest.MarkDecorator | tuple[()]:
    marks = {
        DatabaseKind.POSTGRESQL: pytest.mark.postgresql,
        DatabaseKind.MARIADB: pytest.mark.mariadb,
    }
    return marks.get(kind, ())


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, id=kind.value, marks=_mark(kind)) for kind in DatabaseKind],
)
def database_kind(request: pytest.FixtureRequest) -> DatabaseKind:
    """Runs a test once on each database."""
    kind: DatabaseKind = request.param
    return kind
