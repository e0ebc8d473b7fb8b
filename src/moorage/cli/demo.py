"""``moorage demo``: a short tour against a running server.

A small fleet with a shared storage pool, an instance, and a migration told exactly as Nova tells
one: the instance's allocations go to the migration's consumer, the scheduler finds and claims a
destination, and the confirmation empties the migration's consumer. Then the same as a move of our
own API, in three requests.
"""

import sys
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from moorage.cli.placement_client import PlacementClient, Unexpected

MICROVERSION: Final = "1.39"

_MOVES: Final = "/moorage/v1/moves"
_WORLD: Final = uuid.UUID("6d6f6f72-6167-4520-8465-6d6f00000000")
_HOSTS: Final = 4
_HOST_STOCK: Final = {
    "VCPU": {"total": 16, "allocation_ratio": 4.0},
    "MEMORY_MB": {"total": 65_536, "reserved": 512},
}
_POOL_STOCK: Final = {"DISK_GB": {"total": 1_000}}
_WANTED: Final = "VCPU:4,MEMORY_MB:8192,DISK_GB:100"

Allocations = Mapping[str, Mapping[str, Any]]


def demo(
    url: Annotated[str, typer.Option(help="The running service.")] = "http://127.0.0.1:8778",
    token: Annotated[
        str, typer.Option(envvar="OS_TOKEN", help="With noauth2, admin is one.")
    ] = "admin",  # noqa: S107 - no secret: the word that noauth2 knows
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Only remove what an earlier tour left there.")
    ] = False,
) -> None:
    """Take a short tour: register hosts and a pool, place an instance, migrate it, order a move."""
    console = Console()
    try:
        tour = Tour(PlacementClient(url, token=token, microversion=MICROVERSION), console)
        tour.clean_up()
        if not cleanup:
            tour.run()
            console.print("\nIt stays to be looked at; [b]moorage demo --cleanup[/b] removes it.")
    except Unexpected as error:
        Console(stderr=True).print(
            f"moorage: {error}", style="red", highlight=False, markup=False, soft_wrap=True
        )
        sys.exit(1)


class Tour:
    """The tour's world: its ids are always the same, so that it can be run again."""

    def __init__(self, client: PlacementClient, console: Console) -> None:
        self._client = client
        self._console = console
        self._hosts = {_id(name): name for name in (f"demo-host-{n + 1}" for n in range(_HOSTS))}
        self._pool = {_id("demo-pool"): "demo-pool"}
        self._aggregate = _id("aggregate")
        self._instance = _id("instance")
        self._migration = _id("migration")

    def run(self) -> None:
        """The whole tour."""
        self._register_fleet()
        source = self._place_instance()
        self._show_usages("Before the migration")
        self._swap_to_migration()
        self._claim_destination(source)
        self._show_usages("While the instance migrates")
        self._confirm()
        self._show_usages("After the confirmation")
        self._order_move()

    def clean_up(self) -> None:
        """Remove what a tour leaves behind, as far as it is there."""
        open_moves = f"{_MOVES}?consumer={self._instance}&open=true"
        left = self._client.ask("GET", open_moves, absent_is_fine=True) or {"moves": []}
        holds = [move["hold"] for move in left["moves"]]
        for consumer in (self._instance, self._migration, *holds):
            self._client.ask("DELETE", f"/allocations/{consumer}", absent_is_fine=True)
        for provider in (*self._hosts, *self._pool):
            self._client.ask("DELETE", f"/resource_providers/{provider}", absent_is_fine=True)

    def _register_fleet(self) -> None:
        fleet = {**self._hosts, **self._pool}
        for provider, name in track(
            fleet.items(), description="Registering hosts and their pool", console=self._console
        ):
            ask = self._client.ask
            made = ask("POST", "/resource_providers", {"uuid": provider, "name": name})
            stocked = ask(
                "PUT",
                f"/resource_providers/{provider}/inventories",
                {
                    "resource_provider_generation": made["generation"],
                    "inventories": _POOL_STOCK if provider in self._pool else _HOST_STOCK,
                },
            )
            joined = ask(
                "PUT",
                f"/resource_providers/{provider}/aggregates",
                {
                    "resource_provider_generation": stocked["resource_provider_generation"],
                    "aggregates": [self._aggregate],
                },
            )
            if provider in self._pool:
                ask(
                    "PUT",
                    f"/resource_providers/{provider}/traits",
                    {
                        "resource_provider_generation": joined["resource_provider_generation"],
                        "traits": ["MISC_SHARES_VIA_AGGREGATE"],
                    },
                )

    def _place_instance(self) -> str:
        """Claim the first candidate for the instance; returns its host."""
        found = self._find_candidates(request_id=None)
        table = Table("candidate", "provider", "holds", title=f"Candidates for {_WANTED}")
        for number, candidate in enumerate(found, start=1):
            for provider, share in candidate["allocations"].items():
                table.add_row(str(number), self._name(provider), _amounts(share["resources"]))
        self._console.print(table)
        self._claim(found[0]["allocations"], request_id=None)
        return self._host_of(found[0]["allocations"])

    def _swap_to_migration(self) -> None:
        """Give the instance's allocations to the migration, as Nova's conductor does."""
        held = self._client.ask("GET", f"/allocations/{self._instance}")
        owner = {name: held[name] for name in ("project_id", "user_id")}
        self._client.ask(
            "POST",
            "/allocations",
            {
                self._instance: owner
                | {
                    "allocations": {},
                    "consumer_generation": held["consumer_generation"],
                    "consumer_type": "INSTANCE",
                },
                self._migration: owner
                | {
                    "allocations": _without_generations(held["allocations"]),
                    "consumer_generation": None,
                    "consumer_type": "MIGRATION",
                },
            },
            request_id=_MIGRATE_REQUEST,
        )

    def _claim_destination(self, source: str) -> None:
        elsewhere = [
            candidate["allocations"]
            for candidate in self._find_candidates(request_id=_MIGRATE_REQUEST)
            if source not in candidate["allocations"]
        ]
        if not elsewhere:
            raise Unexpected("no candidate on another host")
        self._claim(elsewhere[0], request_id=_MIGRATE_REQUEST)
        self._console.print(
            f"\nMigrating from [b]{self._name(source)}[/b]"
            f" to [b]{self._name(self._host_of(elsewhere[0]))}[/b]"
        )

    def _confirm(self) -> None:
        """Drop what the migration holds, as Nova does when the user confirms."""
        held = self._client.ask("GET", f"/allocations/{self._migration}")
        self._client.ask(
            "PUT",
            f"/allocations/{self._migration}",
            {
                "allocations": {},
                "project_id": held["project_id"],
                "user_id": held["user_id"],
                "consumer_generation": held["consumer_generation"],
                "consumer_type": "MIGRATION",
            },
            request_id=_CONFIRM_REQUEST,
        )

    def _order_move(self) -> None:
        """Move the instance as a client of /moorage/v1 does, and show the pool at each step."""
        table = Table("step", "state", "on", "pool's DISK_GB", title="A move by our own API")
        path = f"{_MOVES}/{uuid.uuid4()}"
        order = {
            "consumer": self._instance,
            "kind": "migrate",
            "trees": {"use": list(self._hosts)},
        }
        move = self._client.ask("PUT", path, order)["move"]
        for step in ("order", "start", "confirm"):
            if step != "order":
                body = {"generation": move["generation"]}
                move = self._client.ask("POST", f"{path}/{step}", body)["move"]
            places = [move["destination"]["allocations"]]
            if move["state"] != "confirmed":
                places.insert(0, move["source"])
            hosts = " and ".join(self._name(self._host_of(place)) for place in places)
            (pool,) = self._pool
            used = self._client.ask("GET", f"/resource_providers/{pool}/usages")["usages"]
            table.add_row(step, move["state"], hosts, str(used["DISK_GB"]))
        self._console.print()
        self._console.print(table)

    def _find_candidates(self, *, request_id: str | None) -> list[dict[str, Any]]:
        answer = self._client.ask(
            "GET",
            f"/allocation_candidates?resources={_WANTED}&member_of={self._aggregate}&limit=20",
            request_id=request_id,
        )
        if not answer["allocation_requests"]:
            raise Unexpected("no candidates")
        return list(answer["allocation_requests"])

    def _claim(self, allocations: Allocations, *, request_id: str | None) -> None:
        self._client.ask(
            "PUT",
            f"/allocations/{self._instance}",
            {
                "allocations": allocations,
                "project_id": _id("project"),
                "user_id": _id("user"),
                "consumer_generation": None,
                "consumer_type": "INSTANCE",
            },
            request_id=request_id,
        )

    def _show_usages(self, title: str) -> None:
        table = Table("provider", "VCPU", "MEMORY_MB", "DISK_GB", title=title)
        for provider, name in {**self._hosts, **self._pool}.items():
            used = self._client.ask("GET", f"/resource_providers/{provider}/usages")["usages"]
            table.add_row(
                name, *(str(used.get(name, "")) for name in ("VCPU", "MEMORY_MB", "DISK_GB"))
            )
        self._console.print()
        self._console.print(table)

    def _host_of(self, allocations: Allocations) -> str:
        return next(provider for provider in allocations if provider in self._hosts)

    def _name(self, provider: str) -> str:
        return {**self._hosts, **self._pool}.get(provider, provider)


def _id(name: str) -> str:
    return str(uuid.uuid5(_WORLD, name))


_MIGRATE_REQUEST: Final = f"req-{_id('migrate')}"
_CONFIRM_REQUEST: Final = f"req-{_id('confirm')}"


def _amounts(resources: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in sorted(resources.items()))


def _without_generations(allocations: Allocations) -> dict[str, dict[str, Any]]:
    return {provider: {"resources": share["resources"]} for provider, share in allocations.items()}
