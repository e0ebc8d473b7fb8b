"""One cluster for the module, and a served database on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.galera.site import Site, serve_on_both
from tests.support.galera import GaleraCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[GaleraCluster]:
    cluster = GaleraCluster()
    yield cluster
    cluster.end()


@pytest.fixture(scope="module")
def site(cluster: GaleraCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster.create_database("books")
    directory: Path = tmp_path_factory.mktemp("site")
    with serve_on_both(cluster, "books", directory) as site:
        yield site
