"""Request bodies: a typed decoder that is fast, and a JSON Schema that has the last word.

What the decoder takes, the schema would take too (a test holds them together), so a good request
never meets the schema. What the decoder refuses, the schema either explains, or allows after all:
JSON Schema calls 1.0 an integer, for one.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Generic, NoReturn, TypeVar

import msgspec

from moorage.api.errors import Problem
from moorage.api.judge import BODY_FORMATS, Judge, Schema
from moorage.api.limits import BODY_DEPTH_MAX, EXPLAINED_BODY_BYTES_MAX
from moorage.decoding import make_decoder

Body = TypeVar("Body")

_ESCAPED_NUL: Final = b"\\u0000"


def _is_whole(_: object) -> bool:
    return True


class BodyParser(Generic[Body]):
    """Parses bodies of one kind.

    Args:
        kind: what a body becomes.
        schema: what a body must be.
        is_sound: what the decoder cannot say (formats, uniqueness); a body of which it is False
            goes to the schema.
    """

    def __init__(
        self, kind: type[Body], schema: Schema, is_sound: Callable[[Body], bool] = _is_whole
    ) -> None:
        self.schema = schema
        self._kind = kind
        self._decoder = make_decoder(kind)
        self._is_sound = is_sound
        self._judge = Judge(schema, BODY_FORMATS)

    def parse(self, body: bytes) -> Body:
        """The body as its kind.

        Raises:
            Problem: it is not JSON, or not what the schema wants.
        """
        # An escaped NUL is legal JSON, but no database takes it; the slow path tells it apart
        # from an escaped backslash.
        if _ESCAPED_NUL not in body:
            try:
                document = self._decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if self._is_sound(document):
                    return document
        return self._parse_slowly(body)

    def accepts_at_once(self, body: bytes) -> bool:
        """Whether the decoder takes the body without asking the schema."""
        try:
            return self._is_sound(self._decoder.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def _parse_slowly(self, body: bytes) -> Body:
        document = load_json(body)
        small = len(body) <= EXPLAINED_BODY_BYTES_MAX
        reason = (self._judge.explain if small else self._judge.explain_first)(document)
        if reason is not None:
            raise Problem(400, f"JSON does not validate: {reason}")
        try:
            return msgspec.convert(_with_whole_numbers(document), self._kind)
        except msgspec.ValidationError as error:
            # The schema leaves a few corners open that nothing could be made of.
            raise Problem(400, f"JSON does not validate: {error}") from None


def load_json(body: bytes) -> Any:
    """The document that the body holds.

    Raises:
        Problem: it is not JSON as RFC 8259 has it, is nested too deeply, or has text or numbers
            that cannot be stored.
    """
    try:
        document = json.loads(
            body.decode(), parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except RecursionError:
        _refuse_depth()
    except ValueError as error:
        raise Problem(400, f"Malformed JSON: {error}") from None
    _check_storable(document, depth=0)
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is out of range")
    return number


def _refuse_depth() -> NoReturn:
    raise Problem(400, f"Malformed JSON: nested deeper than {BODY_DEPTH_MAX} levels")


def _check_storable(document: Any, *, depth: int) -> None:
    if depth > BODY_DEPTH_MAX:
        _refuse_depth()
    match document:
        case str():
            if "\0" in document:
                raise Problem(400, "Malformed JSON: NUL characters are not allowed")
            if not document.isascii() and any("\ud800" <= mark <= "\udfff" for mark in document):
                raise Problem(400, "Malformed JSON: half of a surrogate pair")
        case dict():
            for name, value in document.items():
                _check_storable(name, depth=depth + 1)
                _check_storable(value, depth=depth + 1)
        case list():
            for value in document:
                _check_storable(value, depth=depth + 1)


def _with_whole_numbers(document: Any) -> Any:
    """The document with 1.0 as 1, which JSON Schema takes for the same number."""
    match document:
        case float() if document.is_integer():
            return int(document)
        case dict():
            return {name: _with_whole_numbers(value) for name, value in document.items()}
        case list():
            return [_with_whole_numbers(value) for value in document]
        case _:
            return document
