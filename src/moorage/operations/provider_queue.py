"""Changes of providers by concurrent requests, written together.

New providers, and all that changes what a provider has, go through here: requests that wait at the
same time share their statements and the COMMIT. Each is decided by itself, on a provider that no
other request of the same transaction is about, and refused by itself.

What a provider has is read behind its lock before anything is decided, except where this process
has just made the provider itself (``newcomers.py``): then it is decided at once, and the database
is asked to see that it was right when it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from moorage.domain.ids import Generation, ProviderId, ProviderUuid, ResourceClassId
from moorage.domain.origin import Origin
from moorage.domain.provider import Provider
from moorage.domain.refusals import (
    DuplicateProvider,
    ProviderGenerationConflict,
    Refusal,
    UnknownParent,
    UnknownProvider,
)
from moorage.operations.newcomers import Newcomers
from moorage.operations.provider_changes import Change, ChangeRequest, Part, Shelf
from moorage.operations.write_queue import ApartRather, WriteQueue
from moorage.store.associations import (
    AGGREGATES,
    TRAITS,
    NewLink,
    add_links,
    check_unlinked,
    delete_links,
)
from moorage.store.inventories import (
    STOCK,
    NewStock,
    Stock,
    delete_inventory_rows,
    insert_inventories,
    stock_from,
    update_inventories,
)
from moorage.store.journal import Entry, write_journals
from moorage.store.names import Named, ensure_aggregates, keep_classes, keep_traits
from moorage.store.providers import (
    PARENTS,
    LockedProvider,
    NewProvider,
    Parent,
    bump_generations,
    insert_providers,
    load_taken,
    lock_providers_with,
    parents_from,
    raise_generations,
)
from moorage.store.store import Store
from moorage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Creation:
    """A request for a new provider: a root, or a child of ``parent_uuid``."""

    uuid: str
    name: str
    parent_uuid: str | None
    origin: Origin

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whom the request is about."""
        return (self.uuid, self.name)


Request: TypeAlias = ChangeRequest | Creation
Outcome: TypeAlias = Any
"""What the client is told, or a ``Refusal``."""


class ProviderQueue(WriteQueue[Request, Any]):
    """The changes of providers of one process, on their way to the store."""

    def __init__(self, store: Store) -> None:
        newcomers = Newcomers()
        super().__init__(
            lambda requests: write_requests(store, newcomers, requests),
            subjects=lambda request: request.subjects,
        )


def write_requests(
    store: Store, newcomers: Newcomers, requests: Sequence[Request]
) -> list[Outcome]:
    """Decide and write several requests in one transaction; a refusal concerns only its own."""
    changed = [one.provider for one in requests if isinstance(one, ChangeRequest)]

    def attempt(tx: Transaction) -> list[Outcome]:
        if not tx.first_try:
            newcomers.forget(changed)
            if len(requests) > 1:
                raise ApartRather
        view = _recall(tx, newcomers, requests) or _load(tx, requests)
        plan = _decide_all(view, requests)
        if view.is_recalled and not plan.changes_all:
            # What is refused, or changes nothing, is told by what the database says.
            view = _load(tx, requests)
            plan = _decide_all(view, requests)
        if not view.is_recalled:
            newcomers.forget(changed)
        created = _write(tx, plan, is_recalled=view.is_recalled)
        tx.learned.append(lambda: _note(newcomers, plan, created))
        return [
            _shown(one, created[one.uuid]) if isinstance(one, NewProvider) else one
            for one in plan.outcomes
        ]

    return store.run(attempt)


@dataclass(frozen=True, slots=True)
class _View:
    """What the requests of one transaction are decided on.

    ``is_recalled``: nothing was asked of the database, so that it has to be checked.
    """

    locked: Mapping[ProviderUuid, LockedProvider]
    parents: Mapping[ProviderUuid, Parent]
    taken: Sequence[tuple[str, str]]
    stock: Mapping[ProviderId, Mapping[str, Stock]]
    linked: Mapping[ProviderId, Mapping[str, int]]
    class_ids: Mapping[str, ResourceClassId]
    known_traits: Mapping[str, Named]
    is_recalled: bool = False

    def shelf(self, request: ChangeRequest) -> Shelf:
        """The provider of a request.

        Raises:
            UnknownProvider, ProviderGenerationConflict
        """
        provider, generation = request.provider, request.generation
        locked = self.locked.get(ProviderUuid(provider))
        if locked is None:
            raise UnknownProvider(provider)
        if generation is not None and generation != locked.generation:
            raise ProviderGenerationConflict(provider, locked.generation, generation)
        return Shelf(
            locked,
            self.stock.get(locked.id, {}),
            self.linked.get(locked.id, {}),
            self.class_ids,
            self.known_traits,
        )


class _Changed(NamedTuple):
    """A provider, what a request changes of it, and the request."""

    provider: LockedProvider
    change: Change
    request: ChangeRequest


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the requests of one transaction change, and what their clients are told."""

    outcomes: list[Outcome] = field(default_factory=list)
    creations: list[tuple[NewProvider, Origin]] = field(default_factory=list)
    changes: list[_Changed] = field(default_factory=list)

    @property
    def changes_all(self) -> bool:
        """Whether every request changes something."""
        return len(self.creations) + len(self.changes) == len(self.outcomes)


def _recall(tx: Transaction, newcomers: Newcomers, requests: Sequence[Request]) -> _View | None:
    """What is known without asking, if that is enough for all the requests."""
    if not tx.first_try:
        return None
    locked: dict[ProviderUuid, LockedProvider] = {}
    for request in requests:
        if isinstance(request, ChangeRequest):
            provider = newcomers.find(request)
            if provider is None:
                return None
            locked[provider.uuid] = provider
        elif request.parent_uuid is not None:
            return None
    changes = [request for request in requests if isinstance(request, ChangeRequest)]
    return _View(
        locked=locked,
        parents={},
        taken=(),
        stock={},
        linked={},
        class_ids=keep_classes(tx, _names(changes, Part.INVENTORIES)),
        known_traits=keep_traits(tx, _names(changes, Part.TRAITS)),
        is_recalled=True,
    )


def _load(tx: Transaction, requests: Sequence[Request]) -> _View:
    """Lock the providers concerned and load what the requests ask of them."""
    creations = [request for request in requests if isinstance(request, Creation)]
    changes = [request for request in requests if isinstance(request, ChangeRequest)]
    parents = {one.parent_uuid for one in creations if one.parent_uuid is not None}
    locked, (parent_rows, stock_rows, trait_rows, aggregate_rows) = lock_providers_with(
        tx,
        parents.union([one.provider for one in changes]),
        (PARENTS, parents),
        (STOCK, [one.provider for one in changes if one.part is Part.INVENTORIES]),
        (TRAITS.load, [one.provider for one in changes if one.part is Part.TRAITS]),
        (AGGREGATES.load, [one.provider for one in changes if one.part is Part.AGGREGATES]),
    )
    stock: dict[ProviderId, dict[str, Stock]] = {}
    for item in stock_from(stock_rows):
        stock.setdefault(item.provider_id, {})[item.class_name] = item
    linked: dict[ProviderId, dict[str, int]] = {}
    for row in (*trait_rows, *aggregate_rows):
        linked.setdefault(row.resource_provider_id, {})[row.name] = row.id
    return _View(
        locked=locked,
        parents=parents_from(parent_rows),
        taken=_load_taken(tx, creations),
        stock=stock,
        linked=linked,
        class_ids=keep_classes(tx, _names(changes, Part.INVENTORIES)),
        known_traits=keep_traits(tx, _names(changes, Part.TRAITS)),
    )


def _names(requests: Sequence[ChangeRequest], part: Part) -> list[str]:
    """What the requests about one part name, each once."""
    return sorted({name for one in requests if one.part is part for name in one.names})


def _load_taken(tx: Transaction, creations: Sequence[Creation]) -> list[tuple[str, str]]:
    # The first try trusts the database's own guard, which most of the time has no cause.
    if tx.first_try or not creations:
        return []
    (new,) = creations
    return load_taken(tx, uuid=new.uuid, name=new.name)


def _decide_all(view: _View, requests: Sequence[Request]) -> _Plan:
    plan = _Plan()
    for request in requests:
        plan.outcomes.append(_decide(view, plan, request))
    return plan


def _decide(view: _View, plan: _Plan, request: Request) -> Outcome:
    """Decide a request by itself, and enter in the plan what it changes."""
    try:
        if isinstance(request, Creation):
            new = _decide_creation(view, request)
            plan.creations.append((new, request.origin))
            return new
        shelf = view.shelf(request)
        change, answer = request.decide(shelf)
    except Refusal as refusal:
        return refusal
    if change is not None:
        plan.changes.append(_Changed(shelf.provider, change, request))
    return answer


def _decide_creation(view: _View, request: Creation) -> NewProvider:
    parent = None
    if request.parent_uuid is not None:
        parent = view.parents.get(ProviderUuid(request.parent_uuid))
        if parent is None:
            raise UnknownParent(request.uuid, request.name, creating=True)
    same_uuid = any(uuid.lower() == request.uuid.lower() for uuid, _ in view.taken)
    # What was not found by its uuid was found by its name, in whichever spelling.
    same_name = any(
        name == request.name or uuid.lower() != request.uuid.lower() for uuid, name in view.taken
    )
    if same_uuid or same_name:
        raise DuplicateProvider(
            request.uuid if same_uuid else None, request.name if same_name else None
        )
    return NewProvider(request.uuid, request.name, parent, request.origin.at)


def _write(tx: Transaction, plan: _Plan, *, is_recalled: bool) -> dict[str, ProviderId]:
    """Write the plan; the row ids of the new providers by uuid."""
    created = insert_providers(tx, [new for new, _ in plan.creations])
    if plan.changes:
        if is_recalled:
            _check_recalled(tx, plan.changes)
        _write_changes(tx, plan.changes)
        if not is_recalled:
            raised = [one for one in plan.changes if one.change.raises_generation]
            bumps = {one.provider.id: 1 for one in raised}
            bump_generations(tx, bumps, at=_latest(plan.changes))
    entries = [(_creation_entry(new, created), origin) for new, origin in plan.creations]
    entries += [(one.change.entry, one.request.origin) for one in plan.changes]
    write_journals(tx, entries)
    return created


def _check_recalled(tx: Transaction, changes: Sequence[_Changed]) -> None:
    """Take the providers, raise their generations, and see that they are as they were recalled.

    Raises:
        StaleView: one of them is not.
    """
    raise_generations(
        tx,
        {one.provider.id: one.provider.generation for one in changes},
        at=_latest(changes),
    )
    joining = [one.provider.id for one in changes if one.request.part is Part.AGGREGATES]
    check_unlinked(tx, AGGREGATES, joining)


def _latest(changes: Sequence[_Changed]) -> datetime:
    return max(one.request.origin.at for one in changes)


def _write_changes(tx: Transaction, changes: Sequence[_Changed]) -> None:
    """Write what becomes of locked providers, but for their generations."""
    _write_inventories(tx, changes)
    joined = {uuid for one in changes for uuid in one.change.joined}
    aggregates = ensure_aggregates(tx, joined, at=_latest(changes))
    for provider, change, _ in changes:
        joined_ids = {aggregates[uuid] for uuid in change.joined}
        left = [key for key in change.left if key not in joined_ids]
        delete_links(tx, TRAITS, provider.id, change.traits_gone)
        delete_links(tx, AGGREGATES, provider.id, left)
    add_links(
        tx,
        TRAITS,
        [
            NewLink(provider.id, trait, request.origin.at)
            for provider, change, request in changes
            for trait in change.traits_added
        ],
    )
    add_links(
        tx,
        AGGREGATES,
        [
            NewLink(provider.id, key, request.origin.at)
            for provider, change, request in changes
            for key in sorted(
                {aggregates[uuid] for uuid in change.joined}.difference(change.kept, change.left)
            )
        ],
    )


def _write_inventories(tx: Transaction, changes: Sequence[_Changed]) -> None:
    for provider, change, _ in changes:
        delete_inventory_rows(tx, provider.id, change.dropped)
    insert_inventories(
        tx,
        [
            NewStock(provider.id, class_id, inventory, request.origin.at)
            for provider, change, request in changes
            for class_id, inventory in change.added.items()
        ],
    )
    for provider, change, request in changes:
        updates = {(provider.id, key): value for key, value in change.changed.items()}
        update_inventories(tx, updates, at=request.origin.at)


def _note(newcomers: Newcomers, plan: _Plan, created: Mapping[str, ProviderId]) -> None:
    """Remember what was committed of providers that this process has made."""
    for _, _, request in plan.changes:
        newcomers.note(request)
    for uuid, key in created.items():
        newcomers.add(uuid, key)


def _creation_entry(new: NewProvider, created: Mapping[str, ProviderId]) -> Entry:
    after = {"name": new.name, "parent": None if new.parent is None else new.parent.uuid}
    return Entry("provider.create", new.uuid, (created[new.uuid],), None, after)


def _shown(new: NewProvider, key: ProviderId) -> Provider:
    uuid, parent = ProviderUuid(new.uuid), new.parent
    return Provider(
        id=key,
        uuid=uuid,
        name=new.name,
        generation=Generation(0),
        parent_uuid=None if parent is None else parent.uuid,
        root_uuid=uuid if parent is None else parent.root_uuid,
        modified_at=new.at,
    )
