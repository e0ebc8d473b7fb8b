"""Measuring contestants in turn: A, B, A, B, so that a slow moment of the machine hits both."""

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bench.agreement import fetch
from bench.fleets import Fleet
from bench.load import Operation, Outcome, drive
from bench.servers import Contestant
from bench.workloads import Workload
from tests.support.cpu import load_tree_cpu_s

TURNS_FOR_ONE: Final = 10
Watch = Callable[[Contestant], AbstractContextManager[None]]


@dataclass(frozen=True)
class Pace:
    """How long a turn takes, and how many turns each contestant has."""

    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contestant did in all its turns. CPU is per operation, of the process tree.

    ``missing``: operations that were acknowledged and are not on the books; None where the
    workload makes no claims.
    """

    contestant: str
    operations: int
    failures: dict[int, int]
    first_failure: str
    rate_per_s: float
    rates_per_s: tuple[float, ...]
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    database_cpu_ms: float
    client_cpu_ms: float
    missing: int | None

    def as_record(self) -> dict[str, Any]:
        record = asdict(self)
        return {
            name: float(f"{number:.4g}") if isinstance(number, float) else number
            for name, number in record.items()
        }


@dataclass
class _Runner:
    """One contestant, its endless operations and what has come of its turns so far."""

    contestant: Contestant
    name: str
    operations: Iterator[Operation]
    database_pid: int
    beside: Iterator[Operation] | None = None
    acknowledged: int = 0
    turns: list[Outcome] = field(default_factory=list)
    server_cpu_s: float = 0.0
    database_cpu_s: float = 0.0

    def warm_up(self, workload: Workload) -> None:
        some = itertools.islice(self.operations, workload.warm_up)
        outcome = drive(self.contestant.address, some, clients=workload.clients)
        self.acknowledged += len(outcome.latencies_ms)

    def take_turn(self, workload: Workload, seconds: float) -> None:
        server_before = load_tree_cpu_s(self.contestant.pid)
        database_before = load_tree_cpu_s(self.database_pid)
        address = self.contestant.address
        outcome = drive(
            address, self.operations,
            clients=workload.clients, seconds=seconds, beside=self.beside,
        )  # fmt: skip
        self.server_cpu_s += load_tree_cpu_s(self.contestant.pid) - server_before
        self.database_cpu_s += load_tree_cpu_s(self.database_pid) - database_before
        self.acknowledged += len(outcome.latencies_ms)
        self.turns.append(outcome)

    def count_missing(self, project: str | None) -> int | None:
        if project is None:
            return None
        answer = fetch(self.contestant.address, f"/usages?project_id={project}")
        return self.acknowledged - int(answer["usages"].get("VCPU", 0))

    def sum_up(self, project: str | None) -> Figures:
        latencies = sorted(took for turn in self.turns for took in turn.latencies_ms)
        done = len(latencies)
        elapsed_s = sum(turn.elapsed_s for turn in self.turns)
        failures = sum((turn.failures for turn in self.turns), Counter())

        def each_ms(seconds: float) -> float:
            return seconds * 1e3 / done if done else math.nan

        return Figures(
            contestant=self.name,
            operations=done,
            failures=dict(failures),
            first_failure=next((t.first_failure for t in self.turns if t.first_failure), ""),
            rate_per_s=done / elapsed_s,
            rates_per_s=tuple(
                round(len(turn.latencies_ms) / turn.elapsed_s, 3) for turn in self.turns
            ),
            p50_ms=pick_percentile(latencies, 50),
            p99_ms=pick_percentile(latencies, 99),
            server_cpu_ms=each_ms(self.server_cpu_s),
            database_cpu_ms=each_ms(self.database_cpu_s),
            client_cpu_ms=each_ms(sum(turn.client_cpu_s for turn in self.turns)),
            missing=self.count_missing(project),
        )


def measure(
    workload: Workload,
    fleet: Fleet,
    contestants: Sequence[Contestant],
    *,
    database_pid: int,
    pace: Pace,
    watch: Watch = lambda _: contextlib.nullcontext(),
) -> list[Figures]:
    """The figures of all contestants, in their order; of Moorage and its rival where it has one."""
    runners = [
        _Runner(contestant, contestant.name, workload.operations(fleet), database_pid)
        for contestant in contestants[: 1 if workload.alone else None]
    ]
    if workload.rival is not None:
        # Both are the same server and differ little: shorter turns, and more of them.
        pace = Pace(pace.seconds / TURNS_FOR_ONE, pace.rounds * TURNS_FOR_ONE)
        moorage = contestants[0]
        runners = [
            _Runner(moorage, workload.name, workload.operations(fleet), database_pid),
            _Runner(moorage, "rival", workload.rival(fleet), database_pid),
        ]
        if workload.beside is not None:
            runners[0].beside = workload.beside(fleet)
    for runner in runners:
        runner.warm_up(workload)
    for _ in range(pace.rounds):
        for runner in runners:
            with watch(runner.contestant):
                runner.take_turn(workload, pace.seconds)
    return [runner.sum_up(workload.project) for runner in runners]


def pick_percentile(latencies_ms: Sequence[float], percent: int) -> float:
    """The latency that so many percent do not exceed; sorted ones are expected."""
    if not latencies_ms:
        return math.nan
    return latencies_ms[min(len(latencies_ms) - 1, len(latencies_ms) * percent // 100)]
