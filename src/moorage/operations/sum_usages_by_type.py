"""Add up what the consumers of a project hold, by type of consumer."""

from collections.abc import Sequence
from typing import Final

from moorage.domain.consumer import UsageGroup
from moorage.operations.services import Services

ALL_TYPES: Final = "all"
"""Asks for one group of all consumers."""

UNKNOWN_TYPE: Final = "unknown"
"""Names the consumers that were never given a type."""


def sum_usages_by_type(
    services: Services, *, project_id: str, user_id: str | None, consumer_type: str | None
) -> Sequence[UsageGroup]:
    """Units held and number of consumers: of each type, of one type, or of all together."""
    groups = services.sums.of(project_id, user_id=user_id)
    if consumer_type == ALL_TYPES:
        return _together(list(groups.values()))
    named = {name or UNKNOWN_TYPE: group for name, group in groups.items()}
    wanted = [consumer_type] if consumer_type else list(named)
    return [
        UsageGroup(name, named[name].consumer_count, named[name].used)
        for name in wanted
        if name in named
    ]


def _together(groups: Sequence[UsageGroup]) -> Sequence[UsageGroup]:
    if not groups:
        return []
    used: dict[str, int] = {}
    for group in groups:
        for name, amount in group.used.items():
            used[name] = used.get(name, 0) + amount
    return [UsageGroup(ALL_TYPES, sum(group.consumer_count for group in groups), used)]
