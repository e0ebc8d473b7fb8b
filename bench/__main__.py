"""``python -m bench``: see README.md beside this file."""

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import report
from bench.agreement import AnswersDiffer, check_agreement
from bench.budgets import BUDGETS, find_misses
from bench.fleets import Fleet, Sizes
from bench.load import NoAnswer, drive, in_turn
from bench.measure import Figures, Pace, Watch, measure
from bench.profile import Profile, ProfilerMissing
from bench.servers import Contestant, DatabaseServer, serve, serve_database
from bench.workloads import SCENES, UPSTREAM_OPTIONS, Workload, choose
from tests.support.databases import DatabaseKind
from tests.support.deployments import Subject
from tests.support.processes import StartFailed

LOADING_CLIENTS = 8

console = Console()


def main(
    only: Annotated[
        str, typer.Option(help="Workloads, or the beginnings of their names, by commas.")
    ] = "",
    database: Annotated[
        list[DatabaseKind] | None, typer.Option(help="postgresql or mariadb; may be repeated.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of one turn.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant.")] = 2,
    hosts: Annotated[int, typer.Option(help="Hosts of the flat fleet.")] = 10_000,
    consumers: Annotated[int, typer.Option(help="Instances on the flat fleet.")] = 10_000,
    trees: Annotated[int, typer.Option(help="Trees of the nested fleet, 7 providers each.")] = 1000,
    diskless: Annotated[int, typer.Option(help="Hosts of the sharing fleet.")] = 1000,
    pools: Annotated[int, typer.Option(help="Pools of the sharing fleet.")] = 20,
    crowd: Annotated[int, typer.Option(help="Consumers on the crowded provider.")] = 100_000,
    check: Annotated[
        bool, typer.Option(help="Measure what has a budget; exit with 1 where one is missed.")
    ] = False,
    record: Annotated[bool, typer.Option(help="Add the figures to bench/history/.")] = False,
    alone: Annotated[bool, typer.Option(help="Moorage without upstream.")] = False,
    copy_fleet: Annotated[
        bool,
        typer.Option(help="Copy Moorage's tables to upstream, rather than ask it 40,000 times."),
    ] = False,
    profile: Annotated[
        Path | None, typer.Option(help="Directory for py-spy's stacks; implies --alone.")
    ] = None,
) -> None:
    """Measure Moorage beside a real openstack-placement 16."""
    try:
        workloads = choose([name for name in only.split(",") if name])
    except LookupError as error:
        raise typer.BadParameter(str(error)) from None
    if check and not only:
        workloads = [workload for workload in workloads if workload.name in BUDGETS]
    sizes = Sizes(
        hosts=hosts, consumers=consumers, trees=trees, diskless=diskless, pools=pools, crowd=crowd
    )
    pace = Pace(seconds, rounds)
    misses: list[str] = []
    kinds = database or [DatabaseKind.POSTGRESQL]
    if DatabaseKind.SQLITE in kinds:
        raise typer.BadParameter("both contestants need a database server: postgresql or mariadb")
    for kind in kinds:
        stacks = Profile(profile / kind.value) if profile else None
        run = _Run(
            kind, sizes, pace,
            alone=alone or profile is not None, copies=copy_fleet, profile=stacks,
        )  # fmt: skip
        try:
            run.measure_all(workloads)
        finally:
            # A scene that fails late does not take with it what was measured before.
            if run.results:
                report.show(console, report.make_table(run.title, run.results))
                report.show_unreached(console, run.results)
        misses += [
            f"{kind.value}: {miss}"
            for workload, figures in run.results
            for miss in find_misses(workload.name, figures)
        ]
        if record:
            options = asdict(sizes) | asdict(pace) | {"copied": copy_fleet}
            report.append_history(run.conditions, kind.value, options, run.results)
    for miss in misses:
        console.print(miss, style="red", markup=False, soft_wrap=True)
    if check and misses:
        sys.exit(1)


class _Run:
    """All workloads on one kind of database."""

    def __init__(
        self,
        kind: DatabaseKind,
        sizes: Sizes,
        pace: Pace,
        *,
        alone: bool,
        copies: bool,
        profile: Profile | None,
    ) -> None:
        self._kind = kind
        self._sizes = sizes
        self._pace = pace
        self._alone = alone
        self._copies = copies
        self._profile = profile
        self.conditions: dict[str, object] = {}
        self.results: list[tuple[Workload, list[Figures]]] = []

    @property
    def title(self) -> str:
        versions = self.conditions["databases"]
        assert isinstance(versions, dict)
        return f"{versions[self._kind.value]}; commit {self.conditions['commit']}"

    def measure_all(self, workloads: Sequence[Workload]) -> None:
        """Serve each scene that has a workload, and measure its workloads there."""
        with serve_database(self._kind) as database, tempfile.TemporaryDirectory() as home:
            version = database.describe(database.server.create_database("version"))
            self.conditions = report.find_conditions({self._kind.value: version})
            for scene, build_fleet in SCENES.items():
                chosen = [workload for workload in workloads if workload.scene == scene]
                if chosen:
                    fleet = build_fleet(self._sizes)
                    self._play(scene, fleet, chosen, database, Path(home))

    def _play(
        self,
        scene: str,
        fleet: Fleet,
        workloads: Sequence[Workload],
        database: DatabaseServer,
        home: Path,
    ) -> None:
        with contextlib.ExitStack() as stack:
            contestants: list[Contestant] = []
            for subject in self._choose_subjects(workloads):
                name = f"{subject.value}_{scene}"
                url = database.server.create_database(name)
                # Moorage is the first, so that there is something to copy by then.
                original = contestants[0].database_url if contestants and self._copies else None
                with console.status(f"{scene}: loading {subject.value}"):
                    served = serve(
                        subject, home / name, url,
                        copied_from=original, upstream_options=UPSTREAM_OPTIONS.get(scene),
                    )  # fmt: skip
                    contestant = stack.enter_context(served)
                    if original is None:
                        _load_fleet(contestant, fleet)
                contestants.append(contestant)
            with console.status(f"{scene}: comparing answers"):
                check_agreement(fleet, contestants)
            for workload in workloads:
                figures = self._measure(workload, fleet, contestants, database.pid)
                self.results.append((workload, figures))

    def _choose_subjects(self, workloads: Sequence[Workload]) -> list[Subject]:
        if self._alone or all(one.rival or one.alone for one in workloads):
            return [Subject.MOORAGE]
        return [Subject.MOORAGE, Subject.PEER]

    def _measure(
        self,
        workload: Workload,
        fleet: Fleet,
        contestants: Sequence[Contestant],
        database_pid: int,
    ) -> list[Figures]:
        watching: dict[str, Watch] = {}
        if self._profile is not None:
            watching["watch"] = self._profile.watch(workload.name)
        with console.status(f"{self._kind.value}: {workload.name}"):
            figures = measure(
                workload, fleet, contestants,
                database_pid=database_pid, pace=self._pace, **watching,
            )  # fmt: skip
        rates = " | ".join(f"{one.contestant} {one.rate_per_s:,.1f}/s" for one in figures)
        console.print(f"{self._kind.value}: {workload.name}: {rates}", style="dim")
        if self._profile is not None:
            self._profile.show(workload.name, console)
        return figures


def _load_fleet(contestant: Contestant, fleet: Fleet) -> None:
    """Send the fleet's requests, a phase at a time.

    Raises:
        AnswersDiffer: one was refused.
    """
    for phase in fleet.phases:
        operations = (in_turn(*requests) for requests in phase)
        outcome = drive(contestant.address, operations, clients=LOADING_CLIENTS)
        if outcome.failures:
            raise AnswersDiffer(f"{contestant.name} refused the fleet: {outcome.first_failure}")


if __name__ == "__main__":
    try:
        app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        app.command()(main)
        app()
    except (AnswersDiffer, NoAnswer, ProfilerMissing, StartFailed) as failure:
        console.print(str(failure), style="red", markup=False, soft_wrap=True)
        sys.exit(1)
