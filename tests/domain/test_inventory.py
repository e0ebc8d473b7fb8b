"""Inventories and their capacity."""

import pytest

from moorage.domain.inventory import Inventory, check_capacity
from moorage.domain.refusals import InventoryCapacityInvalid


@pytest.mark.parametrize(
    ("total", "reserved", "ratio", "capacity"),
    [(10, 0, 1.0, 10), (10, 2, 1.0, 8), (3, 0, 1.5, 4), (10, 10, 16.0, 0), (7, 0, 0.5, 3)],
)
def test_capacity_is_what_is_not_reserved_times_the_ratio(
    total: int, reserved: int, ratio: float, capacity: int
) -> None:
    assert Inventory(total, reserved=reserved, allocation_ratio=ratio).capacity == capacity


@pytest.mark.parametrize(
    ("reserved", "may_be_total", "refused"),
    [(9, False, False), (10, False, True), (10, True, False), (11, True, True)],
)
def test_how_much_may_be_reserved(reserved: int, may_be_total: bool, refused: bool) -> None:
    def check() -> None:
        check_capacity(
            Inventory(10, reserved=reserved),
            provider="host",
            resource_class="VCPU",
            reserved_may_be_total=may_be_total,
        )

    if refused:
        with pytest.raises(InventoryCapacityInvalid):
            check()
    else:
        check()
