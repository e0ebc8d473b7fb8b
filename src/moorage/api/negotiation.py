"""Content negotiation, and the error documents in the three forms that clients ask for.

Source: RFC 7231 section 5.3.2 for the choice; the documents have the form that Placement's have
(JSON by the API working group's guideline, HTML and plain text as its web framework makes them).
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final

import orjson

from moorage.api.limits import ERROR_TEXT_MAX

JSON: Final = "application/json"
_HTML: Final = "text/html"

# The grammar of an Accept header. One that does not follow it counts as absent for the choice of
# an answer, and as "anything goes" for the choice of an error document.
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_PARAMETER: Final = rf"{_WORD}=(?:{_WORD}|{_QUOTED})"
_QUALITY: Final = r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)"
_RANGE: Final = (
    rf"({_WORD}/{_WORD})"
    rf"((?:[ \t]*;[ \t]*(?![qQ]=){_PARAMETER})*)"
    rf"(?:[ \t]*;[ \t]*[qQ]=({_QUALITY})"
    rf"(?:[ \t]*;[ \t]*{_WORD}(?:=(?:{_WORD}|{_QUOTED}))?)*)?"
)
_ONE_RANGE: Final = re.compile(rf"[ \t]*(?:{_RANGE})?[ \t]*(,|$)")

ACCEPT_CHARS_MAX: Final = 4_096
"""Longer Accept headers are not parsed: they count as one that breaks the grammar."""


class DocumentForm(Enum):
    """The forms of an error document, with their content types."""

    JSON = JSON
    HTML = "text/html; charset=UTF-8"
    PLAIN = "text/plain; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class _MediaRange:
    kind: str
    subtype: str
    has_parameters: bool
    quality: float

    def specificity(self, media_type: str) -> int:
        """How closely the range names the type: 0 not at all, 3 exactly."""
        kind, subtype = media_type.split("/")
        if (self.kind, self.subtype) == (kind, subtype):
            return 0 if self.has_parameters else 3
        if (self.kind, self.subtype) == (kind, "*"):
            return 2
        return 1 if (self.kind, self.subtype) == ("*", "*") else 0


def _parse_accept(accept: str) -> tuple[_MediaRange, ...] | None:
    """The media ranges of an Accept header in their order; None where it breaks the grammar."""
    if len(accept) > ACCEPT_CHARS_MAX:
        return None
    ranges = []
    at = 0
    while at < len(accept):
        match = _ONE_RANGE.match(accept, at)
        if match is None:
            return None
        if match[1]:
            kind, _, subtype = match[1].lower().partition("/")
            quality = float(match[3]) if match[3] else 1.0
            ranges.append(_MediaRange(kind, subtype, bool(match[2]), quality))
        at = match.end()
    return tuple(ranges)


def _quality(ranges: tuple[_MediaRange, ...], media_type: str) -> float:
    """What the most specific range (the first of equals) says about the type; 0: unacceptable."""
    best = max(ranges, key=lambda one: one.specificity(media_type), default=None)
    return best.quality if best and best.specificity(media_type) else 0.0


@lru_cache(maxsize=256)
def accepts_json(accept: str) -> bool:
    """Whether an answer in JSON is what the client asked for, or can live with."""
    ranges = _parse_accept(accept)
    return ranges is None or _quality(ranges, JSON) > 0


@lru_cache(maxsize=256)
def choose_form(accept: str) -> DocumentForm:
    """The form of an error document; HTML wins a tie, plain text takes what nothing else fits."""
    ranges = _parse_accept(accept)
    if ranges is None:
        return DocumentForm.HTML
    as_html, as_json = _quality(ranges, _HTML), _quality(ranges, JSON)
    if not as_html and not as_json:
        return DocumentForm.PLAIN
    return DocumentForm.HTML if as_html >= as_json else DocumentForm.JSON


TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_BREAK: Final = "<br /><br />\n"
# What an error document says before its detail.
_LEADS: Final = {
    400: "The server could not comply with the request since it is either malformed or otherwise "
    "incorrect." + _BREAK,
    401: "This server could not verify that you are authorized to access the document you "
    "requested. Either you supplied the wrong credentials (e.g., bad password), or your browser "
    "does not understand how to supply the credentials required." + _BREAK,
    403: "Access was denied to this resource." + _BREAK,
    404: "The resource could not be found." + _BREAK,
    405: "The method {method} is not allowed for this resource. " + _BREAK,
    406: "The resource could not be generated that was acceptable to your browser\n"
    "(content of type {accept}. " + _BREAK,
    409: "There was a conflict when trying to complete your request." + _BREAK,
    413: "The body of your request was too large for this server." + _BREAK,
    414: "The request URI was too long for this server." + _BREAK,
    415: "The request media type {media_type} is not supported by this server.\n" + _BREAK,
    500: "The server has either erred or is incapable of performing the requested operation."
    + _BREAK,
    503: "The server is currently unavailable. Please try again at a later time." + _BREAK,
}
_ENDS_AT_DETAIL: Final = frozenset({405, 406, 415})

_BREAK_TAG: Final = re.compile(r"<br.*?>", re.IGNORECASE | re.DOTALL)
_COMMENT: Final = re.compile(r"<!--|-->")
_TAG: Final = re.compile(r"<.*?>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error document can say about the error and the request that met it.

    ``code`` is None where the microversion has no error codes, or none was negotiated;
    ``versions`` are the oldest and newest microversion, where the client asked for another.
    ``facts``: further members of the error in JSON.
    """

    status: int
    detail: str
    code: str | None
    request_id: str
    method: str
    accept: str
    media_type: str
    versions: tuple[str, str] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


def strip_markup(text: str) -> str:
    """The text on one line without markup; a break becomes a new line."""
    text = text.replace("\n", " ").replace("\r", "")
    return _TAG.sub("", _COMMENT.sub("", _BREAK_TAG.sub("\n", text)))


def presentable(text: str) -> str:
    """At most ERROR_TEXT_MAX characters of the text, all of which UTF-8 can hold."""
    if len(text) > ERROR_TEXT_MAX:
        text = text[: ERROR_TEXT_MAX - 3] + "..."
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _markup(facts: ErrorFacts, *, escaped: bool) -> str:
    """Lead and detail of the document with their markup."""
    values = {
        "method": facts.method,
        "accept": facts.accept,
        "media_type": facts.media_type,
        "detail": facts.detail,
    }
    values = {name: presentable(value) for name, value in values.items()}
    if escaped:
        values = {name: html.escape(value) for name, value in values.items()}
    lead = _LEADS[facts.status].format(**values)
    return lead + values["detail"] + ("" if facts.status in _ENDS_AT_DETAIL else "\n\n")


def render_error(facts: ErrorFacts) -> tuple[bytes, str]:
    """The error document in the form that the client accepts, and its content type."""
    form = choose_form(facts.accept)
    status = f"{facts.status} {TITLES[facts.status]}"
    if form is DocumentForm.HTML:
        text = (
            f"<html>\n <head>\n  <title>{status}</title>\n </head>\n <body>\n"
            f"  <h1>{status}</h1>\n  {_markup(facts, escaped=True)}\n </body>\n</html>"
        )
    elif form is DocumentForm.PLAIN:
        text = f"{status}\n\n{strip_markup(_markup(facts, escaped=False))}"
    else:
        return orjson.dumps(_json_document(facts)), form.value
    return text.encode(), form.value


def _json_document(facts: ErrorFacts) -> dict[str, object]:
    if facts.status == 401:
        # Who fails to identify itself meets the identity stage's own form, as in Placement.
        return {
            "message": _markup(facts, escaped=False),
            "code": f"{facts.status} {TITLES[facts.status]}",
            "title": TITLES[facts.status],
        }
    error: dict[str, object] = {
        "status": facts.status,
        "title": TITLES[facts.status],
        "detail": strip_markup(_markup(facts, escaped=False)),
    }
    if facts.code is not None:
        error["code"] = facts.code
    error["request_id"] = facts.request_id
    if facts.versions is not None:
        error["min_version"], error["max_version"] = facts.versions
    return {"errors": [{**error, **facts.facts}]}
