"""Malformed, oversized, mistyped and impossible requests, on each database."""

from collections.abc import Iterator

import pytest

from tests.badinput import odd
from tests.badinput.bodies import (
    AT_PROVIDER,
    ROUTES,
    list_places,
    replace_key,
    replace_value,
)
from tests.badinput.books import Books
from tests.badinput.wire import RawAnswer, build_request, send_bytes
from tests.support.cpu import list_descendants, load_cpu_s
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, choose_subject
from tests.support.servers import Server, serve
from tests.support.world import World

# The server of this file is started once, not once for each worker of the run.
pytestmark = pytest.mark.xdist_group("bad-input")

ANSWER_CPU_S_MAX = 2.0
"""What the server may spend on one answer; how long that takes is up to the machine."""
SECRETS = (b"Traceback", b"sqlalchemy", b"[SQL:", b"psycopg", b"pymysql")


class Victim:
    """A served deployment, with the books that bad requests must not touch."""

    def __init__(self, server: Server, books: Books) -> None:
        self._server = server
        self._books = books
        self.client = server.client("1.39")
        served_by = server.running.process.pid
        self._pids = [served_by, *list_descendants(served_by)]
        self._dump: dict[str, list[object]] | None = None

    def judge(self, request: bytes, *, may_succeed: bool, half_close: bool = False) -> str | None:
        """What is wrong about how a request was received, or None."""
        before = self._dump or self._books.dump()
        cpu_s = self._load_cpu_s()
        answer = send_bytes(self._server.port, request, half_close=half_close)
        status_max = 200 if may_succeed else 400
        if answer.status is not None and not status_max <= answer.status < 500:
            return f"answered {answer!r}"
        if self._load_cpu_s() - cpu_s > ANSWER_CPU_S_MAX:
            return f"was too much work: {answer!r}"
        if any(secret in answer.body for secret in SECRETS):
            return f"tells too much: {answer!r}"
        self._dump = None
        if not self._succeeded(answer):
            self._dump = self._books.dump()
            if self._dump != before:
                return f"changed the books, though it was refused: {answer!r}"
        return None

    def _load_cpu_s(self) -> float:
        return sum(map(load_cpu_s, self._pids))

    def check_alive(self) -> None:
        assert self._server.client().get("/").status == 200

    def _succeeded(self, answer: RawAnswer) -> bool:
        return answer.status is not None and answer.status < 400


@pytest.fixture(scope="module")
def victim(
    database_kind: DatabaseKind,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Victim]:
    url = databases.fresh(database_kind)
    with serve(choose_subject(), Deployment(tmp_path_factory.mktemp("served"), url)) as server:
        world = World(server.client())
        world.provider("host", uuid=odd.PROVIDER)
        world.inventory(odd.PROVIDER, "VCPU", 8)
        world.resource_class("CUSTOM_GOLD")
        books = Books(url)
        yield Victim(server, books)
        books.close()


@pytest.mark.parametrize("name", ROUTES)
def test_a_body_that_is_no_document_of_the_api_is_refused(victim: Victim, name: str) -> None:
    route = ROUTES[name]
    wrong = {}
    for body_name, body in odd.RAW_BODIES.items():
        request = build_request(
            route.method, route.target.encode(), body=body, microversion=route.microversion
        )
        wrong[body_name] = victim.judge(request, may_succeed=False)
    victim.check_alive()
    assert {where: what for where, what in wrong.items() if what} == {}


@pytest.mark.parametrize("name", ROUTES)
def test_no_odd_value_or_key_at_any_place_of_a_body_is_a_failure(victim: Victim, name: str) -> None:
    route = ROUTES[name]
    wrong = {}
    for place, (_, key) in enumerate(list_places(route.make_body(victim.client))):
        bodies = {
            f"value of {key!r} {odd_name}": replace_value(
                route.make_body(victim.client), place, text
            )
            for odd_name, text in odd.VALUES.items()
        } | {
            f"{odd_key[:20]!r} as key {key!r}": replace_key(
                route.make_body(victim.client), place, odd_key
            )
            for odd_key in odd.KEYS
        }
        for where, body in bodies.items():
            request = build_request(
                route.method, route.target.encode(), body=body, microversion=route.microversion
            )
            wrong[where] = victim.judge(request, may_succeed=True)
    victim.check_alive()
    assert {where: what for where, what in wrong.items() if what} == {}


def test_a_key_that_comes_twice_is_no_failure(victim: Victim) -> None:
    body = b'{"name": "host", "name": "host"}'
    request = build_request("PUT", AT_PROVIDER.encode(), body=body)
    assert victim.judge(request, may_succeed=True) is None


@pytest.mark.parametrize("name", odd.REFUSED_TARGETS)
def test_an_impossible_target_is_refused(victim: Victim, name: str) -> None:
    request = build_request("GET", odd.REFUSED_TARGETS[name])
    assert victim.judge(request, may_succeed=False) is None
    victim.check_alive()


@pytest.mark.parametrize("name", odd.TARGETS)
def test_an_odd_target_is_no_failure(victim: Victim, name: str) -> None:
    assert victim.judge(build_request("GET", odd.TARGETS[name]), may_succeed=True) is None
    victim.check_alive()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        b"/traits/CUSTOM_%00",
        b"/traits/CUSTOM_%ff",
        b"/resource_classes/CUSTOM_%00",
        b"/resource_classes/CUSTOM_%ED%A0%80",
        b"/allocations/%00",
        b"/resource_providers/%00",
    ],
)
def test_nothing_is_written_under_an_impossible_name(
    victim: Victim, method: str, target: bytes
) -> None:
    assert victim.judge(build_request(method, target), may_succeed=False) is None


@pytest.mark.parametrize("name", odd.HEADERS)
def test_odd_headers_are_no_failure(victim: Victim, name: str) -> None:
    request = build_request("GET", b"/resource_providers", headers=odd.HEADERS[name])
    assert victim.judge(request, may_succeed=True) is None
    victim.check_alive()


@pytest.mark.parametrize("name", odd.BODY_HEADERS)
def test_headers_that_do_not_fit_their_body_are_refused(victim: Victim, name: str) -> None:
    body = b'{"name": "never", "uuid": "dddddddd-0000-4000-8000-000000000000"}'
    request = build_request(
        "POST", b"/resource_providers", headers=odd.BODY_HEADERS[name], body=body
    )
    assert victim.judge(request, may_succeed=False, half_close=True) is None
    victim.check_alive()


@pytest.mark.parametrize("method", ["BREW", "PATCH", "TRACE", "get", "X" * 5000, "PROPFIND"])
def test_an_unknown_method_is_refused(victim: Victim, method: str) -> None:
    request = build_request(method, b"/resource_providers")
    assert victim.judge(request, may_succeed=False) is None


@pytest.mark.parametrize("name", odd.GARBAGE)
def test_what_is_not_http_is_refused(victim: Victim, name: str) -> None:
    assert victim.judge(odd.GARBAGE[name], may_succeed=False, half_close=True) is None
    victim.check_alive()
