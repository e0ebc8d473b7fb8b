"""The OpenAPI 3.1 document of /moorage/v1, made from its endpoints and their wire structs."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from moorage import __version__
from moorage.api.errors import find_answer
from moorage.api.negotiation import JSON, TITLES
from moorage.api.v1.endpoints import Document, Endpoint
from moorage.api.v1.errors import CODES, code_of

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/components/schemas/{name}"
_EVERYWHERE: Final = (400, 401, 406, 414, 500, 503)
_WITH_BODY: Final = (413, 415)
_OTHER_FORM: Final = 401
"""Whoever checks tokens words this one: Keystone's middleware, say."""
_PARAMETER: Final = re.compile(r"{(\w+)}")


class Error(Document, frozen=True, kw_only=True):
    """An error; refusals that have more to say have it in further members."""

    status: int
    title: str
    detail: str
    code: str
    request_id: str


class Errors(Document, frozen=True, kw_only=True):
    """The body of every answer from 400 on."""

    errors: tuple[Error, ...]


def describe(endpoints: Sequence[Endpoint], *, mount: str = "") -> dict[str, Any]:
    """The document about these endpoints of a service that is mounted here."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Moorage",
            "version": __version__,
            "summary": "Claims, moves and audits of a cloud's resources, beside the Placement API.",
        },
        "jsonSchemaDialect": DIALECT,
        "servers": [{"url": mount or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(endpoints),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
        },
    }


def _schemas(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    kinds: dict[Any, None] = {Errors: None}
    for endpoint in endpoints:
        kinds |= {kind: None for kind in (endpoint.body, endpoint.answer) if kind is not None}
    return msgspec.json.schema_components(tuple(kinds), ref_template=_REFERENCE)[1]


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": _responses(endpoint),
    }
    if endpoint.rule is not None:
        described["x-policy"] = endpoint.rule
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(endpoint.template)
    ]
    parameters += [
        {"name": one.name, "in": "query", "description": one.summary, "schema": dict(one.schema)}
        for one in endpoint.parameters
    ]
    if parameters:
        described["parameters"] = parameters
    if endpoint.body is not None:
        described["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    return described


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": _REFERENCE.format(name=kind.__name__)}}}


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if endpoint.answer is not None:
        success["content"] = _content(endpoint.answer)
    responses = {str(endpoint.status): success}
    for status, codes in sorted(_codes(endpoint).items()):
        told = responses[str(status)] = {"description": f"{TITLES[status]}: {', '.join(codes)}"}
        if status != _OTHER_FORM:
            told["content"] = _content(Errors)
    return responses


def _codes(endpoint: Endpoint) -> dict[int, list[str]]:
    """The codes that an endpoint may answer with, by status."""
    statuses = [*_EVERYWHERE, *(_WITH_BODY if endpoint.body is not None else ())]
    if endpoint.rule is not None:
        statuses.append(403)
    found = {status: [CODES[status]] for status in statuses}
    for refusal in endpoint.refusals:
        status = find_answer(endpoint.name, refusal).status
        found.setdefault(status, []).append(code_of(refusal))
    return found
