"""Which traits providers have, and which aggregates they are in."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Table

from moorage.domain.ids import ProviderId
from moorage.store.sql import Insert, Load, Write
from moorage.store.tables import (
    placement_aggregates,
    resource_provider_aggregates,
    resource_provider_traits,
    traits,
)
from moorage.store.transaction import Transaction


class Kind:
    """A table of links between providers and named things, with its statements."""

    def __init__(self, table: Table, *, key: str, named: Table, name: str) -> None:
        self.key = key
        self.load: Final = Load(
            f"""SELECT l.resource_provider_id, n.id, n.{name} AS name FROM resource_providers p
                JOIN {table.name} l ON l.resource_provider_id = p.id
                JOIN {named.name} n ON n.id = l.{key}
                WHERE p.uuid IN :uuids"""
        )
        self.insert: Final = Insert(table, ("resource_provider_id", key, "created_at"))
        self.delete: Final = Write(
            f"DELETE FROM {table.name} WHERE resource_provider_id = :id AND {key} IN :gone"
        )
        self.delete_all: Final = Write(
            f"DELETE FROM {table.name} WHERE resource_provider_id IN :ids"
        )


AGGREGATES: Final = Kind(
    resource_provider_aggregates, key="aggregate_id", named=placement_aggregates, name="uuid"
)
TRAITS: Final = Kind(resource_provider_traits, key="trait_id", named=traits, name="name")


class NewLink(NamedTuple):
    """A trait or aggregate, by its row id, that a provider gets."""

    provider: ProviderId
    linked: int
    at: datetime


def add_links(tx: Transaction, kind: Kind, added: Iterable[NewLink]) -> None:
    """Give locked providers traits or aggregates."""
    rows = [
        {"resource_provider_id": provider, kind.key: linked, "created_at": at}
        for provider, linked, at in added
    ]
    tx.insert(kind.insert, rows)


def delete_links(tx: Transaction, kind: Kind, provider: ProviderId, gone: Collection[int]) -> None:
    """Take traits or aggregates from a locked provider."""
    if gone:
        tx.write(kind.delete, {"id": provider, "gone": list(gone)})


def check_unlinked(tx: Transaction, kind: Kind, providers: Collection[ProviderId]) -> None:
    """See that locked providers have none of these links.

    Raises:
        StaleView: one of them has.
    """
    if providers:
        tx.write(kind.delete_all, {"ids": sorted(providers)}, rows=0)
