"""Create a resource provider."""

from moorage.domain.ids import Generation, ProviderUuid
from moorage.domain.origin import Origin
from moorage.domain.provider import Provider
from moorage.domain.refusals import (
    DuplicateProvider,
    ParentIsSelf,
    ProviderNameMissing,
    UnknownParent,
)
from moorage.operations.services import Services
from moorage.store.journal import Entry, write_journal
from moorage.store.providers import (
    insert_provider,
    load_provider,
    load_taken,
    lock_providers,
)
from moorage.store.transaction import Transaction


def create_provider(
    services: Services, *, uuid: str, name: str, parent_uuid: str | None, origin: Origin
) -> Provider:
    """Add a provider: a root, or a child of ``parent_uuid``.

    Raises:
        ProviderNameMissing, ParentIsSelf, UnknownParent, DuplicateProvider
    """
    if not name:
        raise ProviderNameMissing(uuid, name)
    if parent_uuid == uuid:
        raise ParentIsSelf(uuid, name)

    def attempt(tx: Transaction) -> Provider:
        parent = _load_parent(tx, parent_uuid)
        if parent_uuid is not None and parent is None:
            raise UnknownParent(uuid, name, creating=True)
        if not tx.first_try:
            # The first try trusts the database's own guard, which most of the time has no cause.
            _check_free(tx, uuid=uuid, name=name)
        root = parent if parent is None else load_provider(tx, parent.root_uuid)
        key = insert_provider(
            tx,
            uuid=uuid,
            name=name,
            parent=parent,
            root_id=None if root is None else root.id,
            at=origin.at,
        )
        after = {"name": name, "parent": parent_uuid}
        write_journal(tx, [Entry("provider.create", uuid, (key,), None, after)], origin)
        return Provider(
            id=key,
            uuid=ProviderUuid(uuid),
            name=name,
            generation=Generation(0),
            parent_uuid=None if parent is None else parent.uuid,
            root_uuid=ProviderUuid(uuid) if root is None else root.uuid,
            modified_at=origin.at,
        )

    return services.store.run(attempt)


def _load_parent(tx: Transaction, parent_uuid: str | None) -> Provider | None:
    """The parent, kept from deletion and from moving to another tree."""
    if parent_uuid is None or not lock_providers(tx, [parent_uuid]):
        return None
    return load_provider(tx, parent_uuid)


def _check_free(tx: Transaction, *, uuid: str, name: str) -> None:
    taken = load_taken(tx, uuid=uuid, name=name)
    same_uuid = any(other.lower() == uuid.lower() for other, _ in taken)
    # What was not found by its uuid was found by its name, in whichever spelling.
    same_name = any(
        other_name == name or other.lower() != uuid.lower() for other, other_name in taken
    )
    if same_uuid or same_name:
        raise DuplicateProvider(uuid if same_uuid else None, name if same_name else None)
