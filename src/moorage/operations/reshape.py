"""Move inventories and allocations between providers in one step."""

from moorage.domain.ids import ResourceClassId
from moorage.domain.origin import Origin
from moorage.domain.refusals import CapacityExceeded
from moorage.domain.reshape import Reshape, ReshapePlan, decide_reshape
from moorage.operations.books import Books, check_still_true, load_books, write_books
from moorage.operations.services import Services
from moorage.store.inventories import (
    NewStock,
    delete_inventory_rows,
    insert_inventories,
    update_inventories,
)
from moorage.store.journal import Entry
from moorage.store.names import keep_classes
from moorage.store.transaction import Transaction


def reshape(services: Services, request: Reshape, origin: Origin) -> None:
    """Replace the inventories of providers and the allocations of consumers, or change nothing.

    Raises:
        UnknownReshapeProvider, ProviderGenerationConflict, ConsumerNamedTwice,
        ConsumerGenerationConflict, UnknownAllocationProvider, UnknownResourceClass,
        InventoryMissing, UnitsViolated, CapacityExceeded, InventoryInUse
    """

    def attempt(tx: Transaction) -> None:
        books = load_books(tx, request.claims, providers=request.inventories)
        class_ids = _class_ids(tx, request)
        books.class_names.update({key: name for name, key in class_ids.items()})
        try:
            plan = decide_reshape(books.ledger, request, class_ids, services.rules.absentee)
        except CapacityExceeded:
            check_still_true(tx, books, request.claims)
            raise
        _enter(books, request, plan, origin)
        added = [NewStock(*slot, value, origin.at) for slot, value in plan.added.items()]
        insert_inventories(tx, added)
        update_inventories(tx, plan.changed, at=origin.at)
        write_books(tx, books, at=origin.at)
        for uuid, names in plan.removed.items():
            stock = books.ledger.providers[uuid]
            delete_inventory_rows(tx, stock.id, [stock.class_ids[name] for name in names])

    services.store.run(attempt)


def _class_ids(tx: Transaction, request: Reshape) -> dict[str, ResourceClassId]:
    names = {name for _, inventories in request.inventories.values() for name in inventories}
    return keep_classes(tx, sorted(names))


def _enter(books: Books, request: Reshape, plan: ReshapePlan, origin: Origin) -> None:
    """Journal the inventories provider by provider, and the consumers."""
    for uuid, (_, inventories) in request.inventories.items():
        stock = books.ledger.providers[uuid]
        after = {name: inventory.as_record() for name, inventory in inventories.items()}
        entry = Entry(
            "inventory.reshape", uuid, (stock.id,), {"removed": plan.removed[uuid]}, after
        )
        books.entries.append((entry, origin))
    books.enter(plan.changes, kind="allocation.reshape", origin=origin)
