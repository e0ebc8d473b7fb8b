"""What two answers to one request must have in common.

Not compared: the order of lists (the API promises none; what clients lean on is in the contract
suite), timestamps, request ids, ids that the service makes up, and the length of a body.
"""

import json
import re
from typing import Any

from tests.support.client import Answer

HEADERS = (
    "content-type",
    "openstack-api-version",
    "vary",
    "cache-control",
    "location",
    "allow",
    "www-authenticate",
    "retry-after",
)
HEADERS_PRESENT = ("last-modified", "x-openstack-request-id")
REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
# After these a validator or Python itself goes on, in words that nobody matches on.
FIRST_LINE_ONLY = (
    "Malformed JSON",
    "JSON does not validate",
    "Invalid query string parameters",
    "Invalid microversion: invalid version string",
)
# These name several things in the order of a set.
UNORDERED = ("No such trait", "Inventory for '", "Unable to delete inventory", "bad group(s)")


def list_differences(ours: Answer, theirs: Answer) -> list[str]:
    """Every difference that a client could notice, a line each."""
    found: list[str] = []
    if ours.status != theirs.status:
        found.append(f"status: ours {ours.status}, theirs {theirs.status}")
    for name in HEADERS:
        our_text, their_text = ours.headers.get(name), theirs.headers.get(name)
        if name == "allow":
            our_text, their_text = _sort_words(our_text), _sort_words(their_text)
        if our_text != their_text:
            found.append(f"header {name}: ours {our_text!r}, theirs {their_text!r}")
    for name in HEADERS_PRESENT:
        if (name in ours.headers) != (name in theirs.headers):
            who = "ours" if name in ours.headers else "theirs"
            found.append(f"header {name}: only {who} has it")
    our_body, their_body = simplify(ours), simplify(theirs)
    if our_body != their_body:
        found.append(f"body:\n  ours   {_show(our_body)}\n  theirs {_show(their_body)}")
    return found


def simplify(answer: Answer) -> Any:
    """The body without what may differ: lists sorted, request ids masked, details shortened."""
    text = REQUEST_ID.sub("req-…", answer.text)
    try:
        body = json.loads(text)
    except ValueError:
        return shorten(text)
    if isinstance(body, dict) and isinstance(body.get("errors"), list):
        for error in body["errors"]:
            if isinstance(error, dict) and "detail" in error:
                error["detail"] = shorten(str(error["detail"]))
    return sort_lists(body)


def shorten(detail: str) -> str:
    """A detail, up to its first line where a validator wrote it."""
    for start in FIRST_LINE_ONLY:
        place = detail.find(start)
        if place >= 0:
            return detail[: place + len(start)]
    if any(start in detail for start in UNORDERED):
        return " ".join(sorted(re.split(r"[][\s,']+", detail)))
    return " ".join(detail.split())


def take_each_once(theirs: Answer) -> Answer:
    """The same answer with no candidate twice."""
    body = theirs.json
    if theirs.status == 200:
        found = {json.dumps(sort_lists(one)): one for one in body["allocation_requests"]}
        body["allocation_requests"] = list(found.values())
    return Answer(theirs.status, theirs.headers, json.dumps(body).encode())


def sort_lists(part: Any) -> Any:
    """The same with every list in one order, and every number as a float.

    A ratio that was given without a point is echoed without one upstream, and with one here.
    """
    if isinstance(part, int) and not isinstance(part, bool):
        return float(part)
    if isinstance(part, dict):
        return {key: sort_lists(inner) for key, inner in part.items()}
    if isinstance(part, list):
        return sorted(map(sort_lists, part), key=lambda inner: json.dumps(inner, sort_keys=True))
    return part


def _sort_words(text: str | None) -> list[str] | None:
    return None if text is None else sorted(word.strip() for word in text.split(","))


def _show(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body, sort_keys=True)
