"""Which traits a provider has, and which aggregates it is in."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Insert, TextClause, insert

from moorage.domain.ids import Generation, ProviderId
from moorage.store.names import Named
from moorage.store.sql import query, statement
from moorage.store.store import Store
from moorage.store.tables import resource_provider_aggregates, resource_provider_traits
from moorage.store.transaction import Transaction

_AGGREGATES = query(
    """SELECT p.generation, n.uuid
       FROM resource_providers p
       LEFT JOIN resource_provider_aggregates l ON l.resource_provider_id = p.id
       LEFT JOIN placement_aggregates n ON n.id = l.aggregate_id
       WHERE p.uuid = :uuid
       ORDER BY n.id"""
)
_TRAITS = query(
    """SELECT p.generation, n.id, n.name, COALESCE(n.updated_at, n.created_at) AS modified_at
       FROM resource_providers p
       LEFT JOIN resource_provider_traits l ON l.resource_provider_id = p.id
       LEFT JOIN traits n ON n.id = l.trait_id
       WHERE p.uuid = :uuid
       ORDER BY n.id""",
    modified_at=DateTime,
)
_LINKED_AGGREGATES = query(
    """SELECT n.id, n.uuid FROM resource_provider_aggregates l
       JOIN placement_aggregates n ON n.id = l.aggregate_id
       WHERE l.resource_provider_id = :id"""
)
_LINKED_TRAITS = query(
    """SELECT n.id, n.name FROM resource_provider_traits l JOIN traits n ON n.id = l.trait_id
       WHERE l.resource_provider_id = :id"""
)
_LINK_AGGREGATE = insert(resource_provider_aggregates).inline()
_LINK_TRAIT = insert(resource_provider_traits).inline()
_UNLINK_AGGREGATES = statement(
    """DELETE FROM resource_provider_aggregates
       WHERE resource_provider_id = :id AND aggregate_id IN :gone""",
    many=("gone",),
)
_UNLINK_TRAITS = statement(
    "DELETE FROM resource_provider_traits WHERE resource_provider_id = :id AND trait_id IN :gone",
    many=("gone",),
)


def read_aggregates(store: Store, provider: str) -> tuple[Generation, list[str]] | None:
    """Generation and aggregates of a provider, None for an unknown one."""
    rows = store.read(_AGGREGATES, {"uuid": provider})
    if not rows:
        return None
    return Generation(rows[0].generation or 0), [row.uuid for row in rows if row.uuid is not None]


def read_provider_traits(store: Store, provider: str) -> tuple[Generation, list[Named]] | None:
    """Generation and traits of a provider, None for an unknown one."""
    rows = store.read(_TRAITS, {"uuid": provider})
    if not rows:
        return None
    found = [Named(row.id, row.name, row.modified_at) for row in rows if row.name is not None]
    return Generation(rows[0].generation or 0), found


def load_linked_aggregates(tx: Transaction, provider: ProviderId) -> dict[str, int]:
    """Row ids by uuid of the aggregates that a provider is in."""
    return {row.uuid: row.id for row in tx.execute(_LINKED_AGGREGATES, {"id": provider})}


def load_linked_traits(tx: Transaction, provider: ProviderId) -> dict[str, int]:
    """Row ids by name of the traits that a provider has."""
    return {row.name: row.id for row in tx.execute(_LINKED_TRAITS, {"id": provider})}


def link_aggregates(
    tx: Transaction,
    provider: ProviderId,
    *,
    added: Iterable[int],
    gone: Iterable[int],
    at: datetime,
) -> None:
    """Put a locked provider into aggregates and take it out of others."""
    rows = [
        {"resource_provider_id": provider, "aggregate_id": key, "created_at": at} for key in added
    ]
    _replace(tx, _UNLINK_AGGREGATES, _LINK_AGGREGATE, provider, list(gone), rows)


def link_traits(
    tx: Transaction,
    provider: ProviderId,
    *,
    added: Iterable[int],
    gone: Iterable[int],
    at: datetime,
) -> None:
    """Give a locked provider traits and take others away."""
    rows = [{"resource_provider_id": provider, "trait_id": key, "created_at": at} for key in added]
    _replace(tx, _UNLINK_TRAITS, _LINK_TRAIT, provider, list(gone), rows)


def _replace(  # noqa: PLR0917
    tx: Transaction,
    unlink: TextClause,
    link: Insert,
    provider: ProviderId,
    gone: list[int],
    rows: list[dict[str, Any]],
) -> None:
    if gone:
        tx.execute(unlink, {"id": provider, "gone": gone})
    tx.insert_many(link, rows)
