"""JSON Schemas as judges: whether a document follows one, and the words that say why not."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

Schema = Mapping[str, Any]


def is_uuid_like(text: object) -> bool:
    """Whether the text is a UUID in any spelling: with or without dashes, braces, ``urn:uuid:``."""
    if not isinstance(text, str):
        return False
    bare = text.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    try:
        return uuid.UUID(text).hex == bare
    except ValueError:
        return False


def canonical_uuid(text: str) -> str:
    """The UUID in its canonical spelling, from any that ``is_uuid_like`` takes."""
    return str(uuid.UUID(text))


_CANONICAL_UUID: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
)


def is_canonical_uuid(text: str) -> bool:
    """Whether the text is a UUID with its four dashes; cheaper than ``is_uuid_like``."""
    return _CANONICAL_UUID.fullmatch(text) is not None


BODY_FORMATS: Final = jsonschema.FormatChecker(formats=())
BODY_FORMATS.checks("uuid")(is_uuid_like)

# In queries a UUID is asked for in its canonical spelling: jsonschema's own idea of the format.
QUERY_FORMATS: Final = jsonschema.FormatChecker(formats=("uuid",))


class Judge:
    """Has the last word on documents of one kind."""

    def __init__(self, schema: Schema, formats: jsonschema.FormatChecker) -> None:
        self.schema = schema
        self._validator = jsonschema.Draft202012Validator(schema, format_checker=formats)

    def explain(self, document: object) -> str | None:
        """Why the document does not follow the schema, in jsonschema's words; None if it does."""
        error: ValidationError | None = best_match(self._validator.iter_errors(document))
        return None if error is None else str(error)

    def explain_first(self, document: object) -> str | None:
        """Like ``explain``, in bounded time: the first error met, without its surroundings."""
        for error in self._validator.iter_errors(document):
            message: str = error.message
            return message
        return None
