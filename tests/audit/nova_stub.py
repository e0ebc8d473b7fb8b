"""A compute API as far as the auditor asks it: pages, silent cells, servers that no list shows."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

import openstack
from openstack.connection import Connection

PAGE = 2


@dataclass
class NovaStub:
    """What is listed, and what is there though no list shows it."""

    servers: list[dict[str, Any]] = field(default_factory=list)
    migrations: list[dict[str, Any]] = field(default_factory=list)
    hypervisors: list[dict[str, Any]] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    before: Callable[[str], None] = field(default=lambda path: None)
    """Called with the path before a request is answered."""
    url: str = ""

    def connect(self) -> Connection:
        """openstacksdk's connection to it."""
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_type="admin_token",
            auth={"endpoint": self.url, "token": "admin"},
            compute_endpoint_override=self.url,
        )

    def add_server(self, uuid: str, host: str | None, **more: Any) -> None:
        self.servers.append(
            {
                "id": uuid,
                "status": "ACTIVE",
                "OS-EXT-STS:task_state": None,
                "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
                "tenant_id": "project",
                "user_id": "user",
                "image": {"id": "an-image"},
                "flavor": {
                    "vcpus": 2,
                    "ram": 512,
                    "disk": 20,
                    "ephemeral": 0,
                    "swap": 0,
                    "extra_specs": {},
                },
                **more,
            }
        )

    def answer(self, environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append((path, environ.get("HTTP_OPENSTACK_API_VERSION")))
        self.before(path)
        status, document = self._document(path, parse_qs(environ["QUERY_STRING"]))
        start_response(f"{status} whatever", [("content-type", "application/json")])
        return [json.dumps(document).encode()]

    def _document(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, Any]:
        if path == "/":
            link = {"rel": "self", "href": self.url + "/"}
            version = {
                "id": "v2.1",
                "status": "CURRENT",
                "version": "2.100",
                "min_version": "2.1",
                "links": [link],
            }
            return 200, {"version": version}
        if path in self.broken:
            return 500, {}
        lists = {
            "/servers/detail": ("servers", self.servers, "id"),
            "/os-migrations": ("migrations", self.migrations, "uuid"),
            "/os-hypervisors": ("hypervisors", self.hypervisors, "id"),
        }
        if path in lists:
            return 200, self._page(*lists[path], query)
        uuid = path.rpartition("/")[2]
        there = uuid in self.hidden or any(one["id"] == uuid for one in self.servers)
        return (200, {"server": {"id": uuid}}) if there else (404, {})

    def _page(
        self,
        name: str,
        entries: list[dict[str, Any]],
        key: str,
        query: Mapping[str, list[str]],
    ) -> dict[str, Any]:
        assert int(query["limit"][0]) > PAGE
        marker = query.get("marker", [None])[0]
        start = 0
        if marker is not None:
            start = next(at for at, one in enumerate(entries) if one[key] == marker) + 1
        if name == "servers":
            assert query["all_tenants"] == ["1"]
        page = entries[start : start + PAGE]
        # As the real one does: what is not shown leaves a page short, and a short one has no link.
        return {name: [one for one in page if not one.get("hidden")]}


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(stub: NovaStub) -> Iterator[NovaStub]:
    """The stub on a port of its own."""
    server = make_server("127.0.0.1", 0, stub.answer, handler_class=_Quiet)
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
