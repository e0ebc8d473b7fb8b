"""Where a server spends its time, by py-spy (pip install py-spy; it may need root)."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.servers import Contestant
from tests.support.cpu import list_descendants

SAMPLES_A_SECOND: Final = 200
ROWS_SHOWN: Final = 15


class ProfilerMissing(Exception):
    """There is no py-spy to record with."""


class Profile:
    """Stacks of a server's processes, a file for each, folded as flame graphs want them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        beside_python = Path(sys.executable).parent / "py-spy"
        self._program = str(beside_python) if beside_python.exists() else shutil.which("py-spy")
        if self._program is None:
            raise ProfilerMissing("py-spy is not installed (pip install py-spy)")

    def watch(self, workload: str) -> Callable[[Contestant], AbstractContextManager[None]]:
        """Record the server's processes while a block runs: threads that hold Python's lock.

        The rest is waiting, and calls of the system, which /proc tells.
        """

        @contextlib.contextmanager
        def recording(contestant: Contestant) -> Iterator[None]:
            recorders = [
                self._record(pid, self._directory / f"{workload}.{pid}.txt")
                for pid in list_descendants(contestant.pid)
            ]
            try:
                yield
            finally:
                for recorder in recorders:
                    recorder.send_signal(signal.SIGINT)
                for recorder in recorders:
                    recorder.wait()

        return recording

    def show(self, workload: str, console: Console) -> None:
        """Print which packages and functions took the samples, and what they were called for."""
        packages: Counter[str] = Counter()
        own: Counter[str] = Counter()
        called_for: Counter[str] = Counter()
        for path in self._directory.glob(f"{workload}.[0-9]*.txt"):
            for line in path.read_text().splitlines():
                stack, _, count = line.rpartition(" ")
                frames = stack.split(";")
                packages[_find_package(frames[-1])] += int(count)
                own[frames[-1]] += int(count)
                for frame in {frame for frame in frames if "(moorage/" in frame}:
                    called_for[frame] += int(count)
        tables = {"packages": packages, "functions": own, "Moorage's, with all below": called_for}
        for told, counts in tables.items():
            table = Table(title=f"{workload}: {told}", title_justify="left")
            table.add_column("%", justify="right")
            table.add_column("where", overflow="fold")
            for name, samples in counts.most_common(ROWS_SHOWN):
                table.add_row(f"{samples * 100 / own.total():.1f}", name)
            console.print(table)

    def _record(self, pid: int, path: Path) -> subprocess.Popen[bytes]:
        assert self._program is not None
        command = [
            self._program, "record", "--pid", str(pid), "--format", "raw", "--function",
            "--gil", "--rate", str(SAMPLES_A_SECOND), "--output", str(path),
            "--duration", "unlimited",
        ]  # fmt: skip
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )


def _find_package(frame: str) -> str:
    """Where a frame such as ``Store.read (moorage/store/store.py:83)`` belongs: moorage/store."""
    path = frame.rpartition(" (")[2].partition(":")[0]
    return "/".join(path.split("/")[: 2 if path.startswith("moorage/") else 1])
