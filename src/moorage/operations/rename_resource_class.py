"""Rename a custom resource class."""

from moorage.domain.ids import CUSTOM_CLASS_ID_MIN
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    ResourceClassExists,
    ResourceClassIsStandard,
    UnknownResourceClass,
)
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.names import lock_class, rename_class
from moorage.store.transaction import Transaction


def rename_resource_class(services: Services, *, name: str, new_name: str, origin: Origin) -> None:
    """Give a class another name; inventories and allocations of it go with it.

    Raises:
        UnknownResourceClass, ResourceClassIsStandard, ResourceClassExists
    """

    def attempt(tx: Transaction) -> None:
        class_id = lock_class(tx, name)
        if class_id is None:
            raise UnknownResourceClass(name)
        if class_id < CUSTOM_CLASS_ID_MIN:
            raise ResourceClassIsStandard(name)
        if new_name != name and lock_class(tx, new_name) is not None:
            raise ResourceClassExists(new_name)
        rename_class(tx, class_id, new_name, at=origin.at)
        write_journal(tx, [Entry("class.rename", name, (), name, new_name)], origin)

    services.store.run(attempt)
