"""``moorage``: all commands."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from moorage import __version__
from moorage.cli import database, demo, policy, serving
from moorage.settings import SettingsInvalid

app = typer.Typer(
    help="The books of a compute cloud: OpenStack Placement's API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(database.app, name="db")
app.add_typer(policy.app, name="policy")
app.command("serve")(serving.serve)
app.command("demo")(demo.demo)


@app.command()
def version() -> None:
    """Show the version of Moorage."""
    Console().print(__version__, highlight=False)


@app.callback()
def choose_configuration(
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            exists=True,
            dir_okay=False,
            help="A placement.conf; the default is the one in $OS_PLACEMENT_CONFIG_DIR, else in"
            " /etc/placement.",
        ),
    ] = None,
) -> None:
    """The books of a compute cloud: OpenStack Placement's API."""
    if config_file is not None:
        serving.choose_config_file(config_file)


def main() -> None:
    """Run the command line; what an operator can mend is told in one line."""
    try:
        app()
    except SettingsInvalid as error:
        Console(stderr=True).print(f"moorage: {error}", style="red", highlight=False, markup=False)
        sys.exit(1)
