"""Query strings: how they are read, and the grammar of the parameters that routes share.

Source: the API's wording and its oddities (``VCPU:+1``, ``!!TRAIT``) are Placement's, which
clients have come to rely on.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote_to_bytes

from moorage.api.errors import Problem
from moorage.api.judge import QUERY_FORMATS, Judge, Schema, is_canonical_uuid, is_uuid_like
from moorage.api.microversions.contract import Contract, since
from moorage.domain.ids import AggregateUuid, ProviderUuid

_INVALID: Final = "Invalid query string parameters: "


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a query in their order, repeats included."""

    pairs: tuple[tuple[str, str], ...] = ()

    def __contains__(self, name: str) -> bool:
        return any(name == key for key, _ in self.pairs)

    def last(self, name: str) -> str | None:
        """The parameter's value, the last one where it is repeated."""
        return next((value for key, value in reversed(self.pairs) if key == name), None)

    def every(self, name: str) -> tuple[str, ...]:
        """All values of the parameter in their order."""
        return tuple(value for key, value in self.pairs if key == name)


QUERIES_MAX: Final = 2_048
"""Queries of one kind whose meaning is remembered: agents and schedulers ask the same all day."""

QUERY_CHARS_MAX: Final = 1_024
"""Longer queries are read anew each time, so that what is remembered stays small."""

Reader = TypeVar("Reader", bound=Callable[..., Any])


def remembered(read: Reader) -> Reader:
    """The same function of a query's text and hashable values, its outcomes remembered."""
    known = lru_cache(maxsize=QUERIES_MAX)(read)

    def read_or_recall(text: str, *others: Any) -> Any:
        return known(text, *others) if len(text) <= QUERY_CHARS_MAX else read(text, *others)

    return cast(Reader, read_or_recall)


@remembered
def parse_query(text: str) -> Query:
    """Read a query string (as WSGI gives it: bytes in latin-1 clothing).

    Raises:
        Problem: it is not UTF-8, or has a NUL character, which no database could hold.
    """
    if not text:
        return Query()
    pairs = []
    for part in text.encode("latin-1").replace(b";", b"&").split(b"&"):
        if not part:
            continue
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        try:
            pairs.append((unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()))
        except UnicodeDecodeError as error:
            raise Problem(400, f"{_INVALID}{error}") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Problem(400, f"{_INVALID}NUL characters are not allowed")
    return Query(tuple(pairs))


class QueryJudge:
    """Decides which parameters a route takes, and which values.

    Most queries are plainly right, which is seen without the schema; what is not plain goes to
    the schema, which decides and explains.
    """

    def __init__(self, schema: Schema) -> None:
        self._judge = Judge(schema, QUERY_FORMATS)
        self._plain: Mapping[str, Callable[[str], bool]] = {
            name: _plain_check(rules) for name, rules in schema["properties"].items()
        }
        self._patterns = [re.compile(text) for text in schema.get("patternProperties", ())]
        self._required: Sequence[str] = schema.get("required", ())

    def check(self, query: Query) -> None:
        """Raises:
        Problem: the query has an unknown parameter, lacks one, or has a bad value.
        """
        if self._is_plainly_right(query):
            return
        reason = self._judge.explain(dict(query.pairs))
        if reason is not None:
            raise Problem(400, _INVALID + reason)

    def _is_plainly_right(self, query: Query) -> bool:
        for name, value in query.pairs:
            check = self._plain.get(name)
            if check is not None:
                if not check(value):
                    return False
            elif not any(pattern.search(name) for pattern in self._patterns):
                return False
        return all(name in query for name in self._required)


def _plain_check(rules: Mapping[str, Any]) -> Callable[[str], bool]:
    """A check of one parameter's value that is quick, and no wider than the schema's rules."""
    match rules:
        case {"format": "uuid"}:
            return is_canonical_uuid
        case {"enum": values}:
            return frozenset(values).__contains__
        case {"pattern": pattern}:
            matches = re.compile(pattern).search
            longest = rules.get("maxLength", 255)
            return lambda value: bool(matches(value)) and 0 < len(value) <= longest
        case {"maxLength": longest}:
            shortest = rules.get("minLength", 1)
            return lambda value: shortest <= len(value) <= longest
        case _:
            return lambda _: True


def parse_resources(text: str) -> dict[str, int]:
    """Amounts by resource class name, from ``VCPU:2,MEMORY_MB:1024``."""
    badly_formed = (
        "Badly formed resources parameter. Expected resources query string parameter in form: "
        "?resources=VCPU:2,MEMORY_MB:1024. Got: "
    )
    if not text.strip():
        raise Problem(400, badly_formed + "empty string.")
    amounts = {}
    for part in text.split(","):
        name, colon, stated = part.partition(":")
        if not colon or ":" in stated:
            raise Problem(400, f"{badly_formed}{part}.")
        try:
            amount = int(stated)
        except ValueError:
            raise Problem(
                400,
                f"Requested resource {name} expected positive integer amount. Got: {stated}.",
            ) from None
        if amount < 1:
            raise Problem(400, f"Requested resource {name} requires amount >= 1. Got: {amount}.")
        amounts[name] = amount
    return amounts


@dataclass(frozen=True, slots=True)
class TraitsAsked:
    """At least one trait of each set in ``required``, none of ``forbidden``."""

    required: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()


def parse_required(values: Sequence[str], contract: Contract) -> TraitsAsked:
    """The traits asked for by all values of one ``required`` parameter."""
    if not contract.any_traits:
        values = values[-1:]
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values:
        if value.startswith("in:"):
            required.append(_parse_any_traits(value, contract))
        else:
            one = parse_traits(value, may_forbid=contract.forbids_traits)
            required.extend(one.required)
            forbidden |= one.forbidden
    return TraitsAsked(tuple(required), frozenset(forbidden))


def _parse_any_traits(value: str, contract: Contract) -> frozenset[str]:
    form = "HW_CPU_X86_VMX,CUSTOM_MAGIC"
    if not contract.any_traits:
        raise Problem(
            400,
            f"{_INVALID}The format 'in:{form}' only supported since microversion "
            f"{since('any_traits')}. Got: {value}",
        )
    traits = frozenset(trait.strip() for trait in value[3:].split(","))
    if "" in traits:
        raise Problem(
            400,
            f"{_INVALID}Expected 'required' parameter value of the form: in:{form}. "
            f"Got an empty trait in: {value}",
        )
    if any(trait.startswith("!") for trait in traits):
        raise Problem(
            400,
            f"{_INVALID}The format 'in:{form}' does not support forbidden traits. Got: {value}",
        )
    return traits


def parse_traits(value: str, *, may_forbid: bool) -> TraitsAsked:
    """Traits from ``T1,!T2``, where ``!`` forbids (any number of them, as it always was)."""
    words = [word.strip() for word in value.split(",")]
    forbidden = frozenset(word.lstrip("!") for word in words if word.startswith("!"))
    expected = (
        f"{_INVALID}Expected 'required' parameter value of the form: HW_CPU_X86_VMX,"
        f"{'!' if may_forbid else ''}CUSTOM_MAGIC. "
    )
    if "" in words or "" in forbidden:
        raise Problem(400, f"{expected}Got an empty trait in: {value}")
    if forbidden and not may_forbid:
        raise Problem(400, f"{expected}Got: {value}")
    required = tuple(frozenset((word,)) for word in words if not word.startswith("!"))
    return TraitsAsked(required, forbidden)


@dataclass(frozen=True, slots=True)
class AggregatesAsked:
    """In at least one aggregate of each set in ``member_of``, in none of ``forbidden``."""

    member_of: tuple[frozenset[AggregateUuid], ...] = ()
    forbidden: frozenset[AggregateUuid] = frozenset()


def parse_member_of(values: Sequence[str], suffix: str, contract: Contract) -> AggregatesAsked:
    """The aggregates asked for by all values of one ``member_of`` parameter."""
    if len(values) > 1 and not contract.repeats_member_of:
        raise Problem(400, f"Multiple member_of{suffix} parameters are not supported")
    member_of: list[frozenset[AggregateUuid]] = []
    forbidden: set[AggregateUuid] = set()
    for value in values:
        negated, aggregates = _parse_aggregates(value)
        if not negated:
            member_of.append(aggregates)
        elif contract.forbids_aggregates:
            forbidden |= aggregates
        else:
            raise Problem(
                400,
                f"Forbidden member_of{suffix} parameters are not supported in the specified "
                "microversion",
            )
    return AggregatesAsked(tuple(member_of), frozenset(forbidden))


def _parse_aggregates(value: str) -> tuple[bool, frozenset[AggregateUuid]]:
    """Whether the value forbids, and its aggregates: ``A``, ``!A``, ``in:A,B`` or ``!in:A,B``."""
    negated = value.startswith("!")
    bare = value[1:] if negated else value
    if bare.startswith("in:"):
        uuids = bare[3:].split(",")
    elif "," in value:
        raise Problem(
            400,
            "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword "
            f"using the valid microversion. Got: {value}",
        )
    else:
        uuids = [bare]
    for uuid in uuids:
        if not is_uuid_like(uuid):
            raise Problem(
                400,
                f"{_INVALID}Expected 'member_of' parameter to contain valid UUID(s). Got: {uuid}",
            )
    return negated, frozenset(map(AggregateUuid, uuids))


def parse_in_tree(value: str) -> ProviderUuid:
    """A provider whose tree is meant."""
    uuid = value.strip()
    if not is_uuid_like(uuid):
        raise Problem(
            400, f"{_INVALID}Expected 'in_tree' parameter to be a format of uuid. Got: {value}"
        )
    return ProviderUuid(uuid)
