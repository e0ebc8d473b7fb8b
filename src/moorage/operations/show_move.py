"""Show a move."""

from moorage.domain.move_record import MoveRecord
from moorage.domain.refusals import UnknownMove
from moorage.operations.services import Services
from moorage.store.move_records import read_move


def show_move(services: Services, uuid: str) -> MoveRecord:
    """A move by its uuid, whether it was ordered or observed, open or over.

    Raises:
        UnknownMove
    """
    found = read_move(services.store, uuid)
    if found is None:
        raise UnknownMove(uuid)
    return found
