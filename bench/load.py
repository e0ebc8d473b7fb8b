"""Many clients in one thread: the load costs the two cores as little as Python can make it.

An operation is a generator: it yields the bytes of a request and is sent the answer, as often as
it likes. It counts as done when every answer was a success.
"""

import math
import selectors
import socket
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

from bench.wire import Answer, AnswerReader

Operation = Generator[bytes, Answer, None]

ANSWER_S_MAX: Final = 300.0
RECEIVE_BYTES: Final = 1 << 18


class NoAnswer(Exception):
    """A server said nothing at all for ANSWER_S_MAX."""


@dataclass(frozen=True)
class Address:
    """Where a server listens, and whether it keeps a connection open between requests."""

    port: int
    keeps_connections: bool
    host: str = "127.0.0.1"


@dataclass
class Outcome:
    """What came of a load: ``latencies_ms`` of the operations done, ``failures`` by status."""

    elapsed_s: float = 0.0
    client_cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    failures: Counter[int] = field(default_factory=Counter)
    first_failure: str = ""


def in_turn(*requests: bytes) -> Operation:
    """One request after the other, up to the first that fails."""
    for request in requests:
        answer = yield request
        if not answer.succeeded:
            return


def drive(
    address: Address,
    operations: Iterator[Operation],
    *,
    clients: int,
    seconds: float = math.inf,
    beside: Iterator[Operation] | None = None,
) -> Outcome:
    """Let the clients take operations in turn until the time is over or none is left.

    Operations begun in time are finished and counted; the elapsed time includes them.
    ``beside``: what as many other clients do meanwhile; only its failures are counted.

    Raises:
        NoAnswer: see there.
    """
    outcome, other = Outcome(), Outcome()
    with selectors.DefaultSelector() as selector:
        cpu_before, began = time.process_time(), time.perf_counter()
        deadline = began + seconds
        crew = [_Client(address, operations, deadline, selector, outcome) for _ in range(clients)]
        if beside is not None:
            crew += [_Client(address, beside, deadline, selector, other) for _ in range(clients)]
        busy = sum(client.begin_next() for client in crew)
        while busy:
            ready = selector.select(ANSWER_S_MAX)
            if not ready:
                raise NoAnswer(f"port {address.port} was silent for {ANSWER_S_MAX:.0f} s")
            busy -= sum(key.data.receive() for key, _ in ready)
        outcome.elapsed_s = time.perf_counter() - began
        outcome.client_cpu_s = time.process_time() - cpu_before
        for client in crew:
            client.disconnect()
    outcome.failures += other.failures
    outcome.first_failure = outcome.first_failure or other.first_failure
    return outcome


class _Client:
    """One simulated client: a connection, and the operation that it is in."""

    def __init__(
        self,
        address: Address,
        operations: Iterator[Operation],
        deadline: float,
        selector: selectors.BaseSelector,
        outcome: Outcome,
    ) -> None:
        self._address = address
        self._operations = operations
        self._deadline = deadline
        self._selector = selector
        self._outcome = outcome
        self._socket: socket.socket | None = None
        self._failed = 0

    def begin_next(self) -> bool:
        """Begin the next operation; False where time or operations are at their end."""
        if time.perf_counter() >= self._deadline:
            return False
        operation = next(self._operations, None)
        if operation is None:
            return False
        self._operation, self._failed = operation, 0
        self._began = time.perf_counter()
        self._send(next(operation))
        return True

    def receive(self) -> bool:
        """Read what has arrived; True when the client has finished for good."""
        assert self._socket is not None
        try:
            arrived = self._socket.recv(RECEIVE_BYTES)
        except ConnectionError:
            arrived = b""
        answer = self._reader.feed(arrived)
        if answer is None:
            return False
        if not arrived or not self._address.keeps_connections:
            self.disconnect()
        if not answer.succeeded:
            self._failed = answer.status or 599
            self._outcome.first_failure = self._outcome.first_failure or (
                f"{answer.status} {answer.body[:300]!r}"
            )
        try:
            self._send(self._operation.send(answer))
        except StopIteration:
            self._finish()
            return not self.begin_next()
        return False

    def disconnect(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _send(self, request: bytes) -> None:
        if self._socket is None:
            address = (self._address.host, self._address.port)
            self._socket = socket.create_connection(address, timeout=ANSWER_S_MAX)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._reader = AnswerReader()
        self._socket.sendall(request)

    def _finish(self) -> None:
        if self._failed:
            self._outcome.failures[self._failed] += 1
        else:
            self._outcome.latencies_ms.append((time.perf_counter() - self._began) * 1e3)
