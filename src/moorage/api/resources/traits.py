"""Traits: the list of all, each by name, and those of a provider."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from msgspec import Struct

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply, reply_json
from moorage.api.errors import Problem
from moorage.api.query import Query, QueryJudge
from moorage.api.wire import INTEGER, STRING, TraitName, an_object
from moorage.candidates.evidence import about_provider
from moorage.operations.delete_provider_traits import delete_provider_traits
from moorage.operations.delete_trait import delete_trait
from moorage.operations.ensure_trait import ensure_trait
from moorage.operations.list_traits import list_traits
from moorage.operations.look_up import look_up
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_trait import show_trait

_CUSTOM_TRAIT: Final = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")
_TRUTHS: Final = {"true": True, "false": False}


class TraitSet(Struct, kw_only=True, forbid_unknown_fields=True):
    """The traits that a provider shall have, with its generation."""

    traits: list[TraitName]
    resource_provider_generation: int


TRAIT_SET: Final = BodyParser(
    TraitSet,
    an_object(
        {
            "traits": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 255},
            },
            "resource_provider_generation": INTEGER,
        },
        "traits",
        "resource_provider_generation",
    ),
)
TRAIT_QUERY: Final = QueryJudge(an_object({"name": STRING, "associated": STRING}))


class TraitFilter(Struct, frozen=True):
    """Which traits to list: by name or by prefix, and whether some provider has them."""

    names: tuple[str, ...] | None = None
    prefix: str | None = None
    associated: bool | None = None


def parse_trait_filter(query: Query) -> TraitFilter:
    """What the query asks of traits.

    Raises:
        Problem: it asks in a way that is not known.
    """
    TRAIT_QUERY.check(query)
    names = prefix = associated = None
    if (name := query.last("name")) is not None:
        operator, colon, value = name.partition(":")
        if not colon:
            raise Problem(
                400,
                "Badly formatted name parameter. Expected name query string parameter in form: "
                f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{name}"',
            )
        # An operator that is not known filters nothing, as it always was.
        if operator == "in":
            names = tuple(value.split(","))
        elif operator == "startswith":
            prefix = value
    if (stated := query.last("associated")) is not None:
        associated = _TRUTHS.get(stated.lower())
        if associated is None:
            raise Problem(400, 'The query parameter "associated" only accepts "true" or "false"')
    return TraitFilter(names, prefix, associated)


def check_custom_trait(name: str) -> None:
    """Raises:
    Problem: a client cannot define a trait of this name.
    """
    if not _CUSTOM_TRAIT.fullmatch(name):
        raise Problem(
            400,
            "The trait is invalid. A valid trait must be no longer than 255 characters, start "
            'with the prefix "CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"',
        )


def handle_list_traits(call: Call) -> Reply:
    """The names of the traits that meet every filter."""
    asked = parse_trait_filter(call.query())
    names, modified_at = list_traits(
        call.services,
        names=asked.names,
        prefix=asked.prefix,
        associated=asked.associated,
    )
    return reply_json({"traits": list(names)}, call.modified(modified_at or call.origin.at))


def handle_show_trait(call: Call) -> Reply:
    """Whether there is a trait."""
    modified_at = show_trait(call.services, call.path["name"])
    return Reply(204, headers=call.modified(modified_at or call.origin.at))


def handle_ensure_trait(call: Call) -> Reply:
    """A custom trait, new or not."""
    name = call.path["name"]
    check_custom_trait(name)
    created, modified_at = ensure_trait(call.services, name=name, origin=call.origin)
    headers = (call.location(f"/traits/{name}"), *call.modified(modified_at or call.origin.at))
    return Reply(201 if created else 204, headers=headers)


def handle_delete_trait(call: Call) -> Reply:
    """The end of a custom trait that no provider has."""
    delete_trait(call.services, name=call.path["name"], origin=call.origin)
    return NO_CONTENT


def _document(generation: int, names: Sequence[str]) -> dict[str, Any]:
    return {"traits": list(names), "resource_provider_generation": generation}


def _reply_provider_traits(
    generation: int, names: Sequence[str], modified_at: datetime | None, call: Call
) -> Reply:
    return reply_json(_document(generation, names), call.modified(modified_at or call.origin.at))


def handle_show_provider_traits(call: Call) -> Reply:
    """The traits of a provider."""
    snapshot, position = look_up(call.services, call.path["uuid"])
    document = _document(snapshot.generation_of(position), snapshot.traits_of(position))
    modified_at = snapshot.traits_modified_at(position)
    return call.lasting(orjson.dumps(document), about_provider(snapshot, position), modified_at)


def handle_set_provider_traits(call: Call) -> Reply:
    """Exactly the traits of the body, from now on."""
    body = TRAIT_SET.parse(call.body)
    generation, names, modified_at = set_provider_traits(
        call.services,
        provider=call.path["uuid"],
        generation=body.resource_provider_generation,
        traits=body.traits,
        origin=call.origin,
    )
    return _reply_provider_traits(generation, names, modified_at, call)


def handle_delete_provider_traits(call: Call) -> Reply:
    """A provider without traits."""
    delete_provider_traits(call.services, provider=call.path["uuid"], origin=call.origin)
    return NO_CONTENT
