"""How the body of an answer travels: whole or in pieces, compressed or as it is.

Source: RFC 9110 sections 8.4.1 and 12.5.3, RFC 8878 for zstd.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Final

import zstandard
from isal import isal_zlib

BUFFERED_BYTES_MAX: Final = 2**20
"""Answers in pieces that are not larger than this are sent whole, with their length."""

STREAMS_MAX: Final = 2
"""Answers that a process streams at a time; further ones are made whole before they are sent.

A streamed answer takes up no memory but keeps a thread for as long as its client reads: clients
that stop reading must never hold them all.
"""

COMPRESSED_BYTES_MIN: Final = 16_384
"""Smaller bodies fit in what a new connection may send at once: compressing saves no time."""

CODING_CHARS_MAX: Final = 1_024
"""Longer Accept-Encoding headers are not read."""

_LEVEL: Final = 1
"""A sixth of the time of zlib's fastest level, and as small; zstd is smaller still."""

_GZIP_WINDOW: Final = 31
_CODING: Final = re.compile(
    r"[ \t]*(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    r"(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?)?[ \t]*"
)


class Coding(Enum):
    """The content codings that we speak; of those that a client likes equally, the first."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


@lru_cache(maxsize=256)
def choose_coding(accepted: str) -> Coding:
    """The coding that an Accept-Encoding header likes best.

    A client that does not ask gets the identity, and so does one whose header cannot be read or
    leaves nothing that we speak.
    """
    if not accepted or len(accepted) > CODING_CHARS_MAX:
        return Coding.IDENTITY
    stated: dict[str, float] = {}
    for part in accepted.split(","):
        match = _CODING.fullmatch(part)
        if match is None:
            return Coding.IDENTITY
        if match[1]:
            name = match[1].lower().removeprefix("x-")
            stated.setdefault(name, float(match[2]) if match[2] else 1.0)
    others = stated.get("*", 0.0)
    qualities = {coding: stated.get(coding.value, others) for coding in Coding}
    best = max(Coding, key=lambda coding: qualities[coding])
    return best if qualities[best] else Coding.IDENTITY


def compress(body: bytes, coding: Coding) -> bytes:
    """The whole body in this coding."""
    if coding is Coding.GZIP:
        packed: bytes = isal_zlib.compress(body, _LEVEL, _GZIP_WINDOW)
        return packed
    if coding is Coding.ZSTD:
        return zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    return body


def compress_pieces(pieces: Iterable[bytes], coding: Coding) -> Iterator[bytes]:
    """The pieces of a body in this coding, as far as the coder gives them away."""
    if coding is Coding.IDENTITY:
        yield from pieces
        return
    coder = (
        isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        if coding is Coding.GZIP
        else zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    )
    for piece in pieces:
        if packed := coder.compress(piece):
            yield packed
    yield coder.flush()


def gather(pieces: Iterator[bytes]) -> bytes | Iterator[bytes]:
    """The body as a whole where it is not large; else its pieces, of which some are made."""
    made = []
    size = 0
    for piece in pieces:
        made.append(piece)
        size += len(piece)
        if size > BUFFERED_BYTES_MAX:
            return chain(made, pieces)
    return b"".join(made)


class Stream:
    """Pieces of an answer on their way to the client, and who wants to know of their end."""

    def __init__(
        self,
        pieces: Iterator[bytes],
        *,
        on_fault: Callable[[BaseException], None],
        on_end: Callable[[], None],
    ) -> None:
        """``on_end`` is called once, whether the pieces ran out, broke or were not wanted."""
        self._pieces = pieces
        self._on_fault = on_fault
        self._on_end = on_end
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            self.close()
            raise
        except Exception as error:
            self._on_fault(error)
            self.close()
            # The server cuts the connection: a client must not take a part for the whole.
            raise

    def close(self) -> None:
        """Called by the server when it needs no more of this."""
        if not self._ended:
            self._ended = True
            self._on_end()

    def __del__(self) -> None:
        # Whoever wraps an application may forget to close what it gave.
        self.close()
