"""How a reply goes to the server, in WSGI's words: its status line, its headers and its body."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from wsgiref.types import StartResponse

from moorage.api.call import Reply
from moorage.api.microversions.contract import CONTRACTS, SERVICE, VERSION_HEADER, Contract
from moorage.api.transfer import (
    COMPRESSED_BYTES_MIN,
    Coding,
    choose_coding,
    compress,
    compress_pieces,
)

REQUEST_ID_HEADER: Final = "x-openstack-request-id"

_STATUS_LINES: Final = {
    **{status.value: f"{status.value} {status.phrase}" for status in HTTPStatus},
    # As RFC 9110 calls them now.
    413: "413 Content Too Large",
    414: "414 URI Too Long",
}
_VARIES: Final = ("vary", VERSION_HEADER)
_VERSIONED: Final = {
    contract: ((VERSION_HEADER, f"{SERVICE} {contract.version}"), _VARIES)
    for contract in CONTRACTS.values()
}
"""What every answer of a version begins with."""

Headers = list[tuple[str, str]]


def begin_head(reply: Reply, contract: Contract | None, request_id: str) -> Headers:
    """The headers that do not depend on the body.

    Args:
        contract: None where no version was settled, or none is known.
    """
    if contract is None:
        return [(REQUEST_ID_HEADER, request_id), *reply.headers]
    return [*_VERSIONED[contract], (REQUEST_ID_HEADER, request_id), *reply.headers]


def send_nothing(status: int, head: Headers, start_response: StartResponse) -> list[bytes]:
    """An answer without a body, which has no content type either."""
    if status != HTTPStatus.NO_CONTENT:
        head.append(("content-length", "0"))
    start_response(_STATUS_LINES[status], head)
    return []


def send_whole(
    status: int,
    head: Headers,
    body: bytes,
    start_response: StartResponse,
    *,
    accept_encoding: str,
    is_head: bool,
) -> list[bytes]:
    """An answer with its body; bodies that are not large are left as they are.

    ``is_head``: the client wants to know of the body, and not to have it.
    """
    if len(body) >= COMPRESSED_BYTES_MIN:
        body = compress(body, _settle_coding(head, accept_encoding))
    head.append(("content-length", str(len(body))))
    start_response(_STATUS_LINES[status], head)
    return [] if is_head else [body]


def send_pieces(
    status: int,
    head: Headers,
    pieces: Iterator[bytes],
    start_response: StartResponse,
    *,
    accept_encoding: str,
) -> Iterator[bytes]:
    """An answer whose body is made while it is sent, so that nobody knows its length.

    The pieces are not begun before the server asks for the first.
    """
    coded = compress_pieces(pieces, _settle_coding(head, accept_encoding))
    start_response(_STATUS_LINES[status], head)
    return coded


def _settle_coding(head: Headers, accept_encoding: str) -> Coding:
    """The coding of a large body, told to the client."""
    told = "accept-encoding"
    if _VARIES in head:
        head[head.index(_VARIES)] = ("vary", f"{VERSION_HEADER}, {told}")
    else:
        head.append(("vary", told))
    coding = choose_coding(accept_encoding)
    if coding is not Coding.IDENTITY:
        head.append(("content-encoding", coding.value))
    return coding
