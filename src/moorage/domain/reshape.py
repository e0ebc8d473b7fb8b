"""Reshapes: inventories and allocations moved between providers in one step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from moorage.domain.claim import (
    Absentee,
    ConsumerChange,
    ConsumerClaim,
    check_generation,
    check_providers,
    check_spellings,
    decide_claims,
)
from moorage.domain.ids import ProviderUuid, ResourceClassId
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Ledger, ProviderStock, Slot
from moorage.domain.refusals import (
    InventoryInUse,
    ProviderGenerationConflict,
    UnknownReshapeProvider,
    UnknownResourceClass,
)


@dataclass(frozen=True, slots=True)
class Reshape:
    """The inventories that providers shall have, and what consumers shall hold on them.

    ``inventories``: provider uuid -> (generation the client read, class name -> inventory).
    """

    inventories: Mapping[ProviderUuid, tuple[int, Mapping[str, Inventory]]]
    claims: tuple[ConsumerClaim, ...]


@dataclass(frozen=True, slots=True)
class ReshapePlan:
    """What an accepted reshape changes."""

    changes: list[ConsumerChange]
    added: Mapping[Slot, Inventory]
    changed: Mapping[Slot, Inventory]
    removed: Mapping[ProviderUuid, tuple[str, ...]]


def decide_reshape(
    ledger: Ledger,
    request: Reshape,
    class_ids: Mapping[str, ResourceClassId],
    absentee: Absentee,
) -> ReshapePlan:
    """Decide a reshape: claims are judged by the new inventories and those about to go together.

    Args:
        class_ids: the classes that exist among those of the new inventories.
    Raises:
        UnknownReshapeProvider, ProviderGenerationConflict, ConsumerNamedTwice,
        ConsumerGenerationConflict, UnknownAllocationProvider, UnknownResourceClass, InventoryInUse,
        and the refusals of ``decide_claims``.
    """
    check_inventories(ledger, request)
    check_spellings(ledger, request.claims)
    for claim in request.claims:
        check_generation(ledger.consumers.get(claim.consumer), claim)
    for claim in request.claims:
        check_providers(ledger, claim)
    for _, inventories in request.inventories.values():
        for name in inventories:
            if name not in class_ids:
                raise UnknownResourceClass(name)
    before = dict(ledger.providers)
    for uuid, (_, inventories) in request.inventories.items():
        _stock_up(ledger, uuid, inventories, class_ids)
    changes = decide_claims(ledger, request.claims, absentee)
    removed = {uuid: _removed(ledger, before[uuid], request) for uuid in request.inventories}
    added: dict[Slot, Inventory] = {}
    changed: dict[Slot, Inventory] = {}
    for uuid, (_, inventories) in request.inventories.items():
        stock = before[uuid]
        for name, inventory in inventories.items():
            known = changed if name in stock.inventories else added
            known[(stock.id, class_ids[name])] = inventory
    return ReshapePlan(changes, added, changed, removed)


def check_inventories(ledger: Ledger, request: Reshape) -> None:
    """Refuse inventories of unknown providers, or made from an outdated view of a provider.

    Raises:
        UnknownReshapeProvider, ProviderGenerationConflict
    """
    for uuid, (generation, _) in request.inventories.items():
        stock = ledger.providers.get(uuid)
        if stock is None:
            raise UnknownReshapeProvider(uuid)
        if stock.generation != generation:
            raise ProviderGenerationConflict(uuid, stock.generation, generation)


def _stock_up(
    ledger: Ledger,
    uuid: ProviderUuid,
    inventories: Mapping[str, Inventory],
    class_ids: Mapping[str, ResourceClassId],
) -> None:
    """Put the new inventories over those there are; Placement counts each such step."""
    stock = ledger.providers[uuid]
    ledger.providers[uuid] = replace(
        stock,
        class_ids={**stock.class_ids, **{name: class_ids[name] for name in inventories}},
        inventories={**stock.inventories, **inventories},
    )
    for name in inventories:
        ledger.used.setdefault((stock.id, class_ids[name]), 0)
    ledger.bump(stock.id, 2 if inventories else 1)


def _removed(ledger: Ledger, stock: ProviderStock, request: Reshape) -> tuple[str, ...]:
    """The classes that a provider loses, which nothing may hold any more."""
    wanted = request.inventories[stock.uuid][1]
    gone = [name for name in stock.inventories if name not in wanted]
    busy = [name for name in gone if ledger.used[(stock.id, stock.class_ids[name])]]
    if busy:
        raise InventoryInUse(stock.uuid, tuple(sorted(busy, key=lambda n: stock.class_ids[n])))
    return tuple(gone)
