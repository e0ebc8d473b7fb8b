"""Which traits a provider has, and which aggregates it is in."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from moorage.domain.ids import ProviderId, ProviderUuid
from moorage.store.providers import LockedProvider, lock_providers_with
from moorage.store.sql import Insert, Load, Write
from moorage.store.tables import resource_provider_aggregates, resource_provider_traits
from moorage.store.transaction import Transaction

_LINKED_AGGREGATES = Load(
    """SELECT n.id, n.uuid FROM resource_providers p
       JOIN resource_provider_aggregates l ON l.resource_provider_id = p.id
       JOIN placement_aggregates n ON n.id = l.aggregate_id
       WHERE p.uuid IN :uuids"""
)
_LINKED_TRAITS = Load(
    """SELECT n.id, n.name FROM resource_providers p
       JOIN resource_provider_traits l ON l.resource_provider_id = p.id
       JOIN traits n ON n.id = l.trait_id
       WHERE p.uuid IN :uuids"""
)
_LINK_AGGREGATE = Insert(
    resource_provider_aggregates, ("resource_provider_id", "aggregate_id", "created_at")
)
_LINK_TRAIT = Insert(resource_provider_traits, ("resource_provider_id", "trait_id", "created_at"))
_UNLINK_AGGREGATES = Write(
    """DELETE FROM resource_provider_aggregates
       WHERE resource_provider_id = :id AND aggregate_id IN :gone"""
)
_UNLINK_TRAITS = Write(
    "DELETE FROM resource_provider_traits WHERE resource_provider_id = :id AND trait_id IN :gone"
)


def lock_with_aggregates(
    tx: Transaction, provider: str
) -> tuple[LockedProvider | None, dict[str, int]]:
    """Take the row of a provider, and load the aggregates it is in: row ids by uuid."""
    locked, rows = lock_providers_with(tx, [provider], _LINKED_AGGREGATES)
    return locked.get(ProviderUuid(provider)), {row.uuid: row.id for row in rows}


def lock_with_traits(
    tx: Transaction, provider: str
) -> tuple[LockedProvider | None, dict[str, int]]:
    """Take the row of a provider, and load the traits it has: row ids by name."""
    locked, rows = lock_providers_with(tx, [provider], _LINKED_TRAITS)
    return locked.get(ProviderUuid(provider)), {row.name: row.id for row in rows}


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
    unlink: Write,
    link: Insert,
    provider: ProviderId,
    gone: list[int],
    rows: list[dict[str, Any]],
) -> None:
    if gone:
        tx.write(unlink, {"id": provider, "gone": gone})
    tx.insert(link, rows)
