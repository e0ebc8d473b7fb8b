"""Free what consumers hold by leases whose time is over."""

from typing import Final

from moorage.domain.claim import decide_release
from moorage.domain.origin import Origin
from moorage.operations.books import load_books, write_books
from moorage.operations.change_lease import is_in_force
from moorage.operations.services import Services
from moorage.store.journal import Entry
from moorage.store.leases import delete_due_leases, lease_told, load_leases, read_due_leases
from moorage.store.made_claims import load_made_claims
from moorage.store.transaction import Transaction

LEASES_AT_ONCE_MAX: Final = 100
"""Leases that end in one transaction."""


def expire_leases(services: Services, origin: Origin) -> int:
    """End some leases whose time is over by now; how many, 0 once there are none left.

    What a consumer holds is freed only if it is just what the leased claim gave it: whoever has
    changed it since has taken it over, and the lease lapses. The lease itself goes in the same
    transaction, so that it frees once, whoever else is at it, and not at all if it is renewed.
    """
    due = read_due_leases(services.store, at=origin.at, most=LEASES_AT_ONCE_MAX)
    if not due:
        return 0
    consumers = [lease.consumer for lease in due]

    def attempt(tx: Transaction) -> int:
        leases = {
            consumer: lease
            for consumer, lease in load_leases(tx, consumers).items()
            if lease.expires_at <= origin.at
        }
        if not leases:
            return 0
        books = load_books(tx, [], consumers=leases)
        made = load_made_claims(tx, leases)
        for consumer, lease in leases.items():
            change = None
            if is_in_force(lease, books.ledger.consumers.get(consumer), made.get(consumer)):
                change = decide_release(books.ledger, consumer)
            if change is not None:
                books.enter([change], kind="allocation.delete", origin=origin)
            kind = "lease.lapsed" if change is None else "lease.expired"
            books.entries.append((Entry(kind, consumer, (), lease_told(lease)), origin))
        write_books(tx, books, at=origin.at)
        delete_due_leases(tx, leases, at=origin.at)
        return len(leases)

    return services.store.run(attempt)
