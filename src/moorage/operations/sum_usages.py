"""Add up what the consumers of a project hold."""

from collections.abc import Mapping

from moorage.operations.services import Services


def sum_usages(services: Services, *, project_id: str, user_id: str | None) -> Mapping[str, int]:
    """Units held by class name."""
    totals: dict[str, int] = {}
    for group in services.sums.of(project_id, user_id=user_id).values():
        for name, used in group.used.items():
            totals[name] = totals.get(name, 0) + used
    return totals
