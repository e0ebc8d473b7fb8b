"""Find the ways in which a request for resources can be served."""

from moorage.candidates import search
from moorage.candidates.answer import CandidatesAnswer
from moorage.candidates.request import CandidatesRequest
from moorage.operations.free_for_moves import free_for_moves
from moorage.operations.services import Services


def find_candidates(
    services: Services, request: CandidatesRequest, *, global_request_id: str | None = None
) -> CandidatesAnswer:
    """Search the newest snapshot.

    Args:
        global_request_id: of the user action that the search belongs to. What the hold of a move
            that it has begun has on pools is free for the move's consumer.
    Raises:
        UnknownResourceClass, UnknownTraits
    """
    rules = services.rules.search
    random = services.new_random() if rules.randomize else None
    snapshot = services.keeper.current()
    moves = services.keeper.moves_begun_with(global_request_id)
    if not moves or not services.rules.moves.observe:
        return search.find_candidates(snapshot, request, rules, random=random)
    seen = free_for_moves(services, snapshot, request, moves)
    answer = search.find_candidates(seen, request, rules, random=random)
    return answer.shown_in(snapshot)
