"""Create a custom trait unless it exists."""

from datetime import datetime

from moorage.domain.origin import Origin
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.names import insert_trait, load_trait
from moorage.store.transaction import Transaction


def ensure_trait(services: Services, *, name: str, origin: Origin) -> tuple[bool, datetime | None]:
    """Whether the trait was created now, and when it last changed (naive UTC)."""
    snapshot = services.keeper.current()
    known = snapshot.trait_ids.get(name)
    if known is not None:
        return False, snapshot.trait_ages.get(known)

    def attempt(tx: Transaction) -> tuple[bool, datetime | None]:
        found = load_trait(tx, name)
        if found is not None:
            return False, found.modified_at
        insert_trait(tx, name, at=origin.at)
        write_journal(tx, [Entry("trait.create", name, (), None, name)], origin)
        return True, origin.at

    return services.store.run(attempt)
