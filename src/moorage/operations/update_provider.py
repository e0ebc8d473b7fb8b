"""Rename a resource provider, or move it in the forest."""

from dataclasses import dataclass

from moorage.domain.ids import ProviderId, ProviderUuid
from moorage.domain.origin import Origin
from moorage.domain.provider import Provider
from moorage.domain.refusals import (
    DuplicateProvider,
    ProviderLoop,
    ReparentingNotAllowed,
    UnknownParent,
    UnknownProvider,
    UnparentingNotAllowed,
)
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.providers import (
    load_provider,
    load_subtree,
    load_taken,
    lock_providers,
    reroot_providers,
    update_provider_row,
)
from moorage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider hangs, by row ids."""

    parent_id: ProviderId | None
    root_id: ProviderId


def update_provider(
    services: Services,
    *,
    uuid: str,
    name: str,
    parent_uuid: str | None,
    states_parent: bool,
    may_reparent: bool,
    origin: Origin,
) -> Provider:
    """Give a provider a name and, where the client states one, a parent.

    Its whole subtree goes with it to the new tree. Before 1.37 (``may_reparent`` False) only a
    root can be given a parent.

    Raises:
        UnknownProvider, UnknownParent, ReparentingNotAllowed, UnparentingNotAllowed, ProviderLoop,
        DuplicateProvider
    """

    def attempt(tx: Transaction) -> Provider:
        wanted = [uuid] if parent_uuid is None else [uuid, parent_uuid]
        if uuid not in lock_providers(tx, wanted):
            raise UnknownProvider(uuid)
        provider = load_provider(tx, uuid)
        assert provider is not None
        new_parent = parent_uuid if states_parent else provider.parent_uuid
        subtree = load_subtree(tx, provider.id)
        place = _place(tx, provider, new_parent, subtree, may_reparent=may_reparent)
        _check_name_free(tx, uuid=uuid, name=name)
        update_provider_row(
            tx,
            provider.id,
            name=name,
            parent_id=place.parent_id,
            root_id=place.root_id,
            at=origin.at,
        )
        if new_parent != provider.parent_uuid:
            below = [key for key in subtree.values() if key != provider.id]
            reroot_providers(tx, below, root_id=place.root_id, at=origin.at)
        write_journal(
            tx,
            [
                Entry(
                    "provider.update",
                    uuid,
                    tuple(subtree.values()),
                    {"name": provider.name, "parent": provider.parent_uuid},
                    {"name": name, "parent": new_parent},
                )
            ],
            origin,
        )
        updated = load_provider(tx, uuid)
        assert updated is not None
        return updated

    return services.store.run(attempt)


def _place(
    tx: Transaction,
    provider: Provider,
    parent_uuid: str | None,
    subtree: dict[ProviderUuid, ProviderId],
    *,
    may_reparent: bool,
) -> Place:
    if parent_uuid is None:
        if provider.parent_uuid is not None and not may_reparent:
            raise UnparentingNotAllowed(provider.uuid)
        return Place(None, provider.id)
    parent = load_provider(tx, parent_uuid)
    if parent is None:
        raise UnknownParent(provider.uuid, provider.name, creating=False)
    if provider.parent_uuid not in (None, parent_uuid) and not may_reparent:
        raise ReparentingNotAllowed(provider.uuid)
    if parent_uuid in subtree:
        raise ProviderLoop(provider.uuid)
    root = load_provider(tx, parent.root_uuid)
    assert root is not None
    return Place(parent.id, root.id)


def _check_name_free(tx: Transaction, *, uuid: str, name: str) -> None:
    if any(other != uuid for other, _ in load_taken(tx, uuid=uuid, name=name)):
        raise DuplicateProvider(None, name)
