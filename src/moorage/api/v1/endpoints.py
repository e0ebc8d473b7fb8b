"""What an endpoint of /moorage/v1 is: a route, and all that its description says about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from moorage.api.bodies import BodyParser
from moorage.api.call import Call, Reply
from moorage.api.errors import Problem
from moorage.api.judge import is_canonical_uuid
from moorage.api.query import QueryJudge
from moorage.api.routes import Route
from moorage.api.wire import an_object
from moorage.domain.refusals import Refusal

PREFIX: Final = "/moorage/v1"

_NO_CACHE: Final = (("cache-control", "no-cache"),)


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request: what it does not know it refuses."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The body of an answer, or a part of one."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, at most once; ``schema`` is about its text."""

    name: str
    summary: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that /moorage/v1 does.

    Args:
        name: what the tables of refusals call it.
        path: below ``/moorage/v1``; fixed words and parameters in any order.
        rule: the policy's rule; None: whoever has a valid token may.
        body: what a request's body becomes; None: there is none.
        answer: what an answer's body is made of; None: there is none, or it is no Document.
        status: of a success.
        refusals: what the operation may refuse with, for the description.
    """

    name: str
    method: str
    path: str
    rule: str | None
    handler: Callable[[Call], Reply]
    summary: str
    body: type[Command] | None = None
    answer: type[Document] | None = None
    status: int = 200
    parameters: tuple[Parameter, ...] = ()
    refusals: tuple[type[Refusal], ...] = ()
    judge: QueryJudge = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {one.name: dict(one.schema) for one in self.parameters}
        object.__setattr__(self, "judge", QueryJudge(an_object(known)))

    def handle(self, call: Call) -> Reply:
        """Answer the call, once its query is found to be one that the endpoint knows."""
        if call.query_text:
            self.judge.check(call.query())
        return self.handler(call)

    @property
    def template(self) -> str:
        """The whole path, with its parameters in braces."""
        return PREFIX + self.path

    def route(self) -> Route:
        """The endpoint as the pipeline sees it."""
        return Route(
            self.name,
            self.method,
            self.template,
            self.rule,
            self.handle,
            takes_json=self.body is not None,
            checks_accept=True,
        )


Body = TypeVar("Body", bound=Command)


def parser_of(kind: type[Body], is_sound: Callable[[Body], bool] | None = None) -> BodyParser[Body]:
    """A parser of bodies, which are judged by the schema that the API's description shows."""
    schema = msgspec.json.schema(kind)
    return BodyParser(kind, schema) if is_sound is None else BodyParser(kind, schema, is_sound)


def reply_with(document: Document, *, status: int = 200) -> Reply:
    """A reply with the document as its body."""
    return Reply(status, msgspec.json.encode(document), _NO_CACHE)


def uuid_in(call: Call, name: str) -> str:
    """The path's parameter, as it was written, if it is a UUID.

    Raises:
        Problem: it is none.
    """
    text = call.path[name]
    if not is_canonical_uuid(text):
        raise Problem(400, f"{name} is no UUID: {text!r}")
    return text
