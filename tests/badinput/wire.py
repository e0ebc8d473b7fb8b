"""Bytes on a socket, so that nothing is tidied up on the way to the server."""

import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

GIVE_UP_S = 60.0


@dataclass(frozen=True)
class RawAnswer:
    """The status (None: the server closed the connection without one), body and time taken."""

    status: int | None
    body: bytes
    took_s: float

    def __repr__(self) -> str:
        return f"<{self.status} in {self.took_s:.2f} s: {self.body[:300]!r}>"


def send_bytes(port: int, request: bytes, *, half_close: bool = False) -> RawAnswer:
    """Send bytes as they are, and read one answer."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S) as connection:
        # The server may refuse before it has read all; its answer may still be there.
        with contextlib.suppress(OSError):
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        head, body = _read(connection)
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else None
    return RawAnswer(status, body, time.monotonic() - start)


def build_request(
    method: str,
    target: bytes,
    *,
    headers: Mapping[str, bytes] | None = None,
    body: bytes = b"",
    microversion: str = "1.39",
) -> bytes:
    """A request of an administrator; ``headers`` replaces, and an empty text leaves out."""
    fields: dict[str, bytes] = {
        "Host": b"localhost",
        "Connection": b"close",
        "X-Auth-Token": b"admin",
        "X-Roles": b"admin,service",
        "Accept": b"application/json",
        "OpenStack-API-Version": b"placement " + microversion.encode(),
    }
    if body:
        fields |= {
            "Content-Type": b"application/json",
            "Content-Length": str(len(body)).encode(),
        }
    fields |= dict(headers or {})
    lines = [method.encode() + b" " + target + b" HTTP/1.1"]
    lines += [name.encode() + b": " + text for name, text in fields.items() if text]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _read(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    with contextlib.suppress(OSError):
        while chunk := connection.recv(65536):
            received += chunk
            head, separator, body = received.partition(b"\r\n\r\n")
            if separator and len(body) >= _content_length(head):
                break
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def _content_length(head: bytes) -> float:
    """The length that the answer states; endless where it ends with the connection."""
    for line in head.split(b"\r\n")[1:]:
        name, _, text = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(text)
    return 0 if head.split(b" ", 2)[1] in (b"204", b"304") else float("inf")
