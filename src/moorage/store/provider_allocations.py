"""What is held on one provider, as its agent asks for it all day long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from moorage.domain.ids import Generation, ProviderId
from moorage.store.sql import moment
from moorage.store.store import Store

# Consumers are not joined: a planner that goes by what providers hold on average may think it
# better to read all the consumers of the site.
_HELD: Final = """
    SELECT p.uuid, p.generation, a.consumer_id,
           (SELECT c.generation FROM consumers c WHERE c.uuid = a.consumer_id),
           rc.name, a.used, COALESCE(a.updated_at, a.created_at)
    FROM resource_providers p
    LEFT JOIN allocations a ON a.resource_provider_id = p.id
    LEFT JOIN resource_classes rc ON rc.id = a.resource_class_id
    WHERE p.id = ?
    ORDER BY a.consumer_id
"""


class HeldRow(NamedTuple):
    """Units of one class that one consumer holds on the provider."""

    consumer: str
    consumer_generation: int
    class_name: str
    used: int


@dataclass(frozen=True, slots=True)
class HeldRows:
    """Everything held on a provider, the rows of one consumer one after the other.

    ``modified_at`` is the newest change among them (naive UTC), None where nothing says so.
    """

    provider: str
    generation: Generation
    rows: Sequence[HeldRow]
    modified_at: datetime | None


def read_held_on(store: Store, provider: ProviderId) -> HeldRows | None:
    """What is held on a provider, None where there is none of this row id."""
    found = store.read_lean(_HELD, (provider,), is_frequent=True)
    if not found:
        return None
    newest = max((row[6] for row in found if row[6] is not None), default=None)
    return HeldRows(
        provider=found[0][0],
        generation=Generation(found[0][1] or 0),
        rows=[HeldRow(*row[2:6]) for row in found if row[3] is not None],
        modified_at=moment(newest),
    )
