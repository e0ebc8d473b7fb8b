"""Tables for people, and lines for the history."""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.budgets import AIMS, Budget, find_unreached
from bench.measure import Figures
from bench.servers import REPOSITORY
from bench.workloads import Workload

HISTORY: Final = Path(__file__).parent / "history"
COMPARED: Final = ("granian", "numpy", "sqlalchemy", "openstack-placement", "uwsgi")

Results = Sequence[tuple[Workload, list[Figures]]]


def make_table(title: str, results: Results) -> Table:
    """One row a workload; in each pair of columns Moorage (or the crowded provider) comes first."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("workload")
    table.add_column("clients", justify="right")
    for name in ("ops/s", "p50 ms", "p99 ms", "server CPU ms/op", "database CPU ms/op"):
        table.add_column(f"{name}\nMoorage | other", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("x rate", justify="right")
    table.add_column("x p50", justify="right")
    table.add_column("x CPU", justify="right")
    table.add_column("x CPU with\ndatabase", justify="right")
    table.add_column("aim", justify="right")
    for workload, figures in results:
        table.add_row(
            f"{workload.name}\n[dim]{workload.told}",
            str(workload.clients),
            *(
                " | ".join(_short(getattr(one, name)) for one in figures)
                for name in ("rate_per_s", "p50_ms", "p99_ms", "server_cpu_ms", "database_cpu_ms")
            ),
            " | ".join(_tell_failures(one) for one in figures),
            *_tell_ratios(figures),
            _tell_aim(AIMS.get(workload.name)),
        )
    table.caption = f"The clients took at most {_find_client_share(results):.0%} of all CPU time."
    return table


def find_conditions(databases: Mapping[str, str]) -> dict[str, Any]:
    """What a figure depends on, without naming the machine."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "src")),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in COMPARED},
        "databases": dict(databases),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg()[0],
    }


def append_history(
    conditions: Mapping[str, Any], database: str, options: Mapping[str, Any], results: Results
) -> Path:
    """Add one line with everything of a run to the history of its database; return its file."""
    line = dict(conditions) | {
        "database": database,
        "options": dict(options),
        "figures": {
            workload.name: [one.as_record() for one in figures] for workload, figures in results
        },
    }
    HISTORY.mkdir(exist_ok=True)
    path = HISTORY / f"{database}.jsonl"
    with path.open("a") as history:
        history.write(json.dumps(line) + "\n")
    return path


def show(console: Console, table: Table) -> None:
    """Print a table whole, however narrow the place where it goes."""
    if not console.is_terminal:
        console.width = max(console.width, 190)
    console.print(table)


def show_unreached(console: Console, results: Results) -> None:
    """Print which aims the figures do not reach."""
    for workload, figures in results:
        for aim in find_unreached(workload.name, figures):
            console.print(f"not reached: {aim}", style="dim", markup=False, soft_wrap=True)


def _find_client_share(results: Results) -> float:
    """Of the CPU time of client, server and database, the client's largest part in any workload."""
    shares = [0.0]
    for _, figures in results:
        for one in figures:
            whole = one.client_cpu_ms + one.server_cpu_ms + one.database_cpu_ms
            shares.append(one.client_cpu_ms / whole)
    return max(shares)


def _tell_ratios(figures: list[Figures]) -> tuple[str, str, str, str]:
    if len(figures) < 2:
        return "", "", "", ""
    ours, theirs = figures
    return (
        _short(ours.rate_per_s / theirs.rate_per_s),
        _short(theirs.p50_ms / ours.p50_ms),
        _short(theirs.server_cpu_ms / ours.server_cpu_ms),
        _short(
            (theirs.server_cpu_ms + theirs.database_cpu_ms)
            / (ours.server_cpu_ms + ours.database_cpu_ms)
        ),
    )


def _tell_aim(aim: Budget | None) -> str:
    if aim is None:
        return ""
    told = (
        ("rate >= ", aim.rate_ratio_min),
        ("CPU >= ", aim.cpu_ratio_min),
        ("p50 >= ", aim.p50_ratio_min),
        ("p50 growth <= ", aim.p50_growth_max),
        ("p99/p50 <= ", aim.p99_over_p50_max),
    )
    return ", ".join(f"{words}{bound:g}" for words, bound in told if bound is not None)


def _tell_failures(figures: Figures) -> str:
    told = [f"{count}x{status}" for status, count in sorted(figures.failures.items())]
    if figures.missing:
        told.append(f"{figures.missing} lost")
    return ",".join(told) or "0"


def _short(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _git(*words: str) -> str:
    finished = subprocess.run(
        ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return finished.stdout.strip()
