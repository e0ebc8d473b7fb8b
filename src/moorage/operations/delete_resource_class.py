"""Delete a custom resource class."""

from moorage.domain.ids import CUSTOM_CLASS_ID_MIN
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    ResourceClassInUse,
    ResourceClassIsStandard,
    UnknownResourceClass,
)
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.names import class_in_use, delete_class, lock_class
from moorage.store.transaction import Transaction


def delete_resource_class(services: Services, *, name: str, origin: Origin) -> None:
    """Delete a class that no provider has an inventory of.

    Raises:
        UnknownResourceClass, ResourceClassIsStandard, ResourceClassInUse
    """

    def attempt(tx: Transaction) -> None:
        class_id = lock_class(tx, name)
        if class_id is None:
            raise UnknownResourceClass(name)
        if class_id < CUSTOM_CLASS_ID_MIN:
            raise ResourceClassIsStandard(name)
        if class_in_use(tx, class_id):
            raise ResourceClassInUse(name)
        delete_class(tx, class_id)
        write_journal(tx, [Entry("class.delete", name, (), name, None)], origin)

    services.store.run(attempt)
