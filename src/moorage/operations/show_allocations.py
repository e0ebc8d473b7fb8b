"""Show what a consumer holds."""

from moorage.domain.consumer import ConsumerAllocations
from moorage.operations.services import Services
from moorage.store.holdings import read_consumer


def show_allocations(services: Services, consumer: str) -> ConsumerAllocations | None:
    """A consumer's allocations, None where it holds nothing."""
    return read_consumer(services.store, consumer)
