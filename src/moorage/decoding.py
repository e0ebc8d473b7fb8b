"""Making decoders one after the other, which msgspec leaves to its users.

Where two threads use a type for the first time, one may find what msgspec knows of it half done,
and the process ends with a segmentation fault (msgspec 0.22.0, on the first claims after a start).
A decoder that a module makes while it is imported needs none of this: no request is there yet.
"""

import threading
from typing import TypeVar

import msgspec

T = TypeVar("T")

_turn = threading.Lock()


def make_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder of JSON. Also other threads may use the type from now on."""
    with _turn:
        return msgspec.json.Decoder(kind)


def convertible(kind: type[T]) -> type[T]:
    """The class, which ``msgspec.convert`` may make from now on in any thread; a decorator."""
    make_decoder(kind)
    return kind
