"""Renew a lease, or make what it is about permanent."""

from dataclasses import replace
from datetime import timedelta

from moorage.domain.ledger import Consumer
from moorage.domain.origin import Origin
from moorage.domain.refusals import UnknownLease
from moorage.operations.services import Services
from moorage.store.holdings import load_consumers
from moorage.store.journal import Entry, write_journal
from moorage.store.leases import Lease, delete_leases, lease_told, lock_lease, renew_lease
from moorage.store.made_claims import MadeClaim, load_made_claims
from moorage.store.transaction import Transaction


def renew(services: Services, *, consumer: str, lease_s: int, origin: Origin) -> Lease:
    """Let a lease end so many seconds from now, whenever it was to end.

    It may be renewed as long as the allocations have not been freed, even if its time is over.

    Raises:
        UnknownLease: there is none, or the consumer's allocations were changed since.
    """
    expires_at = origin.at + timedelta(seconds=lease_s)

    def attempt(tx: Transaction) -> Lease:
        lease = take_lease(tx, consumer)
        renewed = replace(lease, expires_at=expires_at)
        renew_lease(tx, consumer, expires_at=expires_at)
        entry = Entry("lease.renewed", consumer, (), lease_told(lease), lease_told(renewed))
        write_journal(tx, [entry], origin)
        return renewed

    return services.store.run(attempt)


def make_permanent(services: Services, *, consumer: str, origin: Origin) -> None:
    """End a lease, and leave the consumer what it holds.

    Raises:
        UnknownLease: there is none, or the consumer's allocations were changed since.
    """

    def attempt(tx: Transaction) -> None:
        lease = take_lease(tx, consumer)
        delete_leases(tx, [consumer])
        write_journal(tx, [Entry("lease.ended", consumer, (), lease_told(lease))], origin)

    services.store.run(attempt)


def take_lease(tx: Transaction, consumer: str) -> Lease:
    """Lock a lease that is in force.

    Raises:
        UnknownLease: there is none, or what it was about has been changed.
    """
    lease = lock_lease(tx, consumer)
    if lease is None:
        raise UnknownLease(consumer)
    held = load_consumers(tx, [lease.consumer]).by_uuid
    made = load_made_claims(tx, held)
    if not is_in_force(lease, held.get(lease.consumer), made.get(lease.consumer)):
        raise UnknownLease(consumer)
    return lease


def is_in_force(lease: Lease, holder: Consumer | None, made: MadeClaim | None) -> bool:
    """Whether what a consumer holds is still what the leased claim gave it.

    Its generation alone would not tell: a consumer that was deleted begins anew. Nor would the
    journal: another service may have written to the database for a time, which keeps none.
    """
    return (
        holder is not None
        and holder.generation == lease.generation
        and made is not None
        and made.request_id == lease.request_id
    )
