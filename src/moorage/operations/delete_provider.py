"""Delete a resource provider."""

from moorage.domain.ids import ProviderUuid
from moorage.domain.origin import Origin
from moorage.domain.refusals import ProviderHasChildren, ProviderInUse, UnknownProvider
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.providers import (
    delete_provider_rows,
    has_allocations,
    has_children,
    load_provider,
    lock_providers,
)
from moorage.store.transaction import Transaction


def delete_provider(services: Services, *, uuid: str, origin: Origin) -> None:
    """Remove a provider with its inventories, traits and aggregates.

    Raises:
        UnknownProvider, ProviderHasChildren, ProviderInUse
    """

    def attempt(tx: Transaction) -> None:
        locked = lock_providers(tx, [uuid]).get(ProviderUuid(uuid))
        if locked is None:
            raise UnknownProvider(uuid)
        if has_children(tx, locked.id):
            raise ProviderHasChildren(uuid)
        if has_allocations(tx, locked.id):
            raise ProviderInUse(uuid)
        provider = load_provider(tx, uuid)
        assert provider is not None
        before = {"name": provider.name, "parent": provider.parent_uuid}
        delete_provider_rows(tx, locked.id)
        write_journal(tx, [Entry("provider.delete", uuid, (locked.id,), before, None)], origin)

    services.store.run(attempt)
