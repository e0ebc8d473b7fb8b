"""Requests as the bytes that go over the wire, built before anything is timed."""

import re
from typing import Any, Final, NamedTuple

import orjson

MICROVERSION: Final = "1.36"
"""Nova's own; allocations at 1.38 and newer would need a consumer type."""

_HEAD: Final = (
    "{method} {target} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n"
    f"X-Auth-Token: admin\r\nOpenStack-API-Version: placement {MICROVERSION}\r\n"
)
_LENGTH: Final = b"\r\ncontent-length:"
_NOTHING: Final = b"HTTP/1.1 204"
_PLAIN_HEAD: Final = re.compile(
    rb"HTTP/1\.[01] (\d\d\d) [^\0]*?\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE
)


class Answer(NamedTuple):
    """A whole answer; a status of 0 is a connection that broke before one came."""

    status: int
    body: bytes

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def build_request(method: str, target: str, body: Any = None) -> bytes:
    """A request of the administrator at MICROVERSION; ``body`` goes out as JSON."""
    head = _HEAD.format(method=method, target=target)
    if body is None:
        return f"{head}\r\n".encode()
    content = orjson.dumps(body)
    length = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return f"{head}{length}".encode() + content


def read_whole(arrived: bytes) -> Answer | None:
    """An answer with a length that has arrived in one piece; None where it is another."""
    body_at = arrived.find(b"\r\n\r\n") + 4
    if body_at == len(arrived) and arrived.startswith(_NOTHING):
        return Answer(204, b"")
    head = _PLAIN_HEAD.match(arrived, 0, body_at)
    if head is None or len(arrived) - body_at != int(head[2]):
        return None
    return Answer(int(head[1]), arrived[body_at:])


class AnswerReader:
    """Takes an answer apart as it arrives: by its length, in chunks, or up to the end.

    Written for load: no header is kept but those that tell where the answer ends.
    """

    def __init__(self) -> None:
        self._arrived = bytearray()
        self._status = 0
        self._body_at = 0
        self._length: int | None = None
        self._chunked = False
        self._chunk_at = 0

    def feed(self, arrived: bytes) -> Answer | None:
        """The answer, once all of it has arrived; empty ``arrived`` is the connection's end."""
        self._arrived += arrived
        if not self._body_at and not self._read_head():
            return None if arrived else Answer(0, b"")
        if self._chunked:
            return self._read_chunks(ended=not arrived)
        if self._length is None:
            return None if arrived else self._answer(len(self._arrived))
        whole_at = self._body_at + self._length
        if len(self._arrived) >= whole_at:
            return self._answer(whole_at)
        return None if arrived else Answer(0, b"")

    def _read_head(self) -> bool:
        head_end = self._arrived.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        head = bytes(self._arrived[: head_end + 2]).lower()
        self._status = int(head[9:12])
        self._body_at = self._chunk_at = head_end + 4
        length_at = head.find(_LENGTH)
        if length_at >= 0:
            length_at += len(_LENGTH)
            self._length = int(head[length_at : head.index(b"\r", length_at)])
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        if self._status == 204:
            self._length, self._chunked = 0, False
        return True

    def _read_chunks(self, *, ended: bool) -> Answer | None:
        while (line_end := self._arrived.find(b"\r\n", self._chunk_at)) >= 0:
            size = int(bytes(self._arrived[self._chunk_at : line_end]).split(b";")[0], 16)
            next_at = line_end + 2 + size + 2
            if len(self._arrived) < next_at:
                break
            if size == 0:
                return self._join_chunks()
            self._chunk_at = next_at
        return Answer(0, b"") if ended else None

    def _join_chunks(self) -> Answer:
        pieces: list[bytes] = []
        at = self._body_at
        while True:
            line_end = self._arrived.index(b"\r\n", at)
            size = int(bytes(self._arrived[at:line_end]).split(b";")[0], 16)
            if size == 0:
                return Answer(self._status, b"".join(pieces))
            pieces.append(bytes(self._arrived[line_end + 2 : line_end + 2 + size]))
            at = line_end + 2 + size + 2

    def _answer(self, end: int) -> Answer:
        return Answer(self._status, bytes(self._arrived[self._body_at : end]))
