"""Claims of concurrent requests, written together.

The first request to arrive leads: it takes what has gathered behind it, decides all of it in one
transaction and answers for everyone. A batch of one costs what a single claim costs.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from moorage.domain.claim import Absentee, ConsumerClaim, decide_claims
from moorage.domain.origin import Origin
from moorage.domain.refusals import Refusal
from moorage.operations.books import load_books, write_books
from moorage.store.store import Store
from moorage.store.transaction import Transaction

BATCH_REQUESTS_MAX: Final = 64
"""Requests that share one transaction at most."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The claims of one request, which all hold or none."""

    claims: tuple[ConsumerClaim, ...]
    origin: Origin


@dataclass(slots=True)
class _Ticket:
    request: ClaimRequest
    answered: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class ClaimQueue:
    """The claims of one process on their way to the store."""

    store: Store
    absentee: Absentee
    _waiting: deque[_Ticket] = field(default_factory=deque)
    _lead: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, request: ClaimRequest) -> None:
        """Have a request decided and written; returns when it is committed.

        Raises:
            Refusal: the request was refused.
            StoreUnavailable: it was not written.
        """
        ticket = _Ticket(request)
        self._waiting.append(ticket)
        with self._lead:
            # Whoever led before may have taken this ticket along.
            while not ticket.answered:
                self._serve(self._take())
        if ticket.error is not None:
            raise ticket.error

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        while self._waiting and len(batch) < BATCH_REQUESTS_MAX:
            batch.append(self._waiting.popleft())
        return batch

    def _serve(self, batch: list[_Ticket]) -> None:
        try:
            errors = write_claims(self.store, [ticket.request for ticket in batch], self.absentee)
        except BaseException as error:  # noqa: BLE001 - every waiting request must be answered
            if len(batch) > 1 and isinstance(error, Exception):
                # One request's fault must not become its neighbours': each has its own try.
                for ticket in batch:
                    self._serve([ticket])
                return
            errors = [error] * len(batch)
        for ticket, outcome in zip(batch, errors, strict=True):
            ticket.error = outcome
            ticket.answered = True


def write_claims(
    store: Store, requests: list[ClaimRequest], absentee: Absentee
) -> list[BaseException | None]:
    """Decide and write several requests in one transaction; a refusal concerns only its own."""

    def attempt(tx: Transaction) -> list[BaseException | None]:
        books = load_books(tx, [claim for request in requests for claim in request.claims])
        outcomes: list[BaseException | None] = []
        for request in requests:
            try:
                changes = decide_claims(books.ledger, request.claims, absentee)
            except Refusal as refusal:
                outcomes.append(refusal)
                continue
            books.enter(changes, kind="allocation.set", origin=request.origin)
            outcomes.append(None)
        if books.entries:
            write_books(tx, books, at=requests[0].origin.at)
        return outcomes

    return store.run(attempt)
