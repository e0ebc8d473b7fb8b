"""Delete a custom trait."""

from moorage.domain.ids import CUSTOM_PREFIX
from moorage.domain.origin import Origin
from moorage.domain.refusals import TraitInUse, TraitIsStandard, UnknownTrait
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.names import delete_trait_row, lock_trait, trait_in_use
from moorage.store.transaction import Transaction


def delete_trait(services: Services, *, name: str, origin: Origin) -> None:
    """Delete a trait that no provider has.

    Raises:
        UnknownTrait, TraitIsStandard, TraitInUse
    """

    def attempt(tx: Transaction) -> None:
        trait = lock_trait(tx, name)
        if trait is None:
            raise UnknownTrait(name)
        if not name.startswith(CUSTOM_PREFIX):
            raise TraitIsStandard(name)
        if trait_in_use(tx, trait):
            raise TraitInUse(name)
        delete_trait_row(tx, trait)
        write_journal(tx, [Entry("trait.delete", name, (), name, None)], origin)

    services.store.run(attempt)
