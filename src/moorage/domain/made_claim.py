"""Claims as they were made: what consumers got, and what they might have got instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from moorage.domain.ids import ConsumerUuid, Generation, ProviderUuid

Resources = Mapping[ProviderUuid, Mapping[str, int]]
"""Units by provider and class name."""


@dataclass(frozen=True, slots=True)
class Placing:
    """One way to serve a consumer's request, and which providers serve which group."""

    allocations: Resources
    mappings: Mapping[str, tuple[ProviderUuid, ...]]


@dataclass(frozen=True, slots=True)
class StandingClaim:
    """What a consumer holds by a claim, as of now.

    ``alternates`` were free when the claim was made; nothing keeps them. ``expires_at``: when the
    allocations are freed unless the lease is renewed (naive UTC); None: never.
    """

    consumer: ConsumerUuid
    generation: Generation
    placing: Placing
    alternates: tuple[Placing, ...]
    expires_at: datetime | None
