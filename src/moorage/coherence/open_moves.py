"""Which open moves were begun with which global request id."""

from collections.abc import Collection, Iterable

from moorage.domain.ids import MoveUuid
from moorage.store.journal import MOVE_BEGIN_KIND, MOVE_END_KINDS, MoveNews

_NONE: Collection[MoveUuid] = ()


class OpenMoves:
    """The open moves of clients that send request ids, followed from the journal.

    A search looks here for moves of its own request, mostly to find none: one look-up in a
    dictionary. Whoever finds some asks the store what they are, so this may name one too many.
    """

    def __init__(self, moves: Iterable[tuple[MoveUuid, str]] = ()) -> None:
        """``moves``: with the request id that each was begun with."""
        self._request_ids: dict[MoveUuid, str] = {}
        self._by_request_id: dict[str, tuple[MoveUuid, ...]] = {}
        for uuid, request_id in moves:
            self._begin(uuid, request_id)

    def begun_with(self, request_id: str | None) -> Collection[MoveUuid]:
        """The moves that a request with this id began, oldest first; none for None."""
        return self._by_request_id.get(request_id, _NONE) if request_id else _NONE

    def follow(self, news: Iterable[MoveNews]) -> None:
        """Take in what the journal says of moves."""
        for item in news:
            if item.kind == MOVE_BEGIN_KIND and item.global_request_id:
                self._begin(item.move, item.global_request_id)
            elif item.kind in MOVE_END_KINDS:
                self._end(item.move)

    def _begin(self, uuid: MoveUuid, request_id: str) -> None:
        if uuid not in self._request_ids:
            self._request_ids[uuid] = request_id
            # A new tuple: whoever has the old one may be reading it.
            others = self._by_request_id.get(request_id, ())
            self._by_request_id[request_id] = (*others, uuid)

    def _end(self, uuid: MoveUuid) -> None:
        request_id = self._request_ids.pop(uuid, None)
        if request_id is None:
            return
        others = tuple(one for one in self._by_request_id[request_id] if one != uuid)
        if others:
            self._by_request_id[request_id] = others
        else:
            del self._by_request_id[request_id]
