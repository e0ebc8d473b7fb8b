"""The reshaper: inventories and allocations moved between providers in one step."""

from functools import cache
from typing import Annotated, Any, cast

from msgspec import Meta, Struct, defstruct

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply
from moorage.api.microversions.contract import Contract
from moorage.api.resources.allocations import (
    AnyClaim,
    are_sound_claims,
    claim_kind,
    claims_schema,
    to_claim,
)
from moorage.api.resources.inventories import INVENTORY_SET_SCHEMA, InventorySet
from moorage.api.wire import UUID_PATTERN, UuidKey, a_mapping, an_object
from moorage.domain.ids import ProviderUuid
from moorage.domain.reshape import Reshape
from moorage.operations.reshape import reshape


class ReshapeBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """The inventories that providers shall have, and the claims on them."""

    inventories: Annotated[dict[UuidKey, InventorySet], Meta(min_length=1)]
    # Narrowed to the contract's kind of claim by ``reshape_parser``.
    allocations: dict[UuidKey, Any]


@cache
def reshape_parser(contract: Contract) -> BodyParser[ReshapeBody]:
    kind = claim_kind(contract, may_be_empty=True)
    body = defstruct(
        "ReshapeBody",
        [("allocations", dict[UuidKey, kind])],  # type: ignore[valid-type]
        bases=(ReshapeBody,),
        kw_only=True,
        forbid_unknown_fields=True,
    )
    schema = an_object(
        {
            "inventories": a_mapping(UUID_PATTERN, INVENTORY_SET_SCHEMA, at_least=1),
            "allocations": claims_schema(contract, at_least=0),
        },
        "inventories",
        "allocations",
    )
    return BodyParser(
        cast(type[ReshapeBody], body), schema, lambda one: are_sound_claims(one.allocations)
    )


def parse_reshape(contract: Contract, body: bytes) -> Reshape:
    """The reshape that the body asks for.

    Raises:
        Problem: the body is not what it should be.
    """
    parsed = reshape_parser(contract).parse(body)
    claims: dict[str, AnyClaim] = parsed.allocations
    return Reshape(
        inventories={
            ProviderUuid(uuid): (one.resource_provider_generation, one.to_inventories())
            for uuid, one in parsed.inventories.items()
        },
        claims=tuple(to_claim(one, consumer) for consumer, one in claims.items()),
    )


def handle_reshape(call: Call) -> Reply:
    """All of the reshape, or nothing."""
    reshape(call.services, parse_reshape(call.contract, call.body), call.origin)
    return NO_CONTENT
