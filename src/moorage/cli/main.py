"""``moorage``: all commands."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from moorage import __version__
from moorage.cli import audit, database, demo, moves, policy, serving
from moorage.telemetry.redact import error_told

app = typer.Typer(
    help="The books of a compute cloud: OpenStack Placement's API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(database.app, name="db")
app.add_typer(policy.app, name="policy")
app.add_typer(moves.app, name="moves")
app.command("serve")(serving.serve)
app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.command("heal")(audit.heal)
app.command("undo")(audit.undo)


@app.command()
def version() -> None:
    """Show the version of Moorage."""
    Console().print(__version__, highlight=False)


def _show_version(value: bool) -> None:
    if value:
        version()
        raise typer.Exit


@app.callback()
def begin(
    *,
    show_version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version of Moorage."
        ),
    ] = False,
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
    """Run the command line. What goes wrong is told in one line, never with a traceback."""
    try:
        app()
    except Exception as error:  # noqa: BLE001 - the end of the program
        Console(stderr=True).print(
            f"moorage: {_told(error)}", style="red", markup=False, soft_wrap=True
        )
        sys.exit(1)


def _told(error: Exception) -> str:
    """Our own words about what an operator can mend; of anything else its type and place."""
    from moorage.cli.books import BooksAbsent  # noqa: PLC0415 - slow to import
    from moorage.cli.instances_file import InstancesInvalid  # noqa: PLC0415
    from moorage.cli.nova import NovaUnavailable  # noqa: PLC0415
    from moorage.serve import OPERATOR_ERRORS  # noqa: PLC0415

    if isinstance(error, (*OPERATOR_ERRORS, BooksAbsent, InstancesInvalid, NovaUnavailable)):
        return str(error)
    facts = error_told(error)
    causes = "".join(f", from {cause}" for cause in facts.get("causes", ()))
    code = f", code {facts['database_code']}" if "database_code" in facts else ""
    return f"{facts['error']}{causes}{code}, in {facts['places'][-1]}"
