"""Claim resources for consumers, or give them up."""

from collections.abc import Sequence

from moorage.domain.claim import ConsumerClaim
from moorage.domain.origin import Origin
from moorage.operations.claim_queue import ClaimRequest
from moorage.operations.services import Services


def claim(services: Services, claims: Sequence[ConsumerClaim], origin: Origin) -> None:
    """Replace the allocations of all these consumers, or change nothing.

    Requests that arrive while another is being written are written together with each other, each
    accepted or refused on its own.

    Raises:
        ConsumerGenerationConflict, UnknownAllocationProvider, UnknownResourceClass,
        InventoryMissing, UnitsViolated, CapacityExceeded
    """
    services.claims.submit(ClaimRequest(tuple(claims), origin))
