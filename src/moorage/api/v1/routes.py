"""The one table of /moorage/v1's endpoints, and where a path leads among them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import orjson

from moorage.api.call import Call, Reply
from moorage.api.routes import Place
from moorage.api.v1.audit import AUDIT
from moorage.api.v1.claims import CLAIMS
from moorage.api.v1.endpoints import Endpoint
from moorage.api.v1.leases import LEASES
from moorage.api.v1.moves import MOVES
from moorage.api.v1.openapi import describe
from moorage.api.v1.version import VERSION


def handle_show_openapi(call: Call) -> Reply:
    """Describe the API."""
    return Reply(200, _description(call.mount))


@lru_cache(maxsize=8)
def _description(mount: str) -> bytes:
    return orjson.dumps(describe(ENDPOINTS, mount=mount))


_OPENAPI: Final = (
    Endpoint(
        "show_openapi",
        "GET",
        "/openapi.json",
        None,
        handle_show_openapi,
        "This description.",
    ),
)

ENDPOINTS: Final = (*VERSION, *_OPENAPI, *CLAIMS, *LEASES, *MOVES, *AUDIT)


@dataclass(slots=True)
class _Junction:
    """Where paths go on from: by a fixed word, or else by any, which is a parameter's value."""

    words: dict[str, "_Junction"] = field(default_factory=dict)
    parameter: "_Junction | None" = None
    place: Place | None = None


def _lay(endpoints: Iterable[Endpoint]) -> _Junction:
    by_template: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_template.setdefault(endpoint.template, []).append(endpoint)
    start = _Junction()
    for template, together in by_template.items():
        at, names = start, []
        for part in template.split("/"):
            if not part.startswith("{"):
                at = at.words.setdefault(part, _Junction())
                continue
            names.append(part.strip("{}"))
            at.parameter = at.parameter or _Junction()
            at = at.parameter
        at.place = _place(template, names, together)
    return start


def _place(template: str, names: Sequence[str], endpoints: Iterable[Endpoint]) -> Place:
    routes = {endpoint.method: endpoint.route() for endpoint in endpoints}
    return Place(
        template=template,
        parameters=tuple(names),
        allow=", ".join(routes),
        routes=MappingProxyType(routes),
        missing=frozenset(),
    )


_START: Final = _lay(ENDPOINTS)


def find_own_place(path: str) -> tuple[Place, Mapping[str, str]] | None:
    """The place that the path leads to, with the values of its parameters; None: nowhere."""
    at = _START
    values = []
    for part in path.split("/"):
        following = at.words.get(part)
        if following is None and part:
            following = at.parameter
            values.append(part)
        if following is None:
            return None
        at = following
    if at.place is None:
        return None
    return at.place, dict(zip(at.place.parameters, values, strict=True))
