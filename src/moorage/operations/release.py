"""Release everything that a consumer holds."""

from moorage.domain.claim import decide_release
from moorage.domain.ids import ConsumerUuid
from moorage.domain.origin import Origin
from moorage.domain.refusals import UnknownConsumer
from moorage.operations.books import load_books, write_books
from moorage.operations.services import Services
from moorage.store.transaction import Transaction


def release(services: Services, *, consumer: str, origin: Origin) -> None:
    """Drop a consumer's allocations, whatever its generation; providers keep theirs.

    Raises:
        UnknownConsumer: it holds nothing.
    """
    key = ConsumerUuid(consumer)

    def attempt(tx: Transaction) -> None:
        books = load_books(tx, [], consumers=[key])
        change = decide_release(books.ledger, key)
        if change is None:
            raise UnknownConsumer(consumer)
        books.enter([change], kind="allocation.delete", origin=origin)
        write_books(tx, books, at=origin.at)

    services.store.run(attempt)
