"""How /moorage/v1 tells errors: the one table's statuses and words, with codes of its own.

The code of a refusal is the name of its type (``moorage.capacity_exceeded``), that of any other
problem follows from its status. A test pins them all: clients match on them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moorage.api import errors
from moorage.api.errors import UNDEFINED, Problem
from moorage.domain.refusals import (
    ConsumerHolds,
    ConsumerInMove,
    MoveGenerationConflict,
    NothingFits,
    Refusal,
    StepImpossible,
)

CODES: Final = {
    400: "moorage.bad_request",
    401: "moorage.unauthenticated",
    403: "moorage.policy_denied",
    404: "moorage.not_found",
    405: "moorage.method_not_allowed",
    406: "moorage.not_acceptable",
    409: "moorage.conflict",
    413: "moorage.body_too_large",
    414: "moorage.uri_too_long",
    415: "moorage.media_type",
    500: "moorage.fault",
    503: "moorage.unavailable",
}
"""By status, for problems that are no refusals."""

FACTS: Final[Mapping[type[Refusal], tuple[str, ...]]] = {
    NothingFits: ("consumer", "explanation", "gave_up"),
    ConsumerHolds: ("consumer", "generation"),
    ConsumerInMove: ("consumer", "move"),
    MoveGenerationConflict: ("generation", "state"),
    StepImpossible: ("step", "state", "possible"),
}
"""The fields of a refusal that the error document has as they are, beside the words."""


def code_of(refusal: type[Refusal]) -> str:
    """``moorage.capacity_exceeded`` for CapacityExceeded."""
    return "moorage." + re.sub(r"(?<!^)(?=[A-Z])", "_", refusal.__name__).lower()


def tell_refusal(route: str, refusal: Refusal, path: Mapping[str, str]) -> Problem:
    """The problem that answers a refusal on a route of /moorage/v1."""
    told = errors.tell_refusal(route, refusal, path)
    return Problem(told.status, told.detail, code=code_of(type(refusal)), facts=_facts(refusal))


def _facts(refusal: Refusal) -> dict[str, Any]:
    names = FACTS.get(type(refusal), ())
    return {name: msgspec.to_builtins(getattr(refusal, name)) for name in names}


def own_code(problem: Problem) -> str:
    """The problem's code on /moorage/v1, where Placement's codes are not known."""
    if problem.code == UNDEFINED:
        return CODES[problem.status]
    return re.sub("^placement[.]", "moorage.", problem.code)
