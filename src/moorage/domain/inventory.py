"""Inventories: how much of one resource class a provider has, and in which portions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moorage.domain.ids import AMOUNT_MAX, Generation
from moorage.domain.refusals import InventoryCapacityInvalid


@dataclass(frozen=True, slots=True)
class Inventory:
    """The stock of one resource class on one provider, in whole units of the class."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = AMOUNT_MAX
    step_size: int = 1
    allocation_ratio: float = 1.0

    def as_record(self) -> dict[str, Any]:
        """Its fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def capacity(self) -> int:
        """Units that may be allocated: (total - reserved) * allocation_ratio, cut to a whole."""
        return int((self.total - self.reserved) * self.allocation_ratio)


@dataclass(frozen=True, slots=True)
class ProviderInventories:
    """All inventories of one provider by resource class name.

    ``modified_at`` is the newest change among them (naive UTC), None where there are none.
    """

    generation: Generation
    inventories: Mapping[str, Inventory]
    modified_at: datetime | None


def check_capacity(
    inventory: Inventory, *, provider: str, resource_class: str, reserved_may_be_total: bool
) -> None:
    """Refuse an inventory that reserves more than there is.

    Args:
        reserved_may_be_total: since 1.26 all of it may be reserved.
    Raises:
        InventoryCapacityInvalid
    """
    if inventory.capacity < 0 or (inventory.capacity == 0 and not reserved_may_be_total):
        raise InventoryCapacityInvalid(provider, resource_class, reserved_may_be_total)
