"""Say what the constraints of a search leave of the roots."""

from moorage.candidates.explain import explain
from moorage.candidates.request import CandidatesRequest
from moorage.domain.explanation import Explanation
from moorage.operations.services import Services


def explain_search(services: Services, request: CandidatesRequest) -> Explanation:
    """Apply a request's constraints to the newest snapshot, one after the other.

    Raises:
        UnknownResourceClass, UnknownTraits: a name in the request does not exist.
    """
    return explain(services.keeper.current(), request)
