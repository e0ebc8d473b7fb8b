"""Transactions, and the only retry loop of the service.

A write is a function of one transaction. It may be run several times: whenever another
transaction won (deadlock, serialization failure, a row that someone inserted first, a view that
went stale), everything it did is rolled back and it starts anew from fresh data. Refusals pass
through untried again.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Engine, PoolProxiedConnection
from sqlalchemy import exc as sqlalchemy_errors

from moorage.domain.refusals import StoreUnavailable, TextNotStorable
from moorage.store.dialects import (
    Command,
    Dialect,
    Order,
    Rows,
    Session,
    StaleView,
    Trouble,
    trouble_of,
)
from moorage.store.memory import Memory
from moorage.store.sql import Insert, RowsUpdate, Write
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

TRUSTED_S: Final = 5.0
"""How long after its last use a connection is believed to work whose server has not ended it."""

_SESSION: Final = "moorage_session"
"""Where a connection of the pool has its session."""

_USED_S: Final = "moorage_used_s"
"""Where it has when it was last used, in seconds of a monotonic clock."""


class _DriverTrouble(Exception):
    """An error of the driver, and what it means."""

    def __init__(self, trouble: Trouble, error: Exception) -> None:
        self.trouble = trouble
        self.error = error


class Loading(Protocol):
    """A statement that gives rows, in the words of a dialect."""

    def command(self, dialect: Dialect) -> Command: ...


@dataclass(slots=True)
class Transaction:
    """One open transaction; it is committed when its work returns, else rolled back.

    Writes wait until something is loaded or the work is done, and go to the database together,
    in their order. The transaction begins with the first statement that is sent.
    """

    dialect: Dialect
    memory: Memory
    session: Session
    first_try: bool = True
    """False once the work starts anew: whoever inserted the same rows first can be seen now."""
    learned: list[Callable[[], None]] = field(default_factory=list)
    """What process-wide memories may remember once this transaction has committed."""
    begun: bool = False
    waiting: list[Order] = field(default_factory=list)
    journaled: int = 0
    """Rows of the journal that it writes."""

    def load(self, what: Loading, parameters: Any = None) -> Rows:
        """The rows of one SELECT, or of a write that returns some."""
        self.waiting.append(Order(what.command(self.dialect), parameters))
        return self.send()[-1]

    def load_each(self, *whats: tuple[Loading, Any]) -> list[Rows]:
        """The rows of several SELECTs that do not wait for each other, each as of its own moment.

        They are run in their order: what one of them locks, the next sees as it stays.
        """
        for what, parameters in whats:
            self.waiting.append(Order(what.command(self.dialect), parameters))
        return self.send()[-len(whats) :]

    def write(self, what: Write, parameters: Any = None, *, rows: int | None = None) -> None:
        """Have a change written; with ``rows``, the view is stale if it touches another number."""
        self.waiting.append(Order(what.command(self.dialect), parameters or {}, rows))

    def insert(self, what: Insert, rows: Sequence[dict[str, Any]]) -> None:
        """Have all rows inserted with one statement; nothing for none."""
        if rows:
            self.waiting.append(Order(what.command(self.dialect), rows))

    def update(self, what: RowsUpdate, rows: Sequence[Sequence[float]], **parameters: Any) -> None:
        """Have rows updated, in their order as far as the database keeps to one.

        The view is stale if one of them is not as it was decided on.
        """
        if rows:
            values = {"rows": what.parameter(self.dialect, rows), **parameters}
            self.waiting.append(Order(what.command(self.dialect), values, len(rows)))

    def send(self, *, commit: bool = False) -> list[Rows]:
        """Send what waits.

        Raises:
            StaleView: a guarded statement touched another number of rows than was decided.
        """
        if not (self.waiting or (commit and self.begun)):
            return []
        if commit and self.journaled and self.dialect.count_journal is not None:
            # Nothing that others hold is waited for after it, so that no deadlock can come of it.
            order = Order(self.dialect.count_journal, {"rows": self.journaled})
            self.waiting.append(order)
        orders, self.waiting = self.waiting, []
        begin = not self.begun
        self.begun = True
        return self.session.run(orders, begin=begin, commit=commit)


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
        Refusal: what the attempt raised, or TextNotStorable; everything was rolled back.
        StoreUnavailable: the database does not answer, is full, or the budget is spent; or the
            connection broke during COMMIT, when only a new look can tell whether it took.
    """
    deadline = time.monotonic() + patience.budget_s
    conflicts = 0
    losses = 0
    met: Exception
    while True:
        try:
            first_try = conflicts + losses == 0
            return _run_once(engine, dialect, memory, attempt, first_try=first_try)
        except StaleView as error:
            trouble, met = Trouble.CONFLICT, error
        except sqlalchemy_errors.TimeoutError as error:
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        except _DriverTrouble as error:
            trouble, met = error.trouble, error
            if trouble is Trouble.FAULT:
                raise error.error from None
            if trouble is Trouble.UNFIT:
                raise TextNotStorable from error
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
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from met
        time.sleep(_backoff_s(conflicts + losses))


def _run_once(
    engine: Engine,
    dialect: Dialect,
    memory: Memory,
    attempt: Callable[[Transaction], T],
    *,
    first_try: bool,
) -> T:
    driver_error = engine.dialect.loaded_dbapi.Error
    try:
        connection = engine.raw_connection()
    except driver_error as error:
        raise _DriverTrouble(dialect.trouble(error, lost=False), error) from error
    session = session_of(connection, dialect)
    transaction = Transaction(dialect, memory, session, first_try)
    committing = False
    try:
        outcome = attempt(transaction)
        if not (transaction.begun or _is_sound(connection, session)):
            # A connection that broke while it was idle is to be found before the COMMIT.
            transaction.send()
        committing = True
        transaction.send(commit=True)
    except driver_error as error:
        trouble = _find_trouble(engine, dialect, connection, error)
        _abandon(connection, transaction, sound=trouble is not Trouble.LOST)
        if trouble is Trouble.LOST and committing:
            # Whether it took is unknown: a second run could do the work twice.
            metrics.store_trouble("LOST_AT_COMMIT")
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        raise _DriverTrouble(trouble, error) from error
    except BaseException as error:
        _abandon(connection, transaction, sound=isinstance(error, Exception))
        raise
    connection.info[_USED_S] = time.monotonic()
    connection.close()
    for remember in transaction.learned:
        remember()
    return outcome


def session_of(connection: PoolProxiedConnection, dialect: Dialect) -> Session:
    """The session of a connection, which is made once and kept with it."""
    session: Session | None = connection.info.get(_SESSION)
    if session is None:
        session = connection.info[_SESSION] = dialect.open_session(connection.driver_connection)
    return session


def _is_sound(connection: PoolProxiedConnection, session: Session) -> bool:
    """Whether a connection that nothing was sent on yet may be given a COMMIT with all before it.

    If it broke with that under way, nobody could know whether it took.
    """
    used_s = connection.info.get(_USED_S)
    return used_s is not None and time.monotonic() - used_s < TRUSTED_S and session.is_open()


def _find_trouble(
    engine: Engine, dialect: Dialect, connection: PoolProxiedConnection, error: Exception
) -> Trouble:
    lost = engine.dialect.is_disconnect(error, connection.dbapi_connection, None)  # type: ignore[arg-type]
    trouble = dialect.trouble(error, lost=lost)
    if trouble is Trouble.LOST:
        # The others of the pool are most likely broken too: they are not to be tried one by one.
        engine.dispose()
    return trouble


def _abandon(connection: PoolProxiedConnection, transaction: Transaction, *, sound: bool) -> None:
    """Undo a transaction; its connection is used again only if that is certain to have worked."""
    if not transaction.begun:
        connection.close()
        return
    try:
        if not sound:
            connection.invalidate()
        else:
            transaction.session.rollback()
    except Exception:  # noqa: BLE001 - whatever it is, the first error is the one to be told
        connection.invalidate()
    connection.close()


def _backoff_s(attempts: int) -> float:
    ceiling: float = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(attempts, 10))
    return random.uniform(BACKOFF_S_MIN, max(ceiling, BACKOFF_S_MIN))  # noqa: S311 - mere jitter


def run_read(engine: Engine, dialect: Dialect, read: Callable[[Connection], T]) -> T:
    """Run one SELECT, again on a fresh connection where the first was found broken.

    Raises:
        StoreUnavailable: the database does not answer.
        TextNotStorable: it cannot read a text that it is asked about.
    """
    losses = 0
    while True:
        try:
            with engine.connect() as connection:
                return read(connection)
        except sqlalchemy_errors.TimeoutError as error:
            raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        except sqlalchemy_errors.DBAPIError as error:
            trouble = trouble_of(dialect, error)
            if trouble is Trouble.FAULT:
                raise
            if trouble is Trouble.UNFIT:
                raise TextNotStorable from error
            metrics.store_trouble(trouble.name)
            losses += 1
            if losses >= LOST_ATTEMPTS_MAX:
                raise StoreUnavailable(retry_after_s=RETRY_AFTER_S) from error
        time.sleep(_backoff_s(losses))
