"""The vocabulary of bodies and queries: names, uuids and amounts, for decoders and schemas alike.

The patterns are unanchored at a trailing newline (``$``), as JSON Schema's are: a decoder must not
take what the schema refuses, and the schema's text is part of the API.
"""

from typing import Annotated, Any, Final

from msgspec import Meta

from moorage.domain.ids import AMOUNT_MAX

UUID_PATTERN: Final = "^[0-9a-fA-F-]{36}$"
NAME_PATTERN: Final = "^[A-Z0-9_]+$"
CUSTOM_NAME_PATTERN: Final = "^CUSTOM_[A-Z0-9_]+$"
RATIO_MAX: Final = 3.40282e38
"""Largest allocation ratio: that of a single precision column."""

UuidKey = Annotated[str, Meta(pattern=UUID_PATTERN)]
ClassName = Annotated[str, Meta(pattern=NAME_PATTERN)]
CustomName = Annotated[str, Meta(pattern=CUSTOM_NAME_PATTERN, max_length=255)]
OwnerId = Annotated[str, Meta(min_length=1, max_length=255)]
ConsumerType = Annotated[str, Meta(pattern=NAME_PATTERN, min_length=1, max_length=255)]
TraitName = Annotated[str, Meta(min_length=1, max_length=255)]
Amount = Annotated[int, Meta(ge=1)]
Positive = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
NotNegative = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Ratio = Annotated[float, Meta(le=RATIO_MAX)]

UUID: Final = {"type": "string", "format": "uuid"}
STRING: Final = {"type": "string"}
INTEGER: Final = {"type": "integer"}
OWNER_ID: Final = {"type": "string", "minLength": 1, "maxLength": 255}
CUSTOM_NAME: Final = {"type": "string", "pattern": CUSTOM_NAME_PATTERN, "maxLength": 255}
CONSUMER_TYPE: Final = {
    "type": "string",
    "pattern": NAME_PATTERN,
    "minLength": 1,
    "maxLength": 255,
}
AMOUNTS: Final = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {NAME_PATTERN: {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}


def an_object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    schema["additionalProperties"] = False
    return schema


def a_mapping(pattern: str, value: dict[str, Any], *, at_least: int = 0) -> dict[str, Any]:
    """The schema of an object whose names all match the pattern."""
    return {
        "type": "object",
        "minProperties": at_least,
        "patternProperties": {pattern: value},
        "additionalProperties": False,
    }
