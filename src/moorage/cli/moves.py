"""``moorage moves list`` and ``moorage moves show``: what moves, and what has become of it."""

import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from moorage.api.v1.moves import Move, MovesAnswer, MoveShown, move_told
from moorage.cli.books import open_books
from moorage.domain.move import MoveKind, MoveState
from moorage.domain.move_record import MoveFilter, MoveRecord
from moorage.domain.refusals import UnknownMove
from moorage.operations.list_moves import list_moves
from moorage.operations.show_move import show_move

ABSENT: Final = 4
"""Exit code where there is no such move."""

app = typer.Typer(help="Moves, ordered and observed, open and over.", no_args_is_help=True)

JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document, as /moorage/v1/moves has it.")
]


@app.command("list")
def list_command(
    *,
    is_open: Annotated[
        bool | None, typer.Option("--open/--over", help="Only moves that are open, or over.")
    ] = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", help="Only moves of this consumer.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Only moves of this project's consumers.")
    ] = None,
    kind: Annotated[MoveKind | None, typer.Option("--kind", help="Only of this kind.")] = None,
    state: Annotated[
        MoveState | None, typer.Option("--state", help="Only those in this state.")
    ] = None,
    marker: Annotated[
        str | None, typer.Option("--marker", help="Only moves behind this one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List moves, oldest first."""
    wanted = MoveFilter(
        consumer=consumer, project_id=project, kind=kind, state=state, is_open=is_open
    )
    with open_books() as services:
        try:
            page = list_moves(services, wanted, marker=marker, most=limit)
        except UnknownMove as refusal:
            _refuse(refusal)
        late = {move.uuid for move in page.moves if _is_late(move, services.clock())}
    moves = tuple(map(move_told, page.moves))
    behind = moves[-1].uuid if page.more else None
    if as_json:
        _write(MovesAnswer(moves=moves, marker=behind))
        return
    say = Console(highlight=False)
    say.print(_table(moves, late))
    if behind is not None:
        say.print(f"there are more: --marker {behind}", soft_wrap=True)


@app.command("show")
def show_command(
    uuid: Annotated[str, typer.Argument(help="The move's uuid.")], *, as_json: JsonOption = False
) -> None:
    """Show all that is known of a move."""
    with open_books() as services:
        try:
            move = move_told(show_move(services, uuid))
        except UnknownMove as refusal:
            _refuse(refusal)
    if as_json:
        _write(MoveShown(move=move))
        return
    say = Console(highlight=False, soft_wrap=True)
    for name, value in msgspec.to_builtins(move).items():
        if value not in (None, {}, []):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            say.print(f"{name}: {text}", markup=False)


def _is_late(move: MoveRecord, at: datetime) -> bool:
    return move.state.is_open and move.deadline is not None and move.deadline <= at


def _table(moves: Sequence[Move], late: Collection[str]) -> Table:
    table = Table()
    # On a screen of 80 characters too the uuids are whole: other commands take them.
    table.add_column("move, and its consumer", no_wrap=True)
    for name in ("kind", "state", "deadline"):
        table.add_column(name)
    for move in moves:
        reason = "" if move.outcome is None else f"\n({move.outcome.reason})"
        table.add_row(
            f"{move.uuid}\n{move.consumer}",
            move.kind,
            move.state + reason,
            f"{_short(move.deadline)}{' overdue' if move.uuid in late else ''}",
        )
    return table


def _short(moment: str | None) -> str:
    """A moment to the second, as people read it; always UTC."""
    return "" if moment is None else moment[:19].replace("T", " ")


def _write(document: MovesAnswer | MoveShown) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


def _refuse(refusal: UnknownMove) -> None:
    Console(stderr=True).print(
        f"moorage: there is no move {refusal.uuid}", style="red", markup=False, soft_wrap=True
    )
    sys.exit(ABSENT)
