"""Lines that are written in bundles: all of them, whole, in order, soon."""

import io
import os
import threading
import time
from pathlib import Path

import pytest

from moorage.telemetry import bundles
from moorage.telemetry.bundles import WRITE_BYTES_MAX, Bundles

SOON_S = 10.0


class Writes(io.RawIOBase):
    """A stream that remembers each write by itself."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self.pieces.append(piece)
        return len(piece)

    @property
    def lines(self) -> list[bytes]:
        return b"".join(self.pieces).splitlines()


def render(text: str) -> bytes:
    return text.encode() + b"\n"


def bundles_to(stream: object) -> Bundles[str]:
    return Bundles(stream, render)  # type: ignore[arg-type]


def wait_for(writes: Writes, count: int) -> None:
    deadline_s = time.monotonic() + SOON_S
    while len(writes.lines) < count:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_lines_are_written_soon_without_being_asked_for() -> None:
    writes = Writes()
    lines = bundles_to(writes)
    for round_ in range(3):
        lines.tell(f"line {round_}")
        wait_for(writes, round_ + 1)
    assert writes.lines == [b"line 0", b"line 1", b"line 2"]
    lines.close()


def test_lines_of_many_threads_are_all_there_and_no_piece_is_longer_than_a_pipe_takes() -> None:
    writes = Writes()
    lines = bundles_to(writes)
    told = [[f"{thread}-{number}" + "x" * 100 for number in range(500)] for thread in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: [lines.tell(line) for line in mine])  # type: ignore[misc]
        for mine in told
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.close()
    assert all(len(piece) <= WRITE_BYTES_MAX for piece in writes.pieces)
    assert len(writes.pieces) < 2_000 / 10
    for thread, mine in enumerate(told):
        begin = f"{thread}-".encode()
        assert [line for line in writes.lines if line.startswith(begin)] == [
            line.encode() for line in mine
        ]


def test_a_line_longer_than_a_piece_is_written_whole() -> None:
    writes = Writes()
    lines = bundles_to(writes)
    for text in ("short", "x" * 2 * WRITE_BYTES_MAX, "short again"):
        lines.tell(text)
    lines.close()
    assert [len(line) for line in writes.lines] == [5, 2 * WRITE_BYTES_MAX, 11]


def test_where_no_thread_runs_lines_are_written_by_those_that_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bundles, "_see_to_writer", lambda _: None)
    monkeypatch.setattr(bundles, "OVERDUE_S", 0.05)
    writes = Writes()
    lines = bundles_to(writes)
    lines.tell("first")
    lines.tell("second")
    assert writes.lines == []
    time.sleep(0.06)
    lines.tell("third")
    assert writes.lines == [b"first", b"second", b"third"]
    lines.close()


def test_where_the_writer_is_stuck_no_more_than_so_many_lines_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bundles, "_see_to_writer", lambda _: None)
    monkeypatch.setattr(bundles, "TOLD_MAX", 10)
    writes = Writes()
    lines = bundles_to(writes)
    for number in range(11):
        lines.tell(str(number))
    assert len(writes.lines) == 11
    lines.close()


def test_a_full_disk_ends_nobody() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        lines = bundles_to(full)
        lines.tell("lost")
        lines.write()
        lines.tell("lost, too")
        lines.close()


def test_a_child_writes_its_own_lines_and_not_those_of_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("ab", buffering=0) as stream:
        lines = bundles_to(stream)
        lines.tell("parent")
        child = os.fork()
        if not child:
            lines.tell("child")
            lines.write()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        lines.close()
    assert sorted(file.read_text().splitlines()) == ["child", "parent"]
