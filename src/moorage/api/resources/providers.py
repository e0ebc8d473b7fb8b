"""Resource providers: a collection with filters, and its members."""

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Annotated, Any, Final
from uuid import uuid4

import orjson
from msgspec import UNSET, Meta, Struct, UnsetType

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply
from moorage.api.judge import canonical_uuid, is_uuid_like
from moorage.api.microversions.contract import Contract
from moorage.api.query import (
    AggregatesAsked,
    Query,
    QueryJudge,
    TraitsAsked,
    parse_member_of,
    parse_query,
    parse_required,
    parse_resources,
    remembered,
)
from moorage.api.wire import STRING, UUID, an_object
from moorage.candidates.evidence import about_tree
from moorage.domain.provider import Provider, ProviderFilter
from moorage.operations.create_provider import create_provider
from moorage.operations.delete_provider import delete_provider
from moorage.operations.list_providers import (
    ListedProvider,
    ProvidersFound,
    list_providers,
)
from moorage.operations.look_up import look_up
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


@remembered
def read_filter(query_text: str, contract: Contract) -> ProviderFilter:
    """The same from the query as it came."""
    return parse_filter(parse_query(query_text), contract)


@lru_cache(maxsize=256)
def provider_words(contract: Contract, mount: str) -> str:
    """The text of a provider, to be filled in.

    With its uuid, its name in JSON and its generation; with its uuid for each link; and, where the
    contract nests providers, with the uuids of its parent and its root in JSON.
    """
    href = orjson.dumps(f"{mount}/resource_providers/").decode()[:-1].replace("%", "%%") + "%s"
    links = [f'{{"rel":"self","href":{href}"}}']
    links += [f'{{"rel":"{name}","href":{href}/{name}"}}' for name in contract.provider_links]
    tree = ',"parent_provider_uuid":%s,"root_provider_uuid":%s' if contract.nests_providers else ""
    return f'{{"uuid":"%s","name":%s,"generation":%d,"links":[{",".join(links)}]{tree}}}'


def provider_text(shown: Provider | ListedProvider, call: Call) -> str:
    """The provider as clients see it."""
    contract = call.contract
    links = (shown.uuid,) * (1 + len(contract.provider_links))
    tree: tuple[str, ...] = ()
    if contract.nests_providers:
        parent = "null" if shown.parent_uuid is None else f'"{shown.parent_uuid}"'
        tree = (parent, f'"{shown.root_uuid}"')
    name = orjson.dumps(shown.name).decode()
    words = provider_words(contract, call.mount)
    return words % (shown.uuid, name, shown.generation, *links, *tree)


def reply_provider(provider: Provider, call: Call) -> Reply:
    return Reply(200, provider_text(provider, call).encode(), call.modified(provider.modified_at))


def render_providers(found: ProvidersFound, call: Call) -> Iterator[bytes]:
    """The listing in pieces, which are made when they are read."""
    yield b'{"resource_providers":['
    comma = ""
    for part in found.parts():
        yield (comma + ",".join([provider_text(shown, call) for shown in part])).encode()
        comma = ","
    yield b"]}"


def _reply_few(found: ProvidersFound, call: Call) -> Reply:
    providers = found.each()
    newest = max((one.modified_at for one in providers), default=None)
    texts = ",".join([provider_text(one, call) for one in providers])
    body = f'{{"resource_providers":[{texts}]}}'.encode()
    if found.evidence is not None:
        return call.lasting(body, found.evidence, newest)
    return Reply(200, body, call.modified(newest or call.origin.at))


def handle_list_providers(call: Call) -> Reply:
    """The providers that meet every filter."""
    found = list_providers(call.services, read_filter(call.query_text, call.contract))
    if found.are_few:
        return _reply_few(found, call)
    newest = found.modified_at or call.origin.at
    return Reply(200, render_providers(found, call), call.modified(newest))


def handle_show_provider(call: Call) -> Reply:
    """One provider."""
    snapshot, position = look_up(call.services, call.path["uuid"])
    provider = snapshot.provider(position)
    evidence = about_tree(snapshot, [position])
    return call.lasting(provider_text(provider, call).encode(), evidence, provider.modified_at)


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
    return Reply(200, provider_text(provider, call).encode(), headers)


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
