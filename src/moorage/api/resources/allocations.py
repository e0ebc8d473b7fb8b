"""Allocations: what a consumer holds, what is held on a provider, and claims to hold."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from orjson import dumps

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply, reply_json
from moorage.api.errors import Problem
from moorage.api.judge import Schema, canonical_uuid, is_uuid_like
from moorage.api.microversions.contract import Contract
from moorage.api.wire import (
    AMOUNTS,
    CONSUMER_TYPE,
    INTEGER,
    OWNER_ID,
    UUID,
    UUID_PATTERN,
    Amount,
    ClassName,
    ConsumerType,
    OwnerId,
    UuidKey,
    a_mapping,
    an_object,
)
from moorage.domain.claim import ConsumerClaim
from moorage.domain.consumer import ConsumerAllocations
from moorage.domain.ids import ConsumerUuid, ProviderUuid
from moorage.operations.claim import claim
from moorage.operations.list_provider_allocations import HeldRows, list_provider_allocations
from moorage.operations.release import release
from moorage.operations.show_allocations import show_allocations

UNTYPED: Final = "unknown"
"""What a consumer without a type is said to be."""

CONSUMERS_AT_ONCE: Final = 2_000
"""Consumers in one piece of a long list."""

Resources = Annotated[dict[ClassName, Amount], Meta(min_length=1)]


class ProviderRef(Struct, kw_only=True, forbid_unknown_fields=True):
    uuid: str


class ListedClaim(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to hold on one provider, as an entry of a list."""

    resource_provider: ProviderRef
    resources: Resources


class ListClaim(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to hold, as a list."""

    allocations: Annotated[list[ListedClaim], Meta(min_length=1)]


class OwnedListClaim(ListClaim, kw_only=True, forbid_unknown_fields=True):
    project_id: OwnerId
    user_id: OwnerId


class KeyedClaim(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to hold on one provider. The generation is a courtesy to clients, and not read."""

    resources: Resources
    generation: int | UnsetType = UNSET


class PossiblyEmptyClaim(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to hold by provider; nothing, perhaps."""

    allocations: dict[UuidKey, KeyedClaim]
    project_id: OwnerId
    user_id: OwnerId


class FilledClaim(PossiblyEmptyClaim, kw_only=True, forbid_unknown_fields=True):
    allocations: Annotated[dict[UuidKey, KeyedClaim], Meta(min_length=1)]


class CheckedClaim(PossiblyEmptyClaim, kw_only=True, forbid_unknown_fields=True):
    consumer_generation: int | None


class MappedClaim(CheckedClaim, kw_only=True, forbid_unknown_fields=True):
    # Repeated from the candidate for the client's convenience, and not read.
    mappings: Annotated[dict[str, Any], Meta(min_length=1)] | UnsetType = UNSET


class TypedClaim(MappedClaim, kw_only=True, forbid_unknown_fields=True):
    consumer_type: ConsumerType


AnyClaim = ListClaim | PossiblyEmptyClaim

_KEYED: Final = a_mapping(
    UUID_PATTERN, an_object({"generation": INTEGER, "resources": AMOUNTS}, "resources")
)
_LISTED: Final = {
    "type": "array",
    "minItems": 1,
    "items": an_object(
        {"resource_provider": an_object({"uuid": UUID}, "uuid"), "resources": AMOUNTS},
        "resource_provider",
        "resources",
    ),
}
_GENERATION: Final = {"type": ["integer", "null"], "additionalProperties": False}


def _mappings_schema(contract: Contract) -> dict[str, Any]:
    return {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {
            str(contract.group_suffix): {"type": "array", "minItems": 1, "items": UUID}
        },
    }


def claim_schema(contract: Contract, *, may_be_empty: bool) -> dict[str, Any]:
    """What one consumer's claim must be."""
    properties: dict[str, Any]
    if contract.allocations_keyed_by_provider:
        properties = {"allocations": _KEYED | {"minProperties": 0 if may_be_empty else 1}}
    else:
        properties = {"allocations": _LISTED}
    if contract.claims_name_owner:
        properties |= {"project_id": OWNER_ID, "user_id": OWNER_ID}
    if contract.checks_consumer_generation:
        properties["consumer_generation"] = _GENERATION
    required = tuple(properties)
    if contract.maps_groups:
        properties["mappings"] = _mappings_schema(contract)
    if contract.types_consumers:
        properties["consumer_type"] = CONSUMER_TYPE
        required = (*required, "consumer_type")
    return an_object(properties, *required)


def claim_kind(contract: Contract, *, may_be_empty: bool) -> type[AnyClaim]:
    """What a claim's body becomes."""
    if contract.types_consumers:
        return TypedClaim
    if contract.maps_groups:
        return MappedClaim
    if contract.checks_consumer_generation:
        return CheckedClaim
    if contract.allocations_keyed_by_provider:
        return PossiblyEmptyClaim if may_be_empty else FilledClaim
    return OwnedListClaim if contract.claims_name_owner else ListClaim


def is_sound_claim(body: AnyClaim) -> bool:
    """Whether all uuids that the schema wants to be some are some."""
    if isinstance(body, ListClaim):
        return all(is_uuid_like(one.resource_provider.uuid) for one in body.allocations)
    if not isinstance(body, MappedClaim) or body.mappings is UNSET:
        return True
    return all(
        isinstance(uuids, list) and uuids and all(map(is_uuid_like, uuids))
        for uuids in body.mappings.values()
    )


@cache
def claim_parser(contract: Contract) -> BodyParser[AnyClaim]:
    may_be_empty = contract.checks_consumer_generation
    return BodyParser[AnyClaim](
        claim_kind(contract, may_be_empty=may_be_empty),
        claim_schema(contract, may_be_empty=may_be_empty),
        is_sound_claim,
    )


def claims_schema(contract: Contract, *, at_least: int) -> Schema:
    """What the claims of several consumers must be."""
    return a_mapping(UUID_PATTERN, claim_schema(contract, may_be_empty=True), at_least=at_least)


def are_sound_claims(body: Mapping[str, AnyClaim]) -> bool:
    return all(map(is_sound_claim, body.values()))


@cache
def claims_parser(contract: Contract) -> BodyParser[dict[str, AnyClaim]]:
    kind = claim_kind(contract, may_be_empty=True)
    claims: Any = Annotated[dict[UuidKey, kind], Meta(min_length=1)]  # type: ignore[valid-type]
    return BodyParser(claims, claims_schema(contract, at_least=1), are_sound_claims)


def to_claim(body: AnyClaim, consumer: str) -> ConsumerClaim:
    """The claim in the newest words, whichever the client used."""
    if isinstance(body, ListClaim):
        resources = {
            ProviderUuid(one.resource_provider.uuid): one.resources for one in body.allocations
        }
    else:
        resources = {ProviderUuid(uuid): one.resources for uuid, one in body.allocations.items()}
    owned = body if isinstance(body, OwnedListClaim | PossiblyEmptyClaim) else None
    checked = body if isinstance(body, CheckedClaim) else None
    return ConsumerClaim(
        consumer=ConsumerUuid(consumer),
        resources=resources,
        project_id=owned.project_id if owned else None,
        user_id=owned.user_id if owned else None,
        checks_generation=checked is not None,
        generation=checked.consumer_generation if checked else None,
        consumer_type=body.consumer_type if isinstance(body, TypedClaim) else None,
    )


def allocations_document(held: ConsumerAllocations | None, contract: Contract) -> dict[str, Any]:
    """What a consumer holds; who it is, only if it holds anything."""
    if held is None:
        return {"allocations": {}}
    document: dict[str, Any] = {
        "allocations": {
            uuid: {"resources": dict(resources), "generation": generation}
            for uuid, (generation, resources) in held.resources.items()
        }
    }
    if contract.shows_owner:
        document["project_id"] = held.project_id
        document["user_id"] = held.user_id
    if contract.checks_consumer_generation:
        document["consumer_generation"] = held.generation
    if contract.types_consumers:
        document["consumer_type"] = held.consumer_type or UNTYPED
    return document


def handle_show_allocations(call: Call) -> Reply:
    """What a consumer holds; an unknown one holds nothing."""
    held = show_allocations(call.services, call.path["consumer_uuid"])
    modified_at = call.origin.at if held is None else held.modified_at
    return reply_json(allocations_document(held, call.contract), call.modified(modified_at))


def render_held(held: HeldRows, contract: Contract) -> Iterator[bytes]:
    """Everything held on a provider in pieces, which are made when they are read."""
    texts: list[str] = []
    comma = ""
    for consumer, rows in groupby(held.rows, key=itemgetter(0)):
        mine = list(rows)
        amounts = ",".join([f'"{row.class_name}":{row.used}' for row in mine])
        text = f'{dumps(consumer).decode()}:{{"resources":{{{amounts}}}'
        if contract.checks_consumer_generation:
            text += f',"consumer_generation":{mine[0].consumer_generation}'
        texts.append(text + "}")
        if len(texts) == CONSUMERS_AT_ONCE:
            yield (comma + ",".join(texts)).encode()
            texts, comma = [], ","
    yield ((comma if texts else "") + ",".join(texts)).encode()


def handle_list_provider_allocations(call: Call) -> Reply:
    """Everything held on a provider."""
    held, evidence = list_provider_allocations(call.services, call.path["uuid"])
    start = b'{"resource_provider_generation":%d,"allocations":{' % held.generation
    pieces = chain([start], render_held(held, call.contract), [b"}}"])
    return call.lasting(pieces, evidence, held.modified_at)


def handle_claim(call: Call) -> Reply:
    """Exactly the allocations of the body for one consumer, from now on."""
    stated = call.path["consumer_uuid"]
    if not is_uuid_like(stated):
        raise Problem(400, f"Malformed consumer_uuid: {stated}")
    body = claim_parser(call.contract).parse(call.body)
    claim(call.services, [to_claim(body, canonical_uuid(stated))], call.origin)
    return NO_CONTENT


def handle_claim_many(call: Call) -> Reply:
    """The same for several consumers: all, or nothing."""
    body = claims_parser(call.contract).parse(call.body)
    claim(call.services, [to_claim(one, uuid) for uuid, one in body.items()], call.origin)
    return NO_CONTENT


def handle_release(call: Call) -> Reply:
    """A consumer that holds nothing any more."""
    release(call.services, consumer=call.path["consumer_uuid"], origin=call.origin)
    return NO_CONTENT
