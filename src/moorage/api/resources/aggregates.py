"""Aggregates of a provider."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import orjson
from msgspec import Struct

from moorage.api.bodies import BodyParser
from moorage.api.call import Call, Reply
from moorage.api.judge import is_uuid_like
from moorage.api.microversions.contract import Contract
from moorage.api.wire import INTEGER, UUID, an_object
from moorage.operations.set_aggregates import set_aggregates
from moorage.operations.show_aggregates import show_aggregates

_UUIDS: Final = {"type": "array", "items": UUID, "uniqueItems": True}


class AggregateSet(Struct, kw_only=True, forbid_unknown_fields=True):
    """The aggregates that a provider shall be in, with its generation."""

    aggregates: list[str]
    resource_provider_generation: int


def _are_sound(aggregates: Sequence[str]) -> bool:
    return len(set(aggregates)) == len(aggregates) and all(map(is_uuid_like, aggregates))


AGGREGATE_SET: Final = BodyParser(
    AggregateSet,
    an_object(
        {"aggregates": _UUIDS, "resource_provider_generation": INTEGER},
        "aggregates",
        "resource_provider_generation",
    ),
    lambda body: _are_sound(body.aggregates),
)
AGGREGATE_LIST: Final = BodyParser(list[str], _UUIDS, _are_sound)


@cache
def aggregates_parser(contract: Contract) -> BodyParser[Any]:
    return AGGREGATE_SET if contract.aggregates_carry_generation else AGGREGATE_LIST


def parse_aggregates(contract: Contract, body: bytes) -> tuple[list[str], int | None]:
    """The aggregates, and the generation where the contract has one.

    Raises:
        Problem: the body is not what it should be.
    """
    parsed = aggregates_parser(contract).parse(body)
    if isinstance(parsed, AggregateSet):
        return parsed.aggregates, parsed.resource_provider_generation
    return parsed, None


def _document(aggregates: Sequence[str], generation: int, contract: Contract) -> bytes:
    document: dict[str, Any] = {"aggregates": list(aggregates)}
    if contract.aggregates_carry_generation:
        document["resource_provider_generation"] = generation
    return orjson.dumps(document)


def handle_show_aggregates(call: Call) -> Reply:
    """The aggregates of a provider."""
    generation, aggregates, evidence = show_aggregates(call.services, call.path["uuid"])
    # When a provider joined an aggregate is not recorded.
    return call.lasting(_document(aggregates, generation, call.contract), evidence, None)


def handle_set_aggregates(call: Call) -> Reply:
    """Exactly the aggregates of the body, from now on."""
    aggregates, stated = parse_aggregates(call.contract, call.body)
    generation = set_aggregates(
        call.services,
        provider=call.path["uuid"],
        aggregates=aggregates,
        generation=stated,
        origin=call.origin,
    )
    return Reply(200, _document(aggregates, generation, call.contract), call.modified_now())
