"""One provider's inventories: what a change of them is, and what refuses it."""

from collections.abc import Iterable, Mapping
from typing import Any

from moorage.domain.ids import Generation
from moorage.domain.inventory import Inventory, ProviderInventories
from moorage.domain.origin import Origin
from moorage.domain.refusals import InventoryInUse, UnknownInventory, UnknownResourceClass
from moorage.operations.provider_changes import Change, Decision, Shelf
from moorage.store.journal import Entry


def decide_inventories(
    shelf: Shelf,
    *,
    given: Mapping[str, Inventory],
    dropped: Iterable[str],
    origin: Origin,
) -> Decision:
    """Put the inventories given over or beside those there are, and remove the dropped ones.

    The client is told the ``ProviderInventories`` given.

    Raises:
        UnknownResourceClass: a class given does not exist.
        InventoryInUse: something is allocated from a dropped inventory.
    """
    stock = shelf.stock
    gone = [stock[name] for name in dropped]
    for name in given:
        if name not in stock and name not in shelf.class_ids:
            raise UnknownResourceClass(name)
    busy = sorted((item.class_id, item.class_name) for item in gone if item.used)
    if busy:
        raise InventoryInUse(shelf.provider.uuid, tuple(name for _, name in busy))
    change = Change(
        _entry(shelf, given, [item.class_name for item in gone]),
        added={shelf.class_ids[name]: one for name, one in given.items() if name not in stock},
        changed={stock[name].class_id: one for name, one in given.items() if name in stock},
        dropped=[item.class_id for item in gone],
    )
    after = Generation(shelf.provider.generation + 1)
    return change, ProviderInventories(after, given, origin.at if given else None)


def check_present(shelf: Shelf, resource_class: str) -> None:
    """Refuse a class that the provider has no inventory of.

    Raises:
        UnknownResourceClass, UnknownInventory
    """
    if resource_class in shelf.stock:
        return
    if resource_class not in shelf.class_ids:
        raise UnknownResourceClass(resource_class)
    raise UnknownInventory(shelf.provider.uuid, resource_class)


def _entry(shelf: Shelf, given: Mapping[str, Inventory], gone: list[str]) -> Entry:
    changed = [*given, *gone]
    before: dict[str, Any] = {
        name: shelf.stock[name].inventory.as_record() for name in changed if name in shelf.stock
    }
    after = {name: inventory.as_record() for name, inventory in given.items()}
    return Entry("inventory.set", shelf.provider.uuid, (shelf.provider.id,), before, after)
