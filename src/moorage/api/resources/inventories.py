"""Inventories of a provider: all of them, or one resource class."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from msgspec import UNSET, Struct, UnsetType

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply, reply_json
from moorage.api.wire import (
    INTEGER,
    NAME_PATTERN,
    RATIO_MAX,
    ClassName,
    NotNegative,
    Positive,
    Ratio,
    an_object,
)
from moorage.candidates.evidence import about_provider
from moorage.domain.ids import AMOUNT_MAX
from moorage.domain.inventory import Inventory, ProviderInventories
from moorage.operations.add_inventory import add_inventory
from moorage.operations.delete_inventories import delete_inventories
from moorage.operations.delete_inventory import delete_inventory
from moorage.operations.look_up import look_up
from moorage.operations.set_inventories import set_inventories
from moorage.operations.show_inventory import show_inventory
from moorage.operations.update_inventory import update_inventory


class InventoryRecord(Struct, kw_only=True, forbid_unknown_fields=True):
    """An inventory as clients write it. Its generation is read only where that is required."""

    total: Positive
    reserved: NotNegative = 0
    min_unit: Positive = 1
    max_unit: Positive = AMOUNT_MAX
    step_size: Positive = 1
    allocation_ratio: Ratio = 1.0
    resource_provider_generation: int | UnsetType = UNSET

    def to_inventory(self) -> Inventory:
        return Inventory(
            total=self.total,
            reserved=self.reserved,
            min_unit=self.min_unit,
            max_unit=self.max_unit,
            step_size=self.step_size,
            allocation_ratio=self.allocation_ratio,
        )


class NewInventory(InventoryRecord, kw_only=True, forbid_unknown_fields=True):
    """An inventory to add."""

    resource_class: ClassName


class InventoryChange(InventoryRecord, kw_only=True, forbid_unknown_fields=True):
    """An inventory to replace, with the provider's generation."""

    resource_provider_generation: int


class InventorySet(Struct, kw_only=True, forbid_unknown_fields=True):
    """All inventories that a provider shall have."""

    resource_provider_generation: int
    # The schema lets any name pass here: the operation knows which classes there are.
    inventories: dict[str, InventoryRecord]

    def to_inventories(self) -> dict[str, Inventory]:
        return {name: record.to_inventory() for name, record in self.inventories.items()}


def _amount(minimum: int) -> dict[str, Any]:
    return {"type": "integer", "maximum": AMOUNT_MAX, "minimum": minimum}


_FIELDS: Final = {
    "resource_provider_generation": INTEGER,
    "total": _amount(1),
    "reserved": _amount(0),
    "min_unit": _amount(1),
    "max_unit": _amount(1),
    "step_size": _amount(1),
    "allocation_ratio": {"type": "number", "maximum": RATIO_MAX},
}
INVENTORY_SET_SCHEMA: Final = an_object(
    {
        "resource_provider_generation": INTEGER,
        "inventories": {
            "type": "object",
            "patternProperties": {NAME_PATTERN: an_object(_FIELDS, "total")},
        },
    },
    "resource_provider_generation",
    "inventories",
)
INVENTORY_SET: Final = BodyParser(InventorySet, INVENTORY_SET_SCHEMA)
INVENTORY_CHANGE: Final = BodyParser(
    InventoryChange, an_object(_FIELDS, "total", "resource_provider_generation")
)
NEW_INVENTORY: Final = BodyParser(
    NewInventory,
    an_object(
        {**_FIELDS, "resource_class": {"type": "string", "pattern": NAME_PATTERN}},
        "total",
        "resource_class",
    ),
)


def inventory_document(inventory: Inventory) -> dict[str, Any]:
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }


def _inventory_documents(inventories: Mapping[str, Inventory]) -> dict[str, Any]:
    return {name: inventory_document(inventory) for name, inventory in inventories.items()}


def _document(shown: ProviderInventories) -> dict[str, Any]:
    return {
        "resource_provider_generation": shown.generation,
        "inventories": _inventory_documents(shown.inventories),
    }


def _reply_inventories(shown: ProviderInventories, call: Call) -> Reply:
    return reply_json(_document(shown), call.modified(_age(shown, call)))


def _age(shown: ProviderInventories, call: Call) -> datetime | None:
    """When the inventories were last modified: just now, if this very call wrote them."""
    return shown.modified_at or (call.origin.at if shown.inventories else None)


def _reply_inventory(
    shown: ProviderInventories, resource_class: str, call: Call, *, created: bool = False
) -> Reply:
    document = inventory_document(shown.inventories[resource_class])
    document["resource_provider_generation"] = shown.generation
    headers = call.modified(_age(shown, call))
    if not created:
        return reply_json(document, headers)
    path = f"/resource_providers/{call.path['uuid']}/inventories/{resource_class}"
    return reply_json(document, (call.location(path), *headers), status=201)


def handle_show_inventories(call: Call) -> Reply:
    """All inventories of a provider."""
    snapshot, position = look_up(call.services, call.path["uuid"])
    shown = snapshot.inventories_of(position)
    document = orjson.dumps(_document(shown))
    evidence = about_provider(snapshot, position)
    if not shown.inventories:
        # Nothing is there that could have been modified.
        return Reply(200, document, call.modified(shown.modified_at), evidence)
    return call.lasting(document, evidence, shown.modified_at)


def handle_show_inventory(call: Call) -> Reply:
    """One inventory of a provider."""
    provider, name = call.path["uuid"], call.path["resource_class"]
    return _reply_inventory(show_inventory(call.services, provider, name), name, call)


def handle_set_inventories(call: Call) -> Reply:
    """Exactly the inventories of the body, from now on."""
    body = INVENTORY_SET.parse(call.body)
    shown = set_inventories(
        call.services,
        provider=call.path["uuid"],
        generation=body.resource_provider_generation,
        inventories=body.to_inventories(),
        reserved_may_be_total=call.contract.reserved_may_be_total,
        origin=call.origin,
    )
    return _reply_inventories(shown, call)


def handle_add_inventory(call: Call) -> Reply:
    """An inventory of a class that the provider does not have yet."""
    body = NEW_INVENTORY.parse(call.body)
    shown = add_inventory(
        call.services,
        provider=call.path["uuid"],
        resource_class=body.resource_class,
        inventory=body.to_inventory(),
        reserved_may_be_total=call.contract.reserved_may_be_total,
        origin=call.origin,
    )
    return _reply_inventory(shown, body.resource_class, call, created=True)


def handle_update_inventory(call: Call) -> Reply:
    """One inventory replaced."""
    body = INVENTORY_CHANGE.parse(call.body)
    resource_class = call.path["resource_class"]
    shown = update_inventory(
        call.services,
        provider=call.path["uuid"],
        resource_class=resource_class,
        generation=body.resource_provider_generation,
        inventory=body.to_inventory(),
        reserved_may_be_total=call.contract.reserved_may_be_total,
        origin=call.origin,
    )
    return _reply_inventory(shown, resource_class, call)


def handle_delete_inventory(call: Call) -> Reply:
    """One inventory gone, if nothing is held of it."""
    delete_inventory(
        call.services,
        provider=call.path["uuid"],
        resource_class=call.path["resource_class"],
        origin=call.origin,
    )
    return NO_CONTENT


def handle_delete_inventories(call: Call) -> Reply:
    """All inventories gone, if nothing is held of them."""
    delete_inventories(call.services, provider=call.path["uuid"], origin=call.origin)
    return NO_CONTENT
