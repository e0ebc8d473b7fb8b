"""One provider's inventories: how a change of them is loaded, checked and written."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from moorage.domain.ids import Generation, ProviderUuid, ResourceClassId
from moorage.domain.inventory import Inventory, ProviderInventories
from moorage.domain.origin import Origin
from moorage.domain.refusals import (
    InventoryInUse,
    ProviderGenerationConflict,
    UnknownProvider,
    UnknownResourceClass,
)
from moorage.store.inventories import (
    Stock,
    delete_inventory_rows,
    insert_inventories,
    lock_stock,
    update_inventories,
)
from moorage.store.journal import Entry, write_journal
from moorage.store.names import keep_classes
from moorage.store.providers import LockedProvider, bump_generations
from moorage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Shelf:
    """A locked provider and the inventories it has, by class name."""

    provider: LockedProvider
    stock: Mapping[str, Stock]


def load_shelf(tx: Transaction, provider: str, *, generation: int | None) -> Shelf:
    """Lock a provider and load its inventories.

    Args:
        generation: what the client read, None where it did not say.
    Raises:
        UnknownProvider, ProviderGenerationConflict
    """
    providers, stock = lock_stock(tx, [provider])
    locked = providers.get(ProviderUuid(provider))
    if locked is None:
        raise UnknownProvider(provider)
    if generation is not None and generation != locked.generation:
        raise ProviderGenerationConflict(provider, locked.generation, generation)
    return Shelf(locked, {item.class_name: item for item in stock})


def change_inventories(
    tx: Transaction,
    shelf: Shelf,
    *,
    given: Mapping[str, Inventory],
    dropped: Iterable[str],
    origin: Origin,
) -> ProviderInventories:
    """Write the inventories given over or beside those there are, and remove the dropped ones.

    Raises:
        UnknownResourceClass: a class given does not exist.
        InventoryInUse: something is allocated from a dropped inventory.
    """
    gone = [shelf.stock[name] for name in dropped]
    busy = sorted((item.class_id, item.class_name) for item in gone if item.used)
    new = given.keys() - shelf.stock.keys()
    class_ids = _class_ids(tx, shelf, given)
    if busy:
        raise InventoryInUse(shelf.provider.uuid, tuple(name for _, name in busy))
    key = shelf.provider.id
    delete_inventory_rows(tx, key, [item.class_id for item in gone])
    insert_inventories(
        tx,
        {(key, class_ids[name]): value for name, value in given.items() if name in new},
        at=origin.at,
    )
    update_inventories(
        tx,
        {(key, class_ids[name]): value for name, value in given.items() if name not in new},
        at=origin.at,
    )
    bump_generations(tx, {key: 1}, at=origin.at)
    write_journal(tx, [_entry(shelf, given, [item.class_name for item in gone])], origin)
    after = Generation(shelf.provider.generation + 1)
    return ProviderInventories(after, given, origin.at if given else None)


def _class_ids(
    tx: Transaction, shelf: Shelf, given: Mapping[str, Inventory]
) -> dict[str, ResourceClassId]:
    ids = {name: shelf.stock[name].class_id for name in given if name in shelf.stock}
    ids |= keep_classes(tx, [name for name in given if name not in ids])
    for name in given:
        if name not in ids:
            raise UnknownResourceClass(name)
    return ids


def _entry(shelf: Shelf, given: Mapping[str, Inventory], gone: list[str]) -> Entry:
    changed = [*given, *gone]
    before: dict[str, Any] = {
        name: asdict(shelf.stock[name].inventory) for name in changed if name in shelf.stock
    }
    after = {name: asdict(inventory) for name, inventory in given.items()}
    return Entry("inventory.set", shelf.provider.uuid, (shelf.provider.id,), before, after)
