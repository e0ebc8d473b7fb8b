"""What a claim of our own API writes down about itself in the journal."""

import msgspec

from moorage.decoding import convertible
from moorage.domain.made_claim import Placing


@convertible
class ClaimRecord(msgspec.Struct, frozen=True):
    """Which order made the claim, what it got, and what was free besides."""

    digest: str
    placing: Placing
    alternates: tuple[Placing, ...]
