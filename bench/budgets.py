"""What ``--check`` demands: numbers, by workload.

Ratios of one run on one machine, so that they hold on slow machines too; where the clients' rate
is what a site feels, the rate is what counts.
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
    latency. ``p50_growth_max``: median latency, Moorage's over the rival's.
    """

    rate_ratio_min: float | None = None
    cpu_ratio_min: float | None = None
    p50_ratio_min: float | None = None
    p50_growth_max: float | None = None


BUDGETS: Final[Mapping[str, Budget]] = {
    "claims-8": Budget(rate_ratio_min=8),
    "agent": Budget(rate_ratio_min=10),
    "registering": Budget(rate_ratio_min=8),
    "crowded": Budget(p50_growth_max=1.5),
}


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
    if budget is None or len(figures) < 2:
        return misses
    theirs = figures[1]
    least = (
        ("rate", ours.rate_per_s / theirs.rate_per_s, budget.rate_ratio_min),
        ("server CPU", theirs.server_cpu_ms / ours.server_cpu_ms, budget.cpu_ratio_min),
        ("p50", theirs.p50_ms / ours.p50_ms, budget.p50_ratio_min),
    )
    misses += [
        f"{workload}: {what} {ratio:.1f} times better, at least {bound:g} is due"
        for what, ratio, bound in least
        # The comparison is turned around so that a ratio of NaN is a miss.
        if bound is not None and not ratio >= bound
    ]
    growth = ours.p50_ms / theirs.p50_ms
    if budget.p50_growth_max is not None and not growth <= budget.p50_growth_max:
        misses.append(f"{workload}: p50 is {growth:.2f} times, at most {budget.p50_growth_max:g}")
    return misses
