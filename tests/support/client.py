"""A plain HTTP client for the Placement API: in-process over WSGI, or over a socket."""

import http.client
import io
import json as json_module
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

MICROVERSION_HEADER = "OpenStack-API-Version"
WSGIApp = Callable[..., Iterable[bytes]]


class Headers(dict[str, str]):
    """Response headers under lower-case names; a repeated header's values are joined."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Headers":
        headers = cls()
        for name, text in pairs:
            known = headers.get(name.lower())
            headers[name.lower()] = text if known is None else f"{known}, {text}"
        return headers


@dataclass(frozen=True)
class Answer:
    """What came back; unpacks to (status, headers, json)."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON, or None where it is not."""
        try:
            return json_module.loads(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    @property
    def code(self) -> str | None:
        """The error code of an error document (1.23 and newer)."""
        try:
            return self.json["errors"][0].get("code")
        except (TypeError, KeyError, IndexError):
            return None

    @property
    def detail(self) -> str:
        """The detail of an error document, else the whole text."""
        try:
            return str(self.json["errors"][0]["detail"])
        except (TypeError, KeyError, IndexError):
            return self.text

    def __iter__(self) -> Iterator[Any]:
        return iter((self.status, self.headers, self.json))

    def __repr__(self) -> str:
        return f"<{self.status} {self.text[:400]}>"


class Transport(Protocol):
    """Sends one request as it is and gives its answer."""

    def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer: ...


def over_wsgi(app: WSGIApp, *, host: str = "localhost", script_name: str = "") -> Transport:
    """Send requests straight into a WSGI application; what it raises comes out here."""

    def send(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": script_name,
            # PEP 3333: bytes as latin-1 text.
            "PATH_INFO": urllib.parse.unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": host,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": host,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if body:
            environ["CONTENT_LENGTH"] = str(len(body))
        for name, text in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = text
        started: list[Any] = []

        def start_response(status: str, pairs: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, pairs]
            return lambda _chunk: None

        chunks = app(environ, start_response)
        try:
            content = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close:
                close()
        status, pairs = started
        return Answer(int(status.split()[0]), Headers.of(pairs), content)

    return send


def over_http(host: str, port: int, *, timeout_s: float = 60.0, keep: bool = True) -> Transport:
    """Send requests over one kept connection, made anew where the server closed it.

    Without ``keep`` each request has a connection of its own.
    """
    kept: list[http.client.HTTPConnection] = []

    def send(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        reused = bool(kept)
        if not kept:
            kept.append(http.client.HTTPConnection(host, port, timeout=timeout_s))
        connection = kept[0]
        try:
            connection.request(method, target, body=body or None, headers=dict(headers))
            response = connection.getresponse()
            content = response.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            connection.close()
            kept.clear()
            # Only a kept connection that the server had closed before it saw the request.
            if not reused or method not in ("GET", "HEAD"):
                raise
            return send(method, target, headers, body)
        if response.will_close or not keep:
            connection.close()
            kept.clear()
        return Answer(response.status, Headers.of(response.getheaders()), content)

    return send


class Client:
    """Speaks the Placement API as one user at one microversion."""

    def __init__(
        self, transport: Transport, *, microversion: str | None = None, token: str | None = "admin"
    ) -> None:
        self.transport = transport
        self.microversion = microversion
        self.token = token

    def at(self, microversion: str | None) -> "Client":
        """The same client at another microversion."""
        return Client(self.transport, microversion=microversion, token=self.token)

    def as_user(self, token: str | None) -> "Client":
        """The same client with another token, or none."""
        return Client(self.transport, microversion=self.microversion, token=token)

    def send(
        self,
        method: str,
        target: str,
        *,
        body: Any = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; ``body`` goes out as JSON, ``raw`` as it is."""
        outgoing: dict[str, str] = {"Accept": "application/json"}
        if self.token is not None:
            outgoing["X-Auth-Token"] = self.token
        if self.microversion is not None:
            outgoing[MICROVERSION_HEADER] = f"placement {self.microversion}"
        content = raw if raw is not None else b""
        if raw is None and body is not None:
            content = json_module.dumps(body).encode()
        if content:
            outgoing["Content-Type"] = "application/json"
        outgoing |= dict(headers or {})
        return self.transport(method, target, outgoing, content)

    def get(self, target: str, **more: Any) -> Answer:
        return self.send("GET", target, **more)

    def put(self, target: str, body: Any = None, **more: Any) -> Answer:
        return self.send("PUT", target, body=body, **more)

    def post(self, target: str, body: Any = None, **more: Any) -> Answer:
        return self.send("POST", target, body=body, **more)

    def delete(self, target: str, **more: Any) -> Answer:
        return self.send("DELETE", target, **more)
