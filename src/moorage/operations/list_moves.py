"""List moves, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from moorage.domain.move_record import MoveFilter, MoveRecord
from moorage.operations.services import Services
from moorage.operations.show_move import show_move
from moorage.store.move_records import read_moves


@dataclass(frozen=True, slots=True)
class MovesPage:
    """Some moves, oldest first; ``more``: there are others behind them."""

    moves: Sequence[MoveRecord]
    more: bool


def list_moves(
    services: Services, wanted: MoveFilter, *, marker: str | None, most: int
) -> MovesPage:
    """The moves for which every part of a filter holds, oldest first.

    Args:
        marker: the last move of the page before; None: from the beginning.
    Raises:
        UnknownMove: the marker is none.
    """
    after = None if marker is None else show_move(services, marker).id
    found = read_moves(services.store, wanted, after=after, most=most + 1)
    return MovesPage(found[:most], more=len(found) > most)
