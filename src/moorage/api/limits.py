"""How large a request may be, and how much of it an error document repeats."""

from dataclasses import dataclass
from typing import Final

ERROR_TEXT_MAX: Final = 16_384
"""Characters of detail in an error document; the rest is cut."""

EXPLAINED_BODY_BYTES_MAX: Final = 65_536
"""Bodies up to here are explained in full when refused, larger ones by their first error."""

BODY_DEPTH_MAX: Final = 32
"""Levels of nesting in a body; the deepest one we take, a reshape, has seven."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows a client to send.

    ``body_bytes_max`` lets a reshape of 10,000 consumers through (about 5 MiB).
    ``uri_bytes_max`` counts path and query together; ``groups_max`` the request groups of one
    search for allocation candidates.
    """

    body_bytes_max: int = 8 * 2**20
    uri_bytes_max: int = 65_536
    groups_max: int = 256
