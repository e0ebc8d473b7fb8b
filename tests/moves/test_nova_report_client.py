"""Nova's real report client moves instances through a served Moorage."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.moves.nova import Site
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, choose_subject
from tests.support.processes import StartFailed
from tests.support.servers import REPOSITORY, Server, serve
from tests.support.world import new_uuid

pytestmark = pytest.mark.slow

FLAVOR = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 57}


class Nova:
    """A process with Nova's client in it; what is called carries a user action's request id."""

    def __init__(self, url: str, log_path: Path) -> None:
        if importlib.util.find_spec("nova") is None:
            raise StartFailed("Nova is not installed (make .venv/.nova)")
        self._log = log_path.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.moves.report_client", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=REPOSITORY,
            text=True,
        )

    def ask(self, method: str, request_id: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, request_id, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "Nova's client has ended; its log is beside the server's"
        return json.loads(line)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


@pytest.fixture
def server(databases: Databases, tmp_path: Path) -> Iterator[Server]:
    deployment = Deployment(tmp_path / "served", databases.fresh(DatabaseKind.SQLITE))
    with serve(choose_subject(), deployment, workers=2) as server:
        yield server


@pytest.fixture
def nova(server: Server, tmp_path: Path) -> Iterator[Nova]:
    nova = Nova(server.url, tmp_path / "nova.log")
    yield nova
    nova.end()


def action() -> str:
    """The request id of one user action."""
    return f"req-{new_uuid()}"


@pytest.fixture
def site(server: Server) -> Site:
    return Site.build(server.client(microversion="1.39"), disk=100)


@pytest.fixture
def instance(nova: Nova, site: Site) -> str:
    """An instance with 57 of the 95 units in use of a pool of 100."""
    other, mine = new_uuid(), new_uuid()
    for uuid, disk in ((other, 38), (mine, 57)):
        done = nova.ask("schedule", action(), uuid, FLAVOR | {"DISK_GB": disk}, site.hosts[0])
        assert done == {"claimed": True}
    assert site.pool_used() == 95
    return mine


@pytest.mark.parametrize("ends", ["confirm", "revert"])
def test_an_instance_with_most_of_a_full_pool_is_moved(
    nova: Nova, site: Site, instance: str, ends: str
) -> None:
    request_id, migration = action(), new_uuid()
    source = nova.ask("held_by", request_id, instance)
    sampled = [site.pool_used()]
    assert nova.ask("move", request_id, instance, migration) is True
    sampled.append(site.pool_used())
    done = nova.ask("schedule", request_id, instance, FLAVOR, site.hosts[1])
    assert done == {"claimed": True}
    sampled += [site.pool_used(), site.project_used()]
    if ends == "confirm":
        assert nova.ask("drop", action(), migration) is True
        left = {site.hosts[1]: {"VCPU": 1, "MEMORY_MB": 512}, site.pool: {"DISK_GB": 57}}
    else:
        assert nova.ask("move", action(), migration, instance) is True
        left = source
    sampled.append(site.pool_used())
    assert sampled == [95] * 5
    assert nova.ask("held_by", action(), instance) == left
    assert nova.ask("held_by", action(), migration) == {}


def test_a_larger_flavor_gets_what_the_pool_has_left_and_no_more(
    nova: Nova, site: Site, instance: str
) -> None:
    request_id, migration = action(), new_uuid()
    assert nova.ask("move", request_id, instance, migration) is True
    too_large, fits = FLAVOR | {"DISK_GB": 63}, FLAVOR | {"DISK_GB": 62}
    assert nova.ask("schedule", request_id, instance, too_large, site.hosts[1]) is None
    done = nova.ask("schedule", request_id, instance, fits, site.hosts[1])
    assert done == {"claimed": True}
    assert site.pool_used() == 100
    assert nova.ask("drop", action(), migration) is True
    assert site.pool_used() == 100
