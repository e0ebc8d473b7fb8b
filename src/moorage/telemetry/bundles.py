"""Lines that are written together a moment after they were told, by a thread of their own.

To write gives up Python's lock, for which a request then has to wait once more. With a line for
each it was about a tenth of the CPU of the smallest requests; of larger ones no difference could be
measured.
"""

import atexit
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import BinaryIO, Final, Generic, TypeVar

T = TypeVar("T")

WAIT_S: Final = 0.01
"""How long a line waits for others."""

TOLD_MAX: Final = 10_000
"""Lines that may wait. Whoever tells one more writes them himself, at the pace of the log."""

OVERDUE_S: Final = 1.0
"""Who tells a line when others have waited so long writes them himself: there are servers that
let no thread of ours run."""

WRITE_BYTES_MAX: Final = 4096
"""What a pipe takes in one piece (Linux's PIPE_BUF), so that processes do not mix their lines."""


class Bundles(Generic[T]):
    """Writes lines to one stream in bundles, in the order in which they were told."""

    def __init__(self, stream: BinaryIO, render: Callable[[T], bytes]) -> None:
        """``render``: makes the line, with its end, of what was told."""
        self._stream = stream
        self._render = render
        self._told: deque[T] = deque()
        self._begin()
        atexit.register(self.write)
        os.register_at_fork(after_in_child=self._begin_in_child)

    def tell(self, line: T) -> None:
        """Have a line written soon."""
        self._told.append(line)
        if not self._is_due.is_set():
            self._since_s = time.monotonic()
            self._is_due.set()
            self._see_to_writer()
        elif len(self._told) > TOLD_MAX or time.monotonic() - self._since_s > OVERDUE_S:
            self.write()

    def write(self) -> None:
        """Write what was told so far. What the stream does not take is lost."""
        with self._turn:
            told = [self._told.popleft() for _ in range(len(self._told))]
            self._since_s = time.monotonic()
            for piece in _joined(map(self._render, told)):
                with contextlib.suppress(OSError, ValueError):
                    self._stream.write(piece)
                    self._stream.flush()

    def close(self) -> None:
        """Write what was told so far, and let the writer end; nothing may be told any more."""
        atexit.unregister(self.write)
        self._is_closed = True
        self._is_due.set()
        self.write()

    def _begin(self) -> None:
        self._turn = threading.Lock()
        self._is_due = threading.Event()
        self._is_closed = False
        self._since_s = 0.0
        self._writer: threading.Thread | None = None

    def _begin_in_child(self) -> None:
        # The parent writes what was told before.
        self._told.clear()
        self._begin()

    def _see_to_writer(self) -> None:
        if self._writer is None:
            with self._turn:
                if self._writer is None:
                    self._writer = threading.Thread(target=self._work, name="log", daemon=True)
                    self._writer.start()

    def _work(self) -> None:
        while not self._is_closed:
            self._is_due.wait()
            time.sleep(WAIT_S)
            # From here on a line that is told comes again.
            self._is_due.clear()
            self.write()


def _joined(lines: Iterable[bytes]) -> Iterable[bytes]:
    """The lines in pieces that go out in one write each."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > WRITE_BYTES_MAX:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece)
