"""``moorage db``: the tables of the site's database."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from moorage.settings import load_settings

app = typer.Typer(help="The site's database.", no_args_is_help=True)


@app.command()
def upgrade(
    count_anew: Annotated[
        bool,
        typer.Option(
            "--count-anew",
            help="Also make all usages the sums of the allocations, as after a time in which"
            " another service wrote to the database.",
        ),
    ] = False,
) -> None:
    """Create the tables, or bring them up to what this version needs."""
    from moorage.serve import upgrade_database  # noqa: PLC0415 - slow to import

    def tell_absent(tries_left: int | None) -> None:
        left = "" if tries_left is None else f" ({tries_left} more times)"
        Console(stderr=True, highlight=False).print(
            f"the database does not answer yet; trying again{left}"
        )

    upgrade_database(
        load_settings().settings.database, count_anew=count_anew, tell_absent=tell_absent
    )
    Console().print("the database is up to date")


@app.command()
def status() -> None:
    """Say whether the tables are what this version needs; the exit code is 1 if they are not."""
    from moorage.serve import database_status  # noqa: PLC0415 - slow to import

    found = database_status(load_settings().settings.database)
    say = Console(highlight=False).print
    say(f"revision of the database: {found.found or 'none'}")
    say(f"revision this version needs: {found.wanted}")
    if not found.current:
        say("run moorage db upgrade")
        sys.exit(1)
