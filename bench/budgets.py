"""What is aimed at, and what ``--check`` demands: numbers, by workload.

Ratios of one run on one machine, so that they hold on slow machines too; where the clients' rate
is what a site feels, the rate is what counts. How many statements an operation sends is counted
by ``tests/operations/test_statement_counts.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.measure import Figures


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds on Moorage beside its rival; None is no bound.

    ``rate_ratio_min``: operations a second, Moorage's over the rival's. ``cpu_ratio_min``: server
    CPU of an operation, the rival's over Moorage's. ``p50_ratio_min``: the same of the median
    latency. ``p50_growth_max``: median latency, Moorage's over the rival's. ``p99_over_p50_max``:
    Moorage's 99th percentile over the rival's median.
    """

    rate_ratio_min: float | None = None
    cpu_ratio_min: float | None = None
    p50_ratio_min: float | None = None
    p50_growth_max: float | None = None
    p99_over_p50_max: float | None = None


def _better(times: float) -> Budget:
    """So many times better in what the servers spend on an operation, and in median latency."""
    return Budget(cpu_ratio_min=times, p50_ratio_min=times)


AIMS: Final[Mapping[str, Budget]] = {
    "candidates-1000": _better(300),
    "candidates-10": _better(1_000),
    "candidates-all": _better(50),
    "candidates-rare": _better(100),
    "candidates-none": _better(100),
    "candidates-nested": _better(60),
    "candidates-sharing": _better(60),
    "schedule": _better(500),
    "claims-8": Budget(rate_ratio_min=8),
    "claims-32": _better(20),
    "claims-one-host-32": _better(20),
    "swap": _better(20),
    "agent": _better(25),
    "agent-first": _better(25),
    "registering": _better(15),
    "usages": _better(50),
    "crowded": Budget(p50_growth_max=1.5),
    "reads-under-writes": Budget(p99_over_p50_max=5),
}

BUDGETS: Final[Mapping[str, Budget]] = AIMS | {
    "swap": Budget(cpu_ratio_min=20, p50_ratio_min=15),
    "agent": Budget(cpu_ratio_min=25, p50_ratio_min=20),
    "agent-first": Budget(cpu_ratio_min=12, p50_ratio_min=10),
    "registering": Budget(cpu_ratio_min=15, p50_ratio_min=9),
    "usages": Budget(cpu_ratio_min=14, p50_ratio_min=50),
    "reads-under-writes": Budget(p99_over_p50_max=20),
}
"""The aims, or where these are not reached what was: below it something has become slower."""


def find_misses(workload: str, figures: list[Figures]) -> list[str]:
    """Every bound that the figures break, in words; none where all is well.

    Broken answers count too: Moorage may not answer a workload with an error of the server, nor
    lose what it has acknowledged.
    """
    ours = figures[0]
    misses = [
        f"{workload}: {count} answers of {status or 'no status'}, first {ours.first_failure}"
        for status, count in ours.failures.items()
        if status >= 500
    ]
    if ours.missing:
        misses.append(f"{workload}: {ours.missing} acknowledged claims are not on the books")
    budget = BUDGETS.get(workload)
    if budget is not None and len(figures) > 1:
        misses += _find_excess(workload, budget, *figures)
    return misses


def find_unreached(workload: str, figures: list[Figures]) -> list[str]:
    """Every aim that the figures do not reach, in words."""
    aim = AIMS.get(workload)
    return _find_excess(workload, aim, *figures) if aim is not None and len(figures) > 1 else []


def _find_excess(workload: str, budget: Budget, ours: Figures, theirs: Figures) -> list[str]:
    """Every bound of a budget that is not kept, in words."""
    least = (
        ("rate", ours.rate_per_s / theirs.rate_per_s, budget.rate_ratio_min),
        ("server CPU", theirs.server_cpu_ms / ours.server_cpu_ms, budget.cpu_ratio_min),
        ("p50", theirs.p50_ms / ours.p50_ms, budget.p50_ratio_min),
    )
    misses = [
        f"{workload}: {what} {ratio:.1f} times better, at least {bound:g} is due"
        for what, ratio, bound in least
        # The comparison is turned around so that a ratio of NaN is a miss.
        if bound is not None and not ratio >= bound
    ]
    most = (
        ("p50", ours.p50_ms / theirs.p50_ms, budget.p50_growth_max),
        ("p99 over p50", ours.p99_ms / theirs.p50_ms, budget.p99_over_p50_max),
    )
    misses += [
        f"{workload}: {what} is {ratio:.2f} times, at most {bound:g}"
        for what, ratio, bound in most
        if bound is not None and not ratio <= bound
    ]
    return misses
