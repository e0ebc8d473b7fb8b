"""What consumers hold, and by which claims."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec

from moorage.domain.consumer import ConsumerAllocations
from moorage.domain.ids import ConsumerUuid, Generation
from moorage.domain.made_claim import Resources
from moorage.domain.refusals import UnknownConsumer
from moorage.operations.claim_record import ClaimRecord
from moorage.operations.services import Services
from moorage.store.holdings import read_consumer
from moorage.store.leases import Lease, read_leases
from moorage.store.made_claims import MadeClaim, read_made_claims


@dataclass(frozen=True, slots=True)
class Standing:
    """A consumer that holds something.

    ``record`` is of the claim that made its allocations what they are; None: they were made or
    changed otherwise since. ``expires_at``: when its lease ends; None: it has none.
    """

    held: ConsumerAllocations
    record: ClaimRecord | None
    expires_at: datetime | None

    @property
    def consumer(self) -> ConsumerUuid:
        return self.held.consumer

    @property
    def generation(self) -> Generation:
        return self.held.generation


def show_claim(services: Services, consumer: str) -> Standing:
    """What a consumer holds.

    Raises:
        UnknownConsumer: it holds nothing.
    """
    standing = read_standing_claims(services, [ConsumerUuid(consumer)])
    if not standing:
        raise UnknownConsumer(consumer)
    return standing[ConsumerUuid(consumer)]


def read_standing_claims(
    services: Services, consumers: Collection[ConsumerUuid]
) -> dict[ConsumerUuid, Standing]:
    """Those of the consumers that hold something."""
    held = {uuid: found for uuid in consumers if (found := read_consumer(services.store, uuid))}
    if not held:
        return {}
    made = read_made_claims(services.store, held)
    leases = read_leases(services.store, held)
    return {
        uuid: _standing(found, made.get(uuid), leases.get(uuid)) for uuid, found in held.items()
    }


def _standing(held: ConsumerAllocations, made: MadeClaim | None, lease: Lease | None) -> Standing:
    record = None if made is None else msgspec.convert(made.record, ClaimRecord)
    if made is None or record is None or record.placing.allocations != _amounts(held):
        return Standing(held, None, None)
    if lease is None or (lease.request_id, lease.generation) != (made.request_id, held.generation):
        # A lease of another claim has ended, though nobody has swept it up yet.
        return Standing(held, record, None)
    return Standing(held, record, lease.expires_at)


def _amounts(held: ConsumerAllocations) -> Resources:
    return {uuid: amounts for uuid, (_, amounts) in held.resources.items()}
