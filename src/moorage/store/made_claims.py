"""What the journal says about consumers whose allocations a claim of our own API made."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from moorage.domain.ids import ConsumerUuid
from moorage.store.sql import Load, query
from moorage.store.store import Store
from moorage.store.transaction import Transaction

MADE_KIND: Final = "claim.made"
"""Written behind the change of the allocations itself, in its transaction."""

_SQL: Final = f"""SELECT j.subject, j.kind, j.request_id, j.after FROM moorage_journal j
    WHERE j.id IN (SELECT MAX(i.id) FROM moorage_journal i
                   WHERE i.subject IN :consumers
                     AND (i.kind = '{MADE_KIND}' OR SUBSTR(i.kind, 1, 11) = 'allocation.')
                   GROUP BY i.subject)"""
_READ = query(_SQL, many=("consumers",))
_LOAD = Load(_SQL)


@dataclass(frozen=True, slots=True)
class MadeClaim:
    """The claim that made a consumer's allocations what they are: with which request, and how.

    ``record``: what the claim has written down about itself.
    """

    consumer: ConsumerUuid
    request_id: str
    record: Any


def read_made_claims(store: Store, consumers: Collection[str]) -> dict[ConsumerUuid, MadeClaim]:
    """The claims of those consumers whose allocations nothing has changed since."""
    return _made(store.read(_READ, {"consumers": sorted(consumers)}))


def load_made_claims(tx: Transaction, consumers: Collection[str]) -> dict[ConsumerUuid, MadeClaim]:
    """The same in a transaction."""
    return _made(tx.load(_LOAD, {"consumers": sorted(consumers)})) if consumers else {}


def _made(rows: Iterable[Any]) -> dict[ConsumerUuid, MadeClaim]:
    return {
        row.subject: MadeClaim(row.subject, row.request_id, msgspec.json.decode(row.after))
        for row in rows
        if row.kind == MADE_KIND
    }
