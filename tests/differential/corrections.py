"""Upstream's faults in merging candidates, each of which can be taken away for one question.

A wrong answer that depends on the order in which upstream happens to visit things cannot be
foretold, and a rule that only knew what it looks like would hide faults of ours. So where the
candidates differ, upstream is asked again without the fault, and must then give exactly our answer.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Fault:
    """``attribute`` of ``owner`` is wrong, and ``right`` can stand in for it.

    ``reason``: the line for operators.
    """

    name: str
    reason: str
    owner: str
    attribute: str
    right: Any


def _copy_always(search: Any, part: Any) -> Any:
    return copy.copy(part)


def _same_for_the_same_tree(one: Any, other: Any) -> bool:
    return (
        one.anchor_root_provider_uuid == other.anchor_root_provider_uuid
        and set(one.resource_requests) == set(other.resource_requests)
        and one.mappings == other.mappings
    )


AMOUNTS_ADDED_UP = Fault(
    "amounts-added-up",
    "Candidates with one class in two groups and a group_policy other than none: upstream adds "
    "the amounts up across candidates (resources=PCPU:1,VGPU:1&resources1=PCPU:2 gives PCPU 7 "
    "instead of 3) and drops those whose sum has become more than the provider has; Moorage gives "
    "the sum of the groups that the provider serves.",
    # The amounts of a group are written over while candidates are put together from the groups,
    # but for group_policy=none, where upstream takes a copy.
    "placement.objects.research_context.RequestWideSearchContext",
    "copy_arr_if_needed",
    _copy_always,
)
TREES_LOST = Fault(
    "trees-lost",
    "Candidates whose group without suffix is served in the same way for several trees, because "
    "sharing providers give all of it: upstream keeps the first of these trees, so that the other "
    "groups find no candidate in the others; Moorage looks into each.",
    # The answers for the group are put into a set, in which the tree they are for does not count.
    "placement.objects.allocation_candidate.AllocationRequest",
    "__eq__",
    _same_for_the_same_tree,
)
# One alone first: what is told of a difference is all that it takes.
CORRECTIONS: Sequence[Sequence[Fault]] = (
    (AMOUNTS_ADDED_UP,),
    (TREES_LOST,),
    (AMOUNTS_ADDED_UP, TREES_LOST),
)


@contextmanager
def without(faults: Sequence[Fault]) -> Iterator[None]:
    """Upstream's code in this process is without these faults meanwhile."""
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(patch(f"{fault.owner}.{fault.attribute}", fault.right))
        yield
