"""Served processes: Moorage as its command line starts it, and the peer on the same HTTP server."""

import http.client
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.client import Client, over_http
from tests.support.deployments import Deployment, Subject
from tests.support.processes import Running, find_free_port, run_to_end, start, wait_until

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A served deployment and where it listens."""

    port: int
    running: Running

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self, microversion: str | None = None, *, token: str | None = "admin") -> Client:
        """A client with a connection of its own; not to be shared by threads."""
        return Client(over_http(HOST, self.port), microversion=microversion, token=token)


@contextmanager
def serve(subject: Subject, deployment: Deployment, *, workers: int = 1) -> Iterator[Server]:
    """Serve a deployment on a free loopback port for as long as the block runs."""
    conf_path = deployment.write(subject)
    environment = _make_environment(conf_path.parent)
    port = find_free_port()
    if subject is Subject.PEER:
        # Upstream's workers would race for the schema.
        run_to_end(
            [sys.executable, "-c", "import placement.wsgi.api"],
            user=None,
            cwd=deployment.directory,
            env=environment,
        )
    commands = {
        Subject.MOORAGE: [
            sys.executable, "-m", "moorage", "serve",
            "--host", HOST, "--port", str(port), "--workers", str(workers),
        ],
        Subject.PEER: [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws",
            "--host", HOST, "--port", str(port), "--workers", str(workers),
            "placement.wsgi.api:application",
        ],
    }  # fmt: skip
    running = start(
        commands[subject],
        log_path=deployment.directory / "server.log",
        cwd=deployment.directory,
        env=environment,
        end_signal=signal.SIGTERM,
    )
    try:
        wait_until(lambda: _answers(port), running, f"{subject.value} on port {port}")
        yield Server(port, running)
    finally:
        running.end()


def _make_environment(conf_directory: Path) -> dict[str, str]:
    # What the person's own shell says about clouds and Placement is not part of the test.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    paths = [str(REPOSITORY / "src"), environment.get("PYTHONPATH", "")]
    return environment | {
        "OS_PLACEMENT_CONFIG_DIR": str(conf_directory),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONWARNINGS": "ignore",
    }


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
