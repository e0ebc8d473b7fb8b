"""``moorage policy``: what the site's policy says."""

import typer
from rich.console import Console
from rich.table import Table

from moorage.api.policy import Policy
from moorage.settings import load_settings

app = typer.Typer(help="Who may do what.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Who may do what."""


@app.command("list")
def list_rules() -> None:
    """Show the rule of every operation as it is in force here."""
    configuration = load_settings()
    policy = Policy(configuration.options, enforce_scope=configuration.settings.api.enforce_scope)
    table = Table("operation", "check")
    for name, check in policy.checks().items():
        table.add_row(name, check)
    Console().print(table)
