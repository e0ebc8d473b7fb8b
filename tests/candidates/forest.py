"""Small forests of providers as plain values, and their snapshots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from moorage.candidates.rows import (
    AggregateLink,
    InventoryRow,
    ProviderRow,
    Rows,
    TraitLinks,
    UsageRow,
)
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import SHARING_TRAIT
from moorage.domain.inventory import Inventory

CLASSES = ("VCPU", "DISK_GB", "CUSTOM_VF")
CLASS_NAMES: Mapping[int, str] = {
    0: "VCPU",
    2: "DISK_GB",
    10_001: "CUSTOM_VF",
    10_002: "CUSTOM_IDLE",
}
TRAITS = ("CUSTOM_A", "CUSTOM_B", "CUSTOM_C")
TRAIT_NAMES: Mapping[int, str] = {
    70: SHARING_TRAIT,
    9_001: "CUSTOM_B",
    9_002: "CUSTOM_A",
    9_003: "CUSTOM_C",
    9_004: "CUSTOM_IDLE",
}
AGGREGATES = tuple(f"a0000000-0000-0000-0000-{number:012d}" for number in range(3))
AT = datetime.fromisoformat("2024-05-01T12:30:15.250000")


def uuid_of(number: int) -> str:
    """The uuid of the provider at a position of a forest."""
    return f"c0000000-0000-0000-0000-{number:012d}"


@dataclass(frozen=True)
class Node:
    """One provider. ``parent`` is the position of an earlier node."""

    parent: int | None = None
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()


def root_of(forest: Sequence[Node], number: int) -> int:
    """The position of the root of the tree that a node is in."""
    parent = forest[number].parent
    return number if parent is None else root_of(forest, parent)


def id_of(number: int) -> int:
    """The row id of the provider at a position of a forest."""
    return 10 * number + 7


def rows_of(forest: Sequence[Node], numbers: Sequence[int] | None = None) -> Rows:
    """The rows of a forest, or of some of its providers."""
    class_ids = {name: key for key, name in CLASS_NAMES.items()}
    trait_ids = {name: key for key, name in TRAIT_NAMES.items()}
    wanted = range(len(forest)) if numbers is None else numbers
    nodes = [(id_of(number), forest[number]) for number in wanted]
    return Rows(
        providers=[
            ProviderRow(
                id=id_of(number),
                uuid=uuid_of(number),
                name=f"node-{number}",
                generation=number,
                parent_id=None if node.parent is None else id_of(node.parent),
                modified_at=AT,
            )
            for number in reversed(wanted)
            for node in [forest[number]]
        ],
        inventories=[
            InventoryRow(
                key,
                class_ids[name],
                stock.total,
                stock.reserved,
                stock.min_unit,
                stock.max_unit,
                stock.step_size,
                stock.allocation_ratio,
            )
            for key, node in nodes
            for name, stock in node.inventories.items()
        ],
        usages=[
            UsageRow(key, class_ids[name], used)
            for key, node in nodes
            for name, used in node.used.items()
        ],
        traits=[
            TraitLinks(key, tuple(trait_ids[name] for name in node.traits)) for key, node in nodes
        ],
        aggregates=[AggregateLink(key, uuid) for key, node in nodes for uuid in node.aggregates],
        class_names=CLASS_NAMES,
        trait_names=TRAIT_NAMES,
    )


def snapshot_of(forest: Sequence[Node]) -> Snapshot:
    """The snapshot of a forest."""
    return Snapshot.build(rows_of(forest))
