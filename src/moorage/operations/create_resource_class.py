"""Create a custom resource class."""

from moorage.domain.origin import Origin
from moorage.domain.refusals import ResourceClassExists
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.names import insert_class, lock_class
from moorage.store.transaction import Transaction


def create_resource_class(services: Services, *, name: str, origin: Origin) -> None:
    """Add a class.

    Raises:
        ResourceClassExists
    """

    def attempt(tx: Transaction) -> None:
        if lock_class(tx, name) is not None:
            raise ResourceClassExists(name)
        add_class(tx, name, origin)

    services.store.run(attempt)


def add_class(tx: Transaction, name: str, origin: Origin) -> None:
    """Add a class that does not exist in an open transaction."""
    insert_class(tx, name, at=origin.at)
    write_journal(tx, [Entry("class.create", name, (), None, name)], origin)
