"""Every way in which Moorage answers differently from upstream on purpose, but for which candidates
are found: corrections.py has those.

docs/reference/differences.md carries the same list. A difference that no entry here explains fails
the differential test.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.differential.steps import Request
from tests.support.client import Answer

CLASS_NAME = re.compile(r"[A-Z0-9_]+")


@dataclass
class Memory:
    """What has happened so far that explains later answers.

    ``orphans``: consumers that upstream has left behind without allocations.
    """

    orphans: set[str] = field(default_factory=set)

    def note(self, request: Request, theirs: Answer) -> None:
        """Remember the consumers that upstream may have left behind with this answer."""
        for consumer, claim in _list_claims(request):
            holds_something = bool(isinstance(claim, dict) and claim.get("allocations"))
            if theirs.status < 400 and holds_something:
                self.orphans.discard(consumer)
            else:
                self.orphans.add(consumer)

    def names_orphan(self, request: Request) -> bool:
        text = request.target + request.body.decode("utf-8", errors="replace")
        return any(orphan in text for orphan in self.orphans)


@dataclass(frozen=True)
class Difference:
    """One deliberate difference.

    ``explains`` is asked only where the answers differ. ``part``: the start of the lines (see
    compare.py) that it can explain; the empty text stands for all. ``reason`` is the line for
    operators.
    """

    name: str
    reason: str
    explains: Callable[[Request, Answer, Answer, Memory], bool]
    part: str = ""


def explain(
    line: str, request: Request, ours: Answer, theirs: Answer, memory: Memory
) -> Difference | None:
    """The entry that explains a line of difference between two answers, if any does."""
    for difference in KNOWN_DIFFERENCES:
        if line.startswith(difference.part) and difference.explains(request, ours, theirs, memory):
            return difference
    return None


def _list_claims(request: Request) -> Iterator[tuple[str, Any]]:
    """The consumers that a request writes, each with what it is to hold."""
    body = request.json
    if request.method == "PUT" and request.path.startswith("/allocations/"):
        yield request.path.rpartition("/")[2], body
    elif request.method == "POST" and request.path in ("/allocations", "/reshaper"):
        if request.path == "/reshaper" and isinstance(body, dict):
            body = body.get("allocations")
        if isinstance(body, dict):
            yield from body.items()


def _upstream_errs(ours: Answer, theirs: Answer) -> bool:
    return theirs.status >= 500 and ours.status < 500


def _is_candidates(request: Request) -> bool:
    return request.method == "GET" and request.path == "/allocation_candidates"


def _huge_amount(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        _upstream_errs(ours, theirs)
        and request.method == "GET"
        and re.search(r":\+?\d{10,}", request.query) is not None
        and "too large" in theirs.text
    )


def _sharing_below_root(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        _upstream_errs(ours, theirs)
        and ours.status == 200
        and _is_candidates(request)
        # All that upstream says is the key it did not find: the row id of a provider.
        and re.search(r"operation\.\s+\d+\s*$", theirs.detail) is not None
    )


def _not_a_number(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return _upstream_errs(ours, theirs) and any(
        word in request.body for word in (b"NaN", b"Infinity", b"e400", b"e999")
    )


def _odd_inventory(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        theirs.status >= 500
        and ours.status == 400
        and request.method in ("PUT", "POST")
        and ("/inventories" in request.path or request.path == "/reshaper")
    )


def _odd_class_name(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        ours.status == 400
        and "JSON does not validate" in ours.text
        and 400 <= theirs.status < 500
        and any(CLASS_NAME.fullmatch(name) is None for name in _list_inventory_names(request.json))
    )


def _list_inventory_names(part: Any) -> Iterator[str]:
    """The class names of all inventories of a body, whatever it is."""
    if not isinstance(part, dict):
        return
    for key, inner in part.items():
        if key == "inventories" and isinstance(inner, dict):
            yield from inner
        yield from _list_inventory_names(inner)


def _moved_provider(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        request.method == "PUT"
        and re.fullmatch(r"/resource_providers/[^/]+", request.path) is not None
        and ours.status == theirs.status == 200
        and "last-modified" not in theirs.headers
    )


def _head(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return request.method == "HEAD" and theirs.status >= 400


def _generation_race(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        theirs.status >= 500
        and ours.status == 409
        and request.method in ("PUT", "DELETE")
        and request.path.endswith("/traits")
    )


def _orphan_consumer(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return memory.names_orphan(request) and (
        "consumer generation conflict" in theirs.text or "consumer generation conflict" in ours.text
    )


def _sql_in_conflict(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        request.method == "POST"
        and request.path.endswith("/inventories")
        and ours.status == theirs.status == 409
        and "[SQL:" in theirs.text
        and "[SQL:" not in ours.text
    )


def _two_errors(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return (
        request.method == "GET"
        and ours.status == theirs.status == 400
        and ours.code == theirs.code
        and "Invalid query string parameters" in ours.text
    )


def _vary_missing(request: Request, ours: Answer, theirs: Answer, memory: Memory) -> bool:
    return theirs.status >= 400 and "vary" not in theirs.headers


KNOWN_DIFFERENCES: Sequence[Difference] = (
    Difference(
        "vary-on-every-answer",
        "Upstream leaves Vary out of some error answers (a 404 for an unknown provider, a 403); "
        "here every answer that depends on the microversion says so, for the sake of caches.",
        _vary_missing,
        part="header vary",
    ),
    Difference(
        "huge-amount",
        "An amount of more than the database's integers in resources= is a 500 upstream; here "
        "nothing can serve it, or it is a 400.",
        _huge_amount,
    ),
    Difference(
        "sharing-below-root",
        "Candidates with a sharing provider that is not a root are a 500 upstream; here they are "
        "found.",
        _sharing_below_root,
    ),
    Difference(
        "not-a-number",
        "NaN or Infinity as an allocation ratio is a 500 upstream, and a 400 here.",
        _not_a_number,
    ),
    Difference(
        "odd-inventory",
        "An inventory that is no object under a lower-case class name, or a number beyond the "
        "database's, is a 500 upstream, and a 400 here.",
        _odd_inventory,
    ),
    Difference(
        "odd-class-name",
        "An inventory under a class name that is no name is not looked at upstream, only its name "
        "is; here the inventory is validated too, so that the 400 may speak of it instead.",
        _odd_class_name,
    ),
    Difference(
        "first-of-two-errors",
        "A query with several errors is told about one of them, and not always about the same one "
        "as upstream: here the form of every parameter is looked at before any is read.",
        _two_errors,
        part="body",
    ),
    Difference(
        "last-modified-of-moved-provider",
        "The first PUT that takes a provider's parent away is answered without Last-Modified "
        "upstream; here it says when it was modified, as every other PUT does.",
        _moved_provider,
        part="header last-modified",
    ),
    Difference(
        "head-content-type",
        "A refused HEAD says text/html upstream, whatever it accepts; here it says what a GET "
        "would.",
        _head,
        part="header content-type",
    ),
    Difference(
        "generation-race",
        "A provider's generation that changes while its traits are written can be a 500 upstream; "
        "here it is a 409.",
        _generation_race,
    ),
    Difference(
        "orphan-consumer",
        "A PUT that is refused, or that is empty, for a new consumer leaves the consumer behind "
        "upstream, so that the next consumer_generation: null gets 409; here nothing is left.",
        _orphan_consumer,
    ),
    Difference(
        "sql-in-conflict",
        "The 409 of POST inventories for a class that is there already carries SQL text and "
        "parameters upstream; here it says what is the matter.",
        _sql_in_conflict,
    ),
)
