"""CPU time of a server's processes, from /proc (Linux)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def load_tree_cpu_s(root_pid: int) -> float:
    """CPU seconds, user and system, of a process, its descendants and those it has outlived."""
    ticks = 0
    for _, fields in _walk_tree(root_pid):
        # utime, stime, and cutime, cstime of the children that have been waited for.
        ticks += sum(int(number) for number in fields[11:15])
    return ticks / _TICKS_PER_S


def load_cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of one process."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def load_memory_mib(pid: int) -> float:
    """What a process holds in memory now (its resident set)."""
    pages = (Path("/proc") / str(pid) / "statm").read_text().split()[1]
    return int(pages) * _PAGE_BYTES / 2**20


def list_descendants(root_pid: int) -> list[int]:
    """The processes below a process, itself not among them."""
    return [pid for pid, _ in _walk_tree(root_pid) if pid != root_pid]


def list_children(parent_pid: int) -> set[int]:
    """The processes that a process has started itself."""
    return {pid for pid, fields in _load_stats().items() if int(fields[1]) == parent_pid}


def _walk_tree(root_pid: int) -> Iterator[tuple[int, list[str]]]:
    stats = _load_stats()
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    waiting = [root_pid]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            yield pid, stats[pid]
        waiting += children.get(pid, ())


def _load_stats() -> dict[int, list[str]]:
    """The fields of /proc/<pid>/stat after the command's name: state, parent, ..."""
    stats = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                text = (directory / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            stats[int(directory.name)] = text.rpartition(")")[2].split()
    return stats
