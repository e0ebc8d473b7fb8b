"""``moorage`` as an operator runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.client import Client, over_http
from tests.support.deployments import Deployment, Option, Subject
from tests.support.processes import (
    COMMAND_S_MAX,
    STOP_S_MAX,
    Running,
    find_free_port,
    start,
    wait_until,
)

# The server of this file is started once, not once for each worker of the run.
pytestmark = pytest.mark.xdist_group("own-command-line")

SECRET = "s3cr3t-of-the-database"
COMMAND = (sys.executable, "-m", "moorage")
ENVIRONMENT = {
    name: text for name, text in os.environ.items() if not name.startswith(("OS_", "MOORAGE_"))
} | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "COLUMNS": "200"}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_S_MAX,
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT | environment,
    )


def configure(directory: Path, **moorage: Option) -> dict[str, str]:
    """The environment of a deployment with its own empty database."""
    url = f"sqlite:///{directory / 'books.db'}"
    Deployment(directory, url, {"moorage": moorage}).write(Subject.MOORAGE)
    return {"OS_PLACEMENT_CONFIG_DIR": str(directory)}


@dataclass
class Served:
    """A running ``moorage serve`` and the way to it."""

    running: Running
    port: int
    host: str = "127.0.0.1"

    @property
    def client(self) -> Client:
        return Client(over_http(self.host, self.port), microversion="1.39")

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.running.log_path.read_text().splitlines()]


def serve(directory: Path, *, host: str = "127.0.0.1") -> Served:
    port = find_free_port()
    running = start(
        [*COMMAND, "serve", "--host", host, "--port", str(port), "--workers", "2"],
        log_path=directory / "serve.log",
        cwd=directory,
        env=ENVIRONMENT | configure(directory, metrics=True),
    )
    served = Served(running, port, host)
    wait_until(lambda: answers(served.client), running, "moorage serve")
    return served


def answers(client: Client) -> bool:
    try:
        return client.get("/").status == 200
    except (OSError, HTTPException):
        return False


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("served"))
    yield served
    served.running.end()


def test_one_command_serves_the_api(served: Served) -> None:
    assert served.client.get("/resource_providers").status == 200
    assert served.client.as_user(None).get("/resource_providers").status == 401


def test_a_request_is_one_line_of_json(served: Served) -> None:
    answer = served.client.get("/traits?name=startswith:HW_CPU")
    request_id = answer.headers["x-openstack-request-id"]

    def told() -> list[dict[str, object]]:
        return [line for line in served.lines() if line.get("request_id") == request_id]

    # Lines about requests are written in bundles, a moment later.
    wait_until(lambda: bool(told()), served.running, "the line about the request")
    (line,) = told()
    assert (line["event"], line["route"], line["status"]) == ("request", "/traits", 200)


def test_the_tour_can_be_taken_twice_and_cleaned_up(served: Served) -> None:
    url = f"http://127.0.0.1:{served.port}"
    for _ in range(2):
        tour = run("demo", "--url", url)
        assert tour.returncode == 0, tour.stderr
    for title in ("Before the migration", "While the instance migrates", "After the confirmation"):
        assert title in tour.stdout
    by_step = dict(re.findall(r"(order|start|confirm) .* (\d+)", tour.stdout))
    assert by_step == {"order": "100", "start": "100", "confirm": "100"}, tour.stdout
    assert len(served.client.get("/resource_providers").json["resource_providers"]) == 5
    assert run("demo", "--url", url, "--cleanup").returncode == 0
    assert served.client.get("/resource_providers").json["resource_providers"] == []


def test_the_metrics_are_those_of_all_workers(served: Served) -> None:
    def count() -> float:
        text = Client(over_http("127.0.0.1", served.port), token=None).get("/metrics").text
        wanted = 'moorage_requests_total{method="GET",route="/resource_classes",status="200"}'
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(wanted))

    before = count()
    for _ in range(20):  # a new connection each time, so that both workers get some
        assert served.client.get("/resource_classes").status == 200
    assert {count() for _ in range(10)} == {before + 20}


def test_a_second_service_does_not_start_on_the_same_port(served: Served, tmp_path: Path) -> None:
    second = run("serve", "--port", str(served.port), **configure(tmp_path))
    assert second.returncode == 1
    assert str(served.port) in second.stderr


def test_it_can_be_told_where_to_listen_by_a_name(tmp_path: Path) -> None:
    served = serve(tmp_path, host="localhost")
    served.running.end()


def test_it_stops_when_told_to_and_its_log_lacks_nothing(tmp_path: Path) -> None:
    served = serve(tmp_path)
    answered = [served.client.get("/traits/CUSTOM_NOWHERE") for _ in range(20)]
    served.running.process.send_signal(signal.SIGTERM)
    assert served.running.process.wait(STOP_S_MAX) == 0
    lines = served.lines()
    assert lines[-1]["event"] == "stopped"
    told = {line["request_id"] for line in lines if line["event"] == "request"}
    assert told >= {answer.headers["x-openstack-request-id"] for answer in answered}
    assert not answers(served.client)


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    served = serve(tmp_path)
    try:
        # The others have names of their own where setproctitle is there.
        workers = [
            child
            for child in children(served.running.process.pid)
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        assert workers
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: answers(served.client), served.running, "the new workers")
    finally:
        served.running.end()


def test_noauth2_is_not_served_beyond_loopback(tmp_path: Path) -> None:
    refused = run("serve", "--host", "0.0.0.0", **configure(tmp_path))
    assert refused.returncode == 1
    assert "allow_noauth_beyond_loopback" in refused.stderr


def test_the_database_is_upgraded_on_demand(tmp_path: Path) -> None:
    environment = configure(tmp_path)
    assert run("db", "status", **environment).returncode == 1
    assert run("db", "upgrade", **environment).returncode == 0
    status = run("db", "status", **environment)
    assert status.returncode == 0
    found, needed = (line.rpartition(" ")[2] for line in status.stdout.splitlines())
    assert found == needed
    assert found.isdecimal()


@pytest.mark.parametrize("words", [("db", "status"), ("audit",)])
def test_to_look_at_a_database_does_not_make_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    looked = run(*words, **configure(tmp_path))
    assert looked.returncode == 1
    assert "moorage db upgrade" in looked.stdout or "is not there" in looked.stderr
    assert not (tmp_path / "books.db").exists()


def test_a_service_without_its_tables_says_what_to_do(tmp_path: Path) -> None:
    refused = run(
        "serve",
        "--port",
        str(find_free_port()),
        **configure(tmp_path),
        OS_PLACEMENT_DATABASE__SYNC_ON_STARTUP="false",
    )
    assert refused.returncode == 1
    assert "moorage db upgrade" in refused.stderr


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://placement:{SECRET}@127.0.0.1:1/placement",
        f"mysql+pymysql://placement:{SECRET}@127.0.0.1:1/placement",
        f"oracle://placement:{SECRET}@127.0.0.1/placement",
        f"sqlite:////nowhere/at/all/{SECRET}.db",
    ],
)
@pytest.mark.parametrize("words", [("db", "status"), ("serve", "--port", "1")])
def test_no_error_tells_the_connection_url(
    tmp_path: Path, url: str, words: tuple[str, ...]
) -> None:
    if words[0] == "serve":
        words = ("serve", "--port", str(find_free_port()))
    failed = run(
        *words,
        **configure(tmp_path),
        OS_PLACEMENT_DATABASE__CONNECTION=url,
        OS_PLACEMENT_DATABASE__MAX_RETRIES="1",
        OS_PLACEMENT_DATABASE__RETRY_INTERVAL="0",
    )
    assert failed.returncode == 1
    assert failed.stderr
    assert SECRET not in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_application_for_other_servers_does_not_tell_it_either(tmp_path: Path) -> None:
    failed = subprocess.run(
        [sys.executable, "-c", "import moorage.wsgi"],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_S_MAX,
        env=ENVIRONMENT
        | configure(tmp_path)
        | {
            "OS_PLACEMENT_DATABASE__CONNECTION": f"postgresql://u:{SECRET}@127.0.0.1:1/d",
            "OS_PLACEMENT_DATABASE__MAX_RETRIES": "1",
            "OS_PLACEMENT_DATABASE__RETRY_INTERVAL": "0",
        },
    )
    assert failed.returncode == 1
    assert "the database does not answer yet" in failed.stderr
    assert "the service cannot start" in failed.stderr
    assert SECRET not in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_policy_in_force_is_shown(tmp_path: Path) -> None:
    shown = run("policy", "list", **configure(tmp_path))
    assert "placement:reshaper:reshape" in shown.stdout


def test_a_policy_that_cannot_be_read_ends_the_start_before_any_worker(tmp_path: Path) -> None:
    site = configure(tmp_path)
    (tmp_path / "policy.yaml").write_text('"placement:traits:list": [\n')
    failed = run("serve", "--port", str(find_free_port()), **site)
    assert failed.returncode == 1
    (told,) = failed.stderr.splitlines()
    assert str(tmp_path / "policy.yaml") in told


@pytest.mark.parametrize(
    ("auth_type", "told"),
    [
        ("passwordd", "[keystone_authtoken]auth_type: there is no plugin called passwordd"),
        ("password", "[keystone_authtoken] lacks what its auth_type needs: auth_url"),
    ],
)
def test_options_that_identify_nobody_end_the_start_before_any_worker(
    tmp_path: Path, auth_type: str, told: str
) -> None:
    failed = run(
        "serve",
        "--port",
        str(find_free_port()),
        **configure(tmp_path),
        OS_API__AUTH_STRATEGY="keystone",
        OS_KEYSTONE_AUTHTOKEN__AUTH_TYPE=auth_type,
        OS_KEYSTONE_AUTHTOKEN__PASSWORD=SECRET,
    )
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == f"moorage: {told}"
    assert SECRET not in failed.stdout + failed.stderr
    assert "worker" not in failed.stderr


def test_the_version_is_shown() -> None:
    from moorage import __version__

    assert run("version").stdout == run("--version").stdout == f"{__version__}\n"


def test_an_error_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    failed = run("policy", "list", **configure(tmp_path), OS_API__AUTH_STRATEGY="open")
    assert failed.returncode == 1
    assert "auth_strategy" in failed.stderr
    assert "Traceback" not in failed.stderr
