"""Requests of a sequence: abstract as they are made up, concrete as they are sent."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ProviderGeneration:
    """Stands in a body for the provider's generation at that moment, plus ``off``."""

    provider: str
    off: int = 0


@dataclass(frozen=True)
class ConsumerGeneration:
    """Stands in a body for the consumer's generation at that moment (null: new), plus ``off``."""

    consumer: str
    off: int = 0


@dataclass(frozen=True)
class Spoiling:
    """A change that makes a body wrong at one place, chosen by ``place`` modulo the places."""

    kind: str
    place: int
    value: Any = None


@dataclass(frozen=True)
class Step:
    """One request as it was made up; ``raw`` wins over ``body``."""

    method: str
    target: str
    microversion: str | None
    body: Any = None
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    spoiling: Spoiling | None = None


@dataclass(frozen=True)
class Request:
    """One request as it is sent to both, and as it is printed to be sent again."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def version(self) -> tuple[int, int]:
        """The microversion asked for; (1, 0) where none is, (1, 39) for the latest."""
        asked = self.headers.get("OpenStack-API-Version", "placement 1.0").split()[-1]
        if asked == "latest":
            return (1, 39)
        try:
            major, minor = asked.split(".")
            return int(major), int(minor)
        except ValueError:
            return (1, 0)

    def as_line(self) -> str:
        """One line of a replay file."""
        return json.dumps(
            [self.method, self.target, dict(self.headers), self.body.decode("latin-1")]
        )

    @classmethod
    def of_line(cls, line: str) -> "Request":
        method, target, headers, body = json.loads(line)
        return cls(method, target, headers, body.encode("latin-1"))


Resolver = Callable[[ProviderGeneration | ConsumerGeneration], int | None]


def resolve(step: Step, generation_of: Resolver) -> Request:
    """Make a step concrete: generations looked up, the body spoiled, everything as bytes."""
    headers = {"Accept": "application/json", "X-Auth-Token": "admin"}
    if step.microversion is not None:
        headers["OpenStack-API-Version"] = f"placement {step.microversion}"
    content = b""
    if step.raw is not None:
        content = step.raw
    elif step.body is not None:
        body = _fill(step.body, generation_of)
        if step.spoiling is not None:
            body = spoil(body, step.spoiling)
        content = json.dumps(body).encode()
    if content:
        headers["Content-Type"] = "application/json"
    headers |= step.headers
    return Request(
        step.method, step.target, {name: text for name, text in headers.items() if text}, content
    )


def spoil(body: Any, spoiling: Spoiling) -> Any:
    """The body with one thing wrong; where it has no such place, something unlike a body."""
    places = list(_list_places(body))
    if not places:
        return spoiling.value
    container, key = places[spoiling.place % len(places)]
    if spoiling.kind == "drop":
        del container[key]
    elif spoiling.kind == "add" and isinstance(container, dict):
        container["surprise"] = spoiling.value
    elif spoiling.kind == "rename" and isinstance(container, dict):
        container[str(spoiling.value)] = container.pop(key)
    else:
        container[key] = spoiling.value
    return body


def _fill(part: Any, generation_of: Resolver) -> Any:
    if isinstance(part, ProviderGeneration | ConsumerGeneration):
        return generation_of(part)
    if isinstance(part, Mapping):
        return {key: _fill(inner, generation_of) for key, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_fill(inner, generation_of) for inner in part]
    return part


def _list_places(part: Any) -> Any:
    if isinstance(part, dict):
        for key, inner in part.items():
            yield part, key
            yield from _list_places(inner)
    elif isinstance(part, list):
        for number, inner in enumerate(part):
            yield part, number
            yield from _list_places(inner)
