"""Sums of allocations over the consumers of a project."""

from moorage.domain.consumer import UsageGroup
from moorage.store.sql import query
from moorage.store.store import Store

_SUMS = """
    SELECT held.consumer_type, rc.name AS class_name, held.used, 0 AS consumers
    FROM (
        SELECT ct.name AS consumer_type, a.resource_class_id, SUM(a.used) AS used
        FROM projects pr
        JOIN consumers c ON c.project_id = pr.id
        JOIN allocations a ON a.consumer_id = c.uuid
        LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
        {users}
        WHERE pr.external_id = :project
        GROUP BY ct.name, a.resource_class_id
    ) held
    JOIN resource_classes rc ON rc.id = held.resource_class_id
    UNION ALL
    SELECT ct.name AS consumer_type, NULL AS class_name, 0 AS used, COUNT(*) AS consumers
    FROM projects pr
    JOIN consumers c ON c.project_id = pr.id
    LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id
    {users}
    WHERE pr.external_id = :project
      AND EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = c.uuid)
    GROUP BY ct.name
"""
_USERS = "JOIN users us ON us.id = c.user_id AND us.external_id = :user"
_OF_PROJECT = query(_SUMS.format(users=""))
_OF_USER = query(_SUMS.format(users=_USERS))


def read_project_usages(
    store: Store, *, project_id: str, user_id: str | None
) -> dict[str | None, UsageGroup]:
    """What a project's consumers hold and how many they are, by type; None: without a type.

    Units and counts are of one moment, since one statement asks for both.
    """
    if user_id:
        rows = store.read(_OF_USER, {"project": project_id, "user": user_id})
    else:
        rows = store.read(_OF_PROJECT, {"project": project_id})
    used: dict[str | None, dict[str, int]] = {}
    counts: dict[str | None, int] = {}
    for row in rows:
        if row.class_name is None:
            counts[row.consumer_type] = int(row.consumers)
        else:
            used.setdefault(row.consumer_type, {})[row.class_name] = int(row.used)
    return {kind: UsageGroup(kind or "", counts[kind], used[kind]) for kind in used}
