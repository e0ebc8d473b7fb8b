"""Many clients in one thread: the load costs the two cores as little as Python can make it.

An operation is a generator: it yields the bytes of a request and is sent the answer, as often as
it likes. It counts as done when every answer was a success.
"""

import math
import select
import socket
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from bench.wire import Answer, AnswerReader, read_whole

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
    with _Poller() as poller:
        cpu_before, began = time.process_time(), time.perf_counter()
        deadline = began + seconds
        crew = [_Client(address, operations, deadline, poller, outcome) for _ in range(clients)]
        if beside is not None:
            crew += [_Client(address, beside, deadline, poller, other) for _ in range(clients)]
        busy = sum(client.begin_next() for client in crew)
        while busy:
            ready = poller.wait(ANSWER_S_MAX)
            if not ready:
                raise NoAnswer(f"port {address.port} was silent for {ANSWER_S_MAX:.0f} s")
            for client in ready:
                busy -= client.receive()
        outcome.elapsed_s = time.perf_counter() - began
        outcome.client_cpu_s = time.process_time() - cpu_before
        for client in crew:
            client.disconnect()
    outcome.failures += other.failures
    outcome.first_failure = outcome.first_failure or other.first_failure
    return outcome


class _Poller:
    """Tells whose answer has arrived; ``selectors`` takes longer to do so than the kernel does."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()

    def add(self, client: "_Client", connection: socket.socket) -> None:
        self._clients[connection.fileno()] = client
        self._epoll.register(connection, select.EPOLLIN)

    def remove(self, connection: socket.socket) -> None:
        del self._clients[connection.fileno()]
        self._epoll.unregister(connection)

    def wait(self, seconds: float) -> "list[_Client]":
        """The clients that have something to read; none if time is over."""
        return [self._clients[number] for number, _ in self._epoll.poll(seconds)]


class _Client:
    """One simulated client: a connection, and the operation that it is in."""

    def __init__(
        self,
        address: Address,
        operations: Iterator[Operation],
        deadline: float,
        poller: _Poller,
        outcome: Outcome,
    ) -> None:
        self._address = address
        self._operations = operations
        self._deadline = deadline
        self._poller = poller
        self._outcome = outcome
        self._socket: socket.socket | None = None
        self._reader: AnswerReader | None = None
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
        if self._reader is None:
            answer = read_whole(arrived)
            if answer is None:
                self._reader = AnswerReader()
                answer = self._reader.feed(arrived)
        else:
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
            self._poller.remove(self._socket)
            self._socket.close()
            self._socket = None

    def _send(self, request: bytes) -> None:
        if self._socket is None:
            address = (self._address.host, self._address.port)
            self._socket = socket.create_connection(address, timeout=ANSWER_S_MAX)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poller.add(self, self._socket)
        self._reader = None
        self._socket.sendall(request)

    def _finish(self) -> None:
        if self._failed:
            self._outcome.failures[self._failed] += 1
        else:
            self._outcome.latencies_ms.append((time.perf_counter() - self._began) * 1e3)
