"""What a handler is given, and what it gives back."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
from msgspec import Struct

from moorage.api.identity import Caller
from moorage.api.limits import Limits
from moorage.api.microversions.contract import Contract
from moorage.api.query import Query, parse_query
from moorage.candidates.evidence import Evidence
from moorage.coherence.project_sums import SumsEvidence
from moorage.domain.origin import Origin
from moorage.operations.services import Services

Headers = tuple[tuple[str, str], ...]

_NO_CACHE: Final = ("cache-control", "no-cache")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


class Call(Struct, frozen=True):
    """One request that has found its route.

    Args:
        path: the path's parameters by name.
        query_text: the query as it came.
        mount: where the service is mounted (``/placement``); empty at the root of the host.
        host: scheme and host of the request (``http://controller:8778``).
    """

    contract: Contract
    path: Mapping[str, str]
    query_text: str
    body: bytes
    caller: Caller
    origin: Origin
    services: Services
    limits: Limits
    mount: str
    host: str

    def query(self) -> Query:
        """The parameters of the query.

        Raises:
            Problem: they cannot be read.
        """
        return parse_query(self.query_text)

    def location(self, path: str) -> tuple[str, str]:
        """The header that says where something new is."""
        return ("location", f"{self.host}{self.mount}{path}")

    def modified(self, at: datetime | None) -> Headers:
        """The headers about the answer's age, where the contract has them.

        Args:
            at: naive UTC; None where nothing is known about it, which leaves that header out.
        """
        return modified_headers(self.contract, at)

    def lasting(
        self,
        body: bytes | Iterator[bytes],
        evidence: Evidence | SumsEvidence | None,
        modified_at: datetime | None,
    ) -> "Reply":
        """A reply that may be given again while its evidence holds.

        Args:
            evidence: None: it may not be given again.
            modified_at: as for ``modified``; None: the answer is as old as its request.
        """
        headers = self.modified(modified_at or self.origin.at)
        return Reply(200, body, headers, evidence, modified_at is None)

    def modified_now(self) -> Headers:
        """The same for answers that are as old as their request."""
        return self.modified(self.origin.at)


class Reply(Struct, frozen=True, gc=False):
    """A successful answer.

    Args:
        body: JSON, whole or in pieces; None where there is none.
        evidence: while it holds, the same answer may be given again to the same question.
        is_of_now: the headers about the answer's age tell when it was given.
    """

    status: int
    body: bytes | Iterator[bytes] | None = None
    headers: Headers = ()
    evidence: Evidence | SumsEvidence | None = None
    is_of_now: bool = False


NO_CONTENT: Final = Reply(204)


def reply_json(document: Any, headers: Headers = (), *, status: int = 200) -> Reply:
    """A reply with the document as its body."""
    return Reply(status, orjson.dumps(document), headers)


def modified_headers(contract: Contract, at: datetime | None) -> Headers:
    """The headers about an answer's age; see ``Call.modified``."""
    if not contract.shows_modified:
        return ()
    if at is None:
        return (_NO_CACHE,)
    return (("last-modified", http_date(at.replace(microsecond=0))), _NO_CACHE)


@lru_cache(maxsize=4096)
def http_date(moment: datetime) -> str:
    """``Tue, 15 Nov 1994 08:12:31 GMT``, from naive UTC without microseconds."""
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04d} {moment:%H:%M:%S} GMT"
    )
