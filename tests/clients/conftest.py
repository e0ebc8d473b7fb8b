"""One served deployment, with an empty database, for each module."""

from collections.abc import Iterator

import pytest

from tests.clients.command_line import CommandLine
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, choose_subject
from tests.support.servers import Server, serve


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    deployment = Deployment(tmp_path_factory.mktemp("served"), databases.fresh(DatabaseKind.SQLITE))
    with serve(choose_subject(), deployment) as server:
        yield server


@pytest.fixture(scope="module")
def openstack(server: Server) -> Iterator[CommandLine]:
    command_line = CommandLine(server.url)
    yield command_line
    command_line.end()
