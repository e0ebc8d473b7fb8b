"""Reshapes: inventories and allocations moved between providers in one step."""

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.domain.claim import ConsumerClaim
from moorage.domain.ids import ProviderUuid
from moorage.domain.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Reshape:
    """The inventories that providers shall have, and what consumers shall hold on them.

    ``inventories``: provider uuid -> (generation the client read, class name -> inventory).
    """

    inventories: Mapping[ProviderUuid, tuple[int, Mapping[str, Inventory]]]
    claims: tuple[ConsumerClaim, ...]
