"""Resource providers: a collection with filters, and its members."""

from functools import cache
from typing import Annotated, Any, Final
from uuid import uuid4

from msgspec import UNSET, Meta, Struct, UnsetType

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply, reply_json
from moorage.api.judge import canonical_uuid, is_uuid_like
from moorage.api.microversions.contract import Contract
from moorage.api.query import (
    AggregatesAsked,
    Query,
    QueryJudge,
    TraitsAsked,
    parse_member_of,
    parse_required,
    parse_resources,
)
from moorage.api.wire import STRING, UUID, an_object
from moorage.domain.provider import Provider, ProviderFilter
from moorage.operations.create_provider import create_provider
from moorage.operations.delete_provider import delete_provider
from moorage.operations.list_providers import list_providers
from moorage.operations.show_provider import show_provider
from moorage.operations.update_provider import update_provider

ProviderName = Annotated[str, Meta(max_length=200)]

_NAME: Final = {"type": "string", "maxLength": 200}
_PARENT: Final = {"anyOf": [UUID, {"type": "null"}]}


class NewProvider(Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider to create."""

    name: ProviderName
    uuid: str | UnsetType = UNSET


class NewNestedProvider(NewProvider, kw_only=True, forbid_unknown_fields=True):
    """A provider to create below another."""

    parent_provider_uuid: str | None = None


class ProviderChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider's new name."""

    name: ProviderName


class NestedProviderChange(ProviderChange, kw_only=True, forbid_unknown_fields=True):
    """A provider's new name, and its parent if stated."""

    parent_provider_uuid: str | UnsetType | None = UNSET


def _has_sound_uuids(body: NewProvider | ProviderChange) -> bool:
    stated = (getattr(body, "uuid", UNSET), getattr(body, "parent_provider_uuid", None))
    return all(one is UNSET or one is None or is_uuid_like(one) for one in stated)


@cache
def new_provider_parser(contract: Contract) -> BodyParser[NewProvider]:
    properties: dict[str, Any] = {"name": _NAME, "uuid": UUID}
    if not contract.nests_providers:
        return BodyParser(NewProvider, an_object(properties, "name"), _has_sound_uuids)
    properties["parent_provider_uuid"] = _PARENT
    return BodyParser[NewProvider](
        NewNestedProvider, an_object(properties, "name"), _has_sound_uuids
    )


@cache
def provider_change_parser(contract: Contract) -> BodyParser[ProviderChange]:
    properties: dict[str, Any] = {"name": _NAME}
    if not contract.nests_providers:
        return BodyParser(ProviderChange, an_object(properties, "name"), _has_sound_uuids)
    properties["parent_provider_uuid"] = _PARENT
    return BodyParser[ProviderChange](
        NestedProviderChange, an_object(properties, "name"), _has_sound_uuids
    )


@cache
def provider_query_judge(contract: Contract) -> QueryJudge:
    as_uuid = ("uuid", "in_tree")
    return QueryJudge(
        an_object({name: UUID if name in as_uuid else STRING for name in contract.provider_filters})
    )


def parse_filter(query: Query, contract: Contract) -> ProviderFilter:
    """What the query asks of providers.

    Raises:
        Problem: it asks what the contract does not know, or not in the way it should.
    """
    provider_query_judge(contract).check(query)
    if not query.pairs:
        return ProviderFilter()
    aggregates, traits = AggregatesAsked(), TraitsAsked()
    if "member_of" in query:
        aggregates = parse_member_of(query.every("member_of"), "", contract)
    if "required" in query:
        traits = parse_required(query.every("required"), contract)
    resources = query.last("resources")
    return ProviderFilter(
        name=query.last("name"),
        uuid=query.last("uuid"),
        in_tree=query.last("in_tree"),
        member_of=aggregates.member_of,
        forbidden_aggregates=aggregates.forbidden,
        required_traits=traits.required,
        forbidden_traits=traits.forbidden,
        resources=() if resources is None else tuple(parse_resources(resources).items()),
    )


def provider_document(provider: Provider, call: Call) -> dict[str, Any]:
    """The provider as clients see it."""
    href = f"{call.mount}/resource_providers/{provider.uuid}"
    links = [{"rel": "self", "href": href}]
    links += [{"rel": name, "href": f"{href}/{name}"} for name in call.contract.provider_links]
    document = {
        "uuid": provider.uuid,
        "name": provider.name,
        "generation": provider.generation,
        "links": links,
    }
    if call.contract.nests_providers:
        document["parent_provider_uuid"] = provider.parent_uuid
        document["root_provider_uuid"] = provider.root_uuid
    return document


def reply_provider(provider: Provider, call: Call) -> Reply:
    return reply_json(provider_document(provider, call), call.modified(provider.modified_at))


def handle_list_providers(call: Call) -> Reply:
    """The providers that meet every filter."""
    found = list_providers(call.services, parse_filter(call.query(), call.contract))
    newest = max((provider.modified_at for provider in found), default=call.origin.at)
    return reply_json(
        {"resource_providers": [provider_document(provider, call) for provider in found]},
        call.modified(newest),
    )


def handle_show_provider(call: Call) -> Reply:
    """One provider."""
    return reply_provider(show_provider(call.services, call.path["uuid"]), call)


def handle_create_provider(call: Call) -> Reply:
    """A new provider, with a uuid of its own unless the client chose one."""
    body = new_provider_parser(call.contract).parse(call.body)
    provider = create_provider(
        call.services,
        uuid=str(uuid4()) if body.uuid is UNSET else canonical_uuid(body.uuid),
        name=body.name,
        parent_uuid=body.parent_provider_uuid if isinstance(body, NewNestedProvider) else None,
        origin=call.origin,
    )
    location = call.location(f"/resource_providers/{provider.uuid}")
    if not call.contract.created_provider_is_shown:
        return Reply(201, headers=(location,))
    headers = (location, *call.modified(provider.modified_at))
    return reply_json(provider_document(provider, call), headers)


def handle_update_provider(call: Call) -> Reply:
    """A provider with another name, or another parent."""
    body = provider_change_parser(call.contract).parse(call.body)
    parent = body.parent_provider_uuid if isinstance(body, NestedProviderChange) else UNSET
    provider = update_provider(
        call.services,
        uuid=call.path["uuid"],
        name=body.name,
        parent_uuid=None if parent is UNSET else parent,
        states_parent=parent is not UNSET,
        may_reparent=call.contract.reparents_providers,
        origin=call.origin,
    )
    return reply_provider(provider, call)


def handle_delete_provider(call: Call) -> Reply:
    """The end of a provider that nothing is held on."""
    delete_provider(call.services, uuid=call.path["uuid"], origin=call.origin)
    return NO_CONTENT
