"""Transactions, and the only retry loop of the service.

A write is a function of one transaction. It may be run several times: whenever another
transaction won (deadlock, serialization failure, a row that someone inserted first, a view that
went stale), everything it did is rolled back and it starts anew from fresh data. Refusals pass
through untried again.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable
from sqlalchemy import exc as sqlalchemy_errors

from moorage.domain.refusals import StoreUnavailable
from moorage.store.dialects import Dialect, Trouble
from moorage.store.memory import Memory
from moorage.telemetry import metrics

T = TypeVar("T")

CONFLICT_ATTEMPTS_MAX: Final = 200
"""How often one write starts anew because others won; the time budget usually ends it first."""

LOST_ATTEMPTS_MAX: Final = 4
"""How often one request tries a database that does not answer."""

BACKOFF_S_MIN: Final = 0.001
BACKOFF_S_MAX: Final = 0.1
RETRY_AFTER_S: Final = 2
"""What a client is told to wait when the database cannot be used."""


class StaleView(Exception):
    """A guarded statement found that the data it was decided on has changed."""


@dataclass(slots=True)
class Transaction:
    """One open transaction; it is committed when its work returns, else rolled back."""

    connection: Connection
    dialect: Dialect
    memory: Memory
    first_try: bool = True
    """False once the work starts anew: whoever inserted the same rows first can be seen now."""
    learned: list[Callable[[], None]] = field(default_factory=list)
    """What process-wide memories may remember once this transaction has committed."""

    def execute(self, what: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement."""
        return self.connection.execute(what, parameters)

    def write_exactly(self, what: Executable, parameters: Any, *, rows: int) -> None:
        """Run a guarded statement.

        Raises:
            StaleView: it touched another number of rows than was decided.
        """
        if self.connection.execute(what, parameters).rowcount != rows:
            raise StaleView

    def insert_many(self, what: Executable, rows: list[dict[str, Any]]) -> None:
        """Insert all rows with one call of the driver; nothing for none."""
        if rows:
            # One row goes without the pipeline that a driver opens for many.
            self.connection.execute(what, rows if len(rows) > 1 else rows[0])


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one write may go on trying, in seconds."""

    budget_s: float = 30.0


DEFAULT_PATIENCE: Final = Patience()


def run_transaction(
    engine: Engine,
    dialect: Dialect,
    memory: Memory,
    attempt: Callable[[Transaction], T],
    patience: Patience,
) -> T:
    """Run ``attempt`` in a transaction and commit it, from the beginning as often as it takes.

    Raises:
        Refusal: what the attempt raised; everything was rolled back.
        StoreUnavailable: the database does not answer, is full, or the budget is spent; or the
            connection broke during COMMIT, when only a new look can tell whether it took.
    """
    deadline = time.monotonic() + patience.budget_s
    conflicts = 0
    losses = 0
    while True:
        try:
            first_try = conflicts + losses == 0
            return _run_once(engine, dialect, memory, attempt, first_try=first_try)
        except StaleView:
            trouble = Trouble.CONFLICT
        except sqlalchemy_errors.TimeoutError as error:
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        except sqlalchemy_errors.DBAPIError as error:
            trouble = dialect.trouble(error)
            if trouble is Trouble.FAULT:
                raise
            if trouble is Trouble.FULL:
                metrics.store_trouble(trouble.name)
                raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        metrics.store_trouble(trouble.name)
        if trouble is Trouble.CONFLICT:
            conflicts += 1
        else:
            losses += 1
        spent = conflicts >= CONFLICT_ATTEMPTS_MAX or losses >= LOST_ATTEMPTS_MAX
        if spent or time.monotonic() >= deadline:
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S)
        time.sleep(_backoff_s(conflicts + losses))


def _run_once(
    engine: Engine,
    dialect: Dialect,
    memory: Memory,
    attempt: Callable[[Transaction], T],
    *,
    first_try: bool,
) -> T:
    with engine.connect() as connection:
        transaction = Transaction(connection, dialect, memory, first_try)
        with connection.begin() as open_transaction:
            outcome = attempt(transaction)
            _commit(open_transaction, dialect)
        for remember in transaction.learned:
            remember()
        return outcome


def _commit(open_transaction: Any, dialect: Dialect) -> None:
    try:
        open_transaction.commit()
    except sqlalchemy_errors.DBAPIError as error:
        if dialect.trouble(error) is Trouble.LOST:
            # Whether it took is unknown: a second run could do the work twice.
            metrics.store_trouble("LOST_AT_COMMIT")
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        raise


def _backoff_s(attempts: int) -> float:
    ceiling: float = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(attempts, 10))
    return random.uniform(BACKOFF_S_MIN, max(ceiling, BACKOFF_S_MIN))  # noqa: S311 - mere jitter


def run_read(engine: Engine, dialect: Dialect, read: Callable[[Connection], T]) -> T:
    """Run one SELECT, again on a fresh connection where the first was found broken.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    losses = 0
    while True:
        try:
            with engine.connect() as connection:
                return read(connection)
        except sqlalchemy_errors.TimeoutError as error:
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        except sqlalchemy_errors.DBAPIError as error:
            trouble = dialect.trouble(error)
            if trouble is Trouble.FAULT:
                raise
            metrics.store_trouble(trouble.name)
            losses += 1
            if losses >= LOST_ATTEMPTS_MAX:
                raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        time.sleep(_backoff_s(losses))
