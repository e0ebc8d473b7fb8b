"""``python -m bench.growth``: what 10,000, 100,000 and a million hosts cost one process.

Moorage alone. The fleet is written straight into the database, as its own service would leave it.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import sqlalchemy
import typer
from rich.console import Console
from sqlalchemy import Connection, bindparam, text

from bench import report
from bench.agreement import fetch
from bench.fleets import HOST_INVENTORIES, HOST_TRAITS, ZONES, sharing_search
from bench.load import drive, in_turn
from bench.servers import REPOSITORY, WORKERS, Contestant, serve, serve_database
from bench.wire import build_request
from moorage.candidates.request import CandidatesRequest, RequestGroup, SearchRules
from moorage.candidates.rows import (
    AggregateLink,
    InventoryRow,
    ProviderRow,
    Rows,
    TraitLinks,
    UsageRow,
)
from moorage.candidates.search import find_candidates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ConsumerUuid
from moorage.store.tables import resource_providers
from tests.support.books import claim_for, hold, now, open_services, services_on
from tests.support.cpu import list_descendants, load_cpu_s, load_memory_mib
from tests.support.databases import DatabaseKind
from tests.support.deployments import Subject
from tests.support.ids import new_uuid

SMALL, LARGE, HUGE = 10_000, 100_000, 1_000_000
ROWS_AT_ONCE: Final = 10_000
SEARCHES: Final = 2_000
CLAIMS: Final = 200
FIRST_ASKED: Final = 20
IN_MEMORY: Final = "memory"
HISTORY: Final = report.HISTORY / "growth.jsonl"

GROWTH_MAX: Final = 3.0
HUGE_MS_MAX: Final = 50.0
LARGE_BOUNDS: Final = {"memory_mib": 300.0, "load_s": 15.0, "catch_up_cpu_ms": 1.0}

console = Console(soft_wrap=True)


def main(
    database: Annotated[list[DatabaseKind] | None, typer.Option(help="May be repeated.")] = None,
    huge: Annotated[bool, typer.Option(help="A million hosts too, in memory alone.")] = True,
    check: Annotated[bool, typer.Option(help="Exit with 1 where a bound is missed.")] = False,
    record: Annotated[bool, typer.Option(help=f"Add the figures to {HISTORY.name}.")] = False,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure how Moorage grows with the fleet."""
    if child:
        print(json.dumps(measure_huge() if child == IN_MEMORY else measure_following(child)))
        return
    found: dict[str, Any] = {}
    for kind in database or [DatabaseKind.POSTGRESQL]:
        found[kind.value] = measure_on(kind)
    if huge:
        found["memory"] = in_child(IN_MEMORY)
    misses = list(find_misses(found))
    for where, figures in found.items():
        console.print(where, figures)
    for miss in misses:
        console.print(miss, style="red")
    if record:
        line = report.find_conditions({}) | {"figures": found}
        with HISTORY.open("a") as history:
            history.write(json.dumps(line) + "\n")
    if check and misses:
        sys.exit(1)


def measure_on(kind: DatabaseKind) -> dict[str, Any]:
    """The figures of both sizes on one kind of database."""
    figures: dict[str, Any] = {}
    with serve_database(kind) as database, tempfile.TemporaryDirectory() as home:
        for hosts in (SMALL, LARGE):
            name = f"hosts_{hosts}"
            url = database.server.create_database(name)
            with console.status(f"{kind.value}: {hosts:,} hosts"):
                seed(url, hosts)
                with serve(Subject.MOORAGE, Path(home) / name, url) as served:
                    figures[name] = measure_serving(served) | in_child(url)
        return figures | {"version": database.describe(url)}


def measure_serving(served: Contestant) -> dict[str, float]:
    """What the first answers and those after them cost, and what the processes hold then."""
    workers = list_descendants(served.pid)
    before = {pid: load_cpu_s(pid) for pid in workers}
    began = time.perf_counter()
    search = f"{sharing_search()}&limit=10"
    # A connection each, so that every process is asked.
    fetch(served.address, search)
    first_s = time.perf_counter() - began
    for _ in range(FIRST_ASKED * WORKERS):
        fetch(served.address, search)
    load_cpu_s_max = max(load_cpu_s(pid) - before[pid] for pid in workers)
    cpu_before = sum(map(load_cpu_s, workers))
    searches = (in_turn(build_request("GET", search)) for _ in range(SEARCHES))
    outcome = drive(served.address, searches, clients=1)
    searched_s = sum(map(load_cpu_s, workers)) - cpu_before
    latencies = sorted(outcome.latencies_ms)
    return {
        "first_answer_s": round(first_s, 2),
        "loading_cpu_s": round(load_cpu_s_max, 2),
        "limit_10_cpu_ms": round(searched_s * 1e3 / len(latencies), 3),
        "limit_10_p50_ms": round(latencies[len(latencies) // 2], 3),
        "memory_mib": round(max(map(load_memory_mib, workers)), 1),
    }


def measure_following(url: str) -> dict[str, float]:
    """In this process: loading, and following the claims of others."""
    reader = open_services(url, upgrade=False)
    cpu, wall = time.process_time(), time.perf_counter()
    snapshot = reader.keeper.current()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    writer = services_on(reader.store)
    spent_s = 0.0
    for number in range(CLAIMS):
        host = snapshot.uuids[number * (len(snapshot) // CLAIMS)]
        hold(writer, claim_for(ConsumerUuid(new_uuid()), {host: {"VCPU": 1, "MEMORY_MB": 1}}))
        began = time.process_time()
        reader.keeper.current()
        spent_s += time.process_time() - began
    reader.store.close()
    return {
        "load_cpu_s": round(cpu, 2),
        "load_s": round(wall, 2),
        "catch_up_cpu_ms": round(spent_s * 1e3 / CLAIMS, 3),
    }


def measure_huge() -> dict[str, float]:
    """In this process, without a database: a million hosts."""
    began = time.process_time()
    snapshot = Snapshot.build(make_rows(HUGE))
    built_s = time.process_time() - began
    asked = RequestGroup("", (("VCPU", 1), ("MEMORY_MB", 64), ("DISK_GB", 1)))
    request = CandidatesRequest((asked,), limit=10)
    spent_ms = []
    for _ in range(100):
        began = time.process_time()
        answer = find_candidates(snapshot, request, SearchRules())
        assert sum(len(run.providers) for run in answer.runs()) == 10
        answer.summarized()
        spent_ms.append((time.process_time() - began) * 1e3)
    return {
        "hosts": len(snapshot),
        "build_cpu_s": round(built_s, 2),
        "limit_10_ms": round(sorted(spent_ms)[len(spent_ms) // 2], 3),
    }


def make_rows(hosts: int) -> Rows:
    """Flat hosts as rows of a database."""
    ids = range(1, hosts + 1)
    at = now()
    offers = [(key, offer) for key, offer in enumerate(HOST_INVENTORIES.values())]
    return Rows(
        providers=(ProviderRow(key, new_uuid(), f"host-{key}", 3, None, at) for key in ids),
        inventories=(
            InventoryRow(
                key, class_id, offer["total"], offer.get("reserved", 0), 1, offer["max_unit"], 1,
                offer.get("allocation_ratio", 1.0),
            )
            for key in ids
            for class_id, offer in offers
        ),
        usages=(UsageRow(key, class_id, key % 50) for key in ids for class_id, _ in offers),
        traits=(TraitLinks(key, tuple(range(len(HOST_TRAITS)))) for key in ids),
        aggregates=(AggregateLink(key, f"zone-{key % ZONES}") for key in ids),
        class_names=dict(enumerate(HOST_INVENTORIES)),
        trait_names=dict(enumerate(HOST_TRAITS)),
    )  # fmt: skip


def in_child(what: str) -> dict[str, float]:
    """The figures that a process of its own finds."""
    finished = subprocess.run(
        [sys.executable, "-m", "bench.growth", "--child", what],
        check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(finished.stdout)
    return figures


def seed(url: str, hosts: int) -> None:
    """Write a flat fleet as the service would have left it."""
    store = open_services(url).store
    store.close()
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        for first in range(1, hosts + 1, ROWS_AT_ONCE):
            connection.execute(
                resource_providers.insert(),
                [
                    {
                        "id": key, "uuid": new_uuid(), "name": f"host-{key}", "generation": 3,
                        "root_provider_id": key, "created_at": now(), "updated_at": now(),
                    }
                    for key in range(first, min(first + ROWS_AT_ONCE, hosts + 1))
                ],
            )  # fmt: skip
        for name, offer in HOST_INVENTORIES.items():
            connection.execute(_OFFER, {"reserved": 0, "ratio": 1.0, "name": name} | _spelt(offer))
        connection.execute(_ZONES, [{"id": n + 1, "uuid": new_uuid()} for n in range(ZONES)])
        for statement in (_USE, _JOIN_ZONES):
            connection.execute(statement, {"zones": ZONES})
        connection.execute(_HAVE_TRAITS, {"names": HOST_TRAITS})
        _analyze(connection)


def _spelt(offer: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("allocation_"): value for name, value in offer.items()}


def _analyze(connection: Connection) -> None:
    """What a database does by itself some time after so many rows have come."""
    for table in (
        "resource_providers",
        "inventories",
        "moorage_usages",
        "resource_provider_traits",
    ):
        verb = "ANALYZE TABLE" if connection.dialect.name == "mysql" else "ANALYZE"
        connection.execute(text(f"{verb} {table}"))


_OFFER = text(
    """INSERT INTO inventories (resource_provider_id, resource_class_id, total, reserved, min_unit,
                                 max_unit, step_size, allocation_ratio)
       SELECT p.id, c.id, :total, :reserved, 1, :max_unit, 1, :ratio
       FROM resource_providers p CROSS JOIN resource_classes c WHERE c.name = :name"""
)
_USE = text(
    """INSERT INTO moorage_usages (resource_provider_id, resource_class_id, used)
       SELECT i.resource_provider_id, i.resource_class_id, i.resource_provider_id % 50
       FROM inventories i"""
)
_ZONES = text("INSERT INTO placement_aggregates (id, uuid) VALUES (:id, :uuid)")
_JOIN_ZONES = text(
    """INSERT INTO resource_provider_aggregates (resource_provider_id, aggregate_id)
       SELECT p.id, p.id % :zones + 1 FROM resource_providers p"""
)
_HAVE_TRAITS = text(
    """INSERT INTO resource_provider_traits (resource_provider_id, trait_id)
       SELECT p.id, t.id FROM resource_providers p CROSS JOIN traits t WHERE t.name IN :names"""
).bindparams(bindparam("names", expanding=True))


def find_misses(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Every bound that the figures break, in words."""
    for kind, figures in found.items():
        if kind == IN_MEMORY:
            yield from _exceeding(kind, {"limit_10_ms": HUGE_MS_MAX}, figures)
            continue
        small, large = figures[f"hosts_{SMALL}"], figures[f"hosts_{LARGE}"]
        growth = {
            f"{name} of {LARGE:,} over {SMALL:,} hosts": large[name] / small[name]
            for name in ("limit_10_cpu_ms", "limit_10_p50_ms")
        }
        yield from _exceeding(kind, dict.fromkeys(growth, GROWTH_MAX), growth)
        yield from _exceeding(kind, LARGE_BOUNDS, large)


def _exceeding(
    where: str, bounds: Mapping[str, float], figures: Mapping[str, float]
) -> Iterator[str]:
    for name, bound in bounds.items():
        if not figures[name] <= bound:
            yield f"{where}: {name} is {figures[name]:g}, at most {bound:g} is due"


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
