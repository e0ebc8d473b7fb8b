"""Find the ways in which a request for resources can be served."""

from moorage.candidates import search
from moorage.candidates.answer import CandidatesAnswer
from moorage.candidates.request import CandidatesRequest
from moorage.operations.services import Services


def find_candidates(services: Services, request: CandidatesRequest) -> CandidatesAnswer:
    """Search the newest snapshot.

    Raises:
        UnknownResourceClass, UnknownTraits
    """
    rules = services.rules.search
    random = services.new_random() if rules.randomize else None
    return search.find_candidates(services.keeper.current(), request, rules, random=random)
