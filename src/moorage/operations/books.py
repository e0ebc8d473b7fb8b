"""The books of a transaction: loading a ledger, and writing what was decided on it.

All operations that change allocations (claim, release, reshape) go through here, so that locks
are taken in one order: providers by their order, then consumers, then the rest.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from moorage.domain.claim import ConsumerChange, ConsumerClaim
from moorage.domain.ids import (
    ConsumerUuid,
    Generation,
    MoveUuid,
    ProviderId,
    ProviderUuid,
    ResourceClassId,
)
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Consumer, Ledger, MoveChange, ProviderStock, Slot
from moorage.domain.move import MoveState
from moorage.domain.move_record import MoveOutcome, Reason
from moorage.domain.origin import Origin
from moorage.operations.move_entries import move_entries
from moorage.store.dialects import Rows, StaleView
from moorage.store.holdings import (
    CONSUMERS,
    IN_MOVES,
    LoadedConsumers,
    consumers_found,
    consumers_from,
    load_consumers,
    load_generations,
    load_is_case_blind,
    write_changes,
    write_usages,
)
from moorage.store.inventories import Stock, lock_stock
from moorage.store.journal import Entry, Totals, write_journals
from moorage.store.move_records import write_outcome
from moorage.store.moves import (
    OPEN_MOVES,
    SHARING,
    MoveRow,
    load_kept,
    moves_from,
    sharing_from,
    write_moves,
)
from moorage.store.names import Parties, ensure_parties, keep_classes
from moorage.store.providers import LockedProvider, bump_generations, load_by_uuids
from moorage.store.sql import Load
from moorage.store.transaction import Transaction


@dataclass(slots=True)
class Books:
    """A ledger with what it was loaded from, and the changes decided on it so far."""

    ledger: Ledger
    used_at_load: Mapping[Slot, int]
    generations_at_load: Mapping[ConsumerUuid, Generation]
    provider_uuids: Mapping[ProviderId, ProviderUuid]
    class_names: dict[ResourceClassId, str]
    changes: dict[ConsumerUuid, ConsumerChange] = field(default_factory=dict)
    entries: list[tuple[Entry, Origin]] = field(default_factory=list)
    moves: dict[MoveUuid, MoveRow] = field(default_factory=dict)

    def enter(self, changes: Sequence[ConsumerChange], *, kind: str, origin: Origin) -> None:
        """Note accepted changes and what they mean for moves.

        A consumer that the batch changed before keeps its start, and so does a move.
        """
        moved, self.ledger.move_changes = self.ledger.move_changes, []
        uuids = {
            consumer: change.after.uuid
            for change in moved
            for consumer in (change.after.consumer, change.after.hold)
        }
        for change in changes:
            if change.before is None and change.after is None:
                continue
            earlier = self.changes.get(change.consumer)
            start = change.before if earlier is None else earlier.before
            self.changes[change.consumer] = replace(change, before=start)
            entry = self._entry(change, kind, uuids.get(change.consumer))
            self.entries.append((entry, origin))
        for move in moved:
            self._enter_move(move, origin)

    def _enter_move(self, change: MoveChange, origin: Origin) -> None:
        after = change.after
        hold = self.ledger.consumers.get(after.hold)
        known = self.moves.get(after.uuid)
        if known is not None:
            self.moves[after.uuid] = replace(known, after=after)
        elif change.before is not None:
            self.moves[after.uuid] = MoveRow(change.before, after)
        else:
            # Who is unshelved comes from nowhere, and has no hold.
            owner = hold or self.ledger.consumers[after.consumer]
            source = self._resources(after.source)
            self.moves[after.uuid] = MoveRow(None, after, owner.project_id, owner.user_id, source)
        entries = move_entries(change, hold, self._resources)
        self.entries.extend((entry, origin) for entry in entries)

    def _entry(self, change: ConsumerChange, kind: str, move: MoveUuid | None) -> Entry:
        before = {} if change.before is None else change.before.held
        after = {} if change.after is None else change.after.held
        providers = tuple(sorted({slot[0] for slot in (*before, *after)}))
        return Entry(
            kind,
            change.consumer,
            providers,
            self._readable(change.before),
            self._readable(change.after),
            move,
        )

    def _readable(self, consumer: Consumer | None) -> dict[str, Any] | None:
        """A consumer's state as the journal keeps it: uuids and class names, no row ids."""
        if consumer is None:
            return None
        return {
            "resources": self._resources(consumer.held),
            "project_id": consumer.project_id,
            "user_id": consumer.user_id,
            "generation": consumer.generation,
            "consumer_type": consumer.consumer_type,
        }

    def _resources(self, held: Mapping[Slot, int]) -> dict[str, dict[str, int]]:
        """Amounts by provider uuid and class name."""
        resources: dict[str, dict[str, int]] = {}
        for (provider, class_id), amount in held.items():
            # A holding that outlived its provider or inventory has no name: its row ids must do.
            uuid = self.provider_uuids.get(provider, ProviderUuid(f"#{provider}"))
            name = self.class_names.get(class_id, f"#{class_id}")
            resources.setdefault(uuid, {})[name] = amount
        return resources


def load_books(
    tx: Transaction,
    claims: Sequence[ConsumerClaim],
    *,
    consumers: Iterable[ConsumerUuid] = (),
    providers: Iterable[ProviderUuid] = (),
    opens_moves: bool = False,
) -> Books:
    """Load what these claims are decided on, with a number of statements that does not grow.

    Args:
        consumers: further consumers whose allocations are going to change.
        providers: further providers whose inventories are going to change.
        opens_moves: a move is ordered, so that it matters which providers share.
    """
    named = {claim.consumer for claim in claims} | set(consumers)
    further = set(providers)
    if opens_moves or further or not names_where(tx, claims):
        look = _look_in_turn(tx, claims, named, further, opens_moves=opens_moves)
    else:
        look = _look_at_once(tx, claims, named)
    found, locked, stock = look.found, look.locked, look.stock
    used = {(item.provider_id, item.class_id): item.used for item in stock}
    ledger = Ledger(
        consumers=found.by_uuid,
        providers=_stocks(locked, stock),
        used=dict(used),
        known_classes=_known_classes(tx, claims, stock),
        case_blind=_are_spelled_alike(named) and load_is_case_blind(tx),
    )
    if look.about_moves:
        _add_moves(ledger, named, *look.about_moves)
    if look.swaps:
        _check_kept(ledger, look.left)
    return Books(
        ledger=ledger,
        used_at_load=used,
        generations_at_load={uuid: held.generation for uuid, held in found.by_uuid.items()},
        provider_uuids={provider.id: uuid for uuid, provider in locked.items()},
        class_names={item.class_id: item.class_name for item in stock},
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What books are made of.

    ``swaps``: the claims may begin a move. ``left``: where the holds are that would be dropped by
    that (None: on a vanished provider). ``about_moves``: what ``_about_moves`` asks for, nothing
    where no move is concerned.
    """

    found: LoadedConsumers
    locked: Mapping[ProviderUuid, LockedProvider]
    stock: Sequence[Stock]
    swaps: bool
    left: Mapping[ProviderId, ProviderUuid | None]
    about_moves: Sequence[Rows]


def _look_in_turn(
    tx: Transaction,
    claims: Sequence[ConsumerClaim],
    named: Collection[ConsumerUuid],
    further: Collection[ProviderUuid],
    *,
    opens_moves: bool,
) -> _Look:
    """Look first for what the consumers hold, and then lock all providers concerned."""
    found = load_consumers(tx, named)
    swaps = may_swap(found.by_uuid, claims)
    # Whose mover is given away leaves a hold behind, which is dropped with it.
    left = load_kept(tx, found.ordered) if swaps else {}
    kept_on = {uuid for uuid in left.values() if uuid is not None}
    wanted = sorted(asked_of(claims) | found.providers | kept_on | set(further))
    concerns_moves = bool(found.moves or opens_moves or swaps)
    about_moves = _about_moves(found, wanted) if concerns_moves else ()
    locked, stock, loaded = lock_stock(tx, wanted, *about_moves)
    return _Look(found, locked, stock, swaps, left, loaded)


def _look_at_once(
    tx: Transaction, claims: Sequence[ConsumerClaim], named: Collection[ConsumerUuid]
) -> _Look:
    """Lock the providers that the claims name, and look behind the locks at all the rest.

    Raises:
        StaleView: that is not enough, as the consumers have something elsewhere.
    """
    wanted, consumers = sorted(asked_of(claims)), sorted(named)
    swapping = wanted if any(not claim.resources for claim in claims) else ()
    locked, stock, (rows, in_moves, sharing) = lock_stock(
        tx, wanted, (CONSUMERS, consumers), (IN_MOVES, consumers), (SHARING, swapping)
    )
    found = consumers_found(rows, in_moves, consumers)
    swaps = may_swap(found.by_uuid, claims)
    if not found.providers <= locked.keys() or (swaps and found.ordered):
        raise StaleView
    about_moves: Sequence[Rows] = ()
    if found.moves:
        moves, others, sharing_too = load_by_uuids(
            tx, *_about_moves(found, () if swapping else wanted)
        )
        about_moves = (moves, others, sharing if swapping else sharing_too)
    elif swaps:
        about_moves = ((), (), sharing)
    return _Look(found, locked, stock, swaps, {}, about_moves)


def asked_of(claims: Iterable[ConsumerClaim]) -> set[ProviderUuid]:
    """The providers that claims name."""
    return {provider for claim in claims for provider in claim.resources}


def names_where(tx: Transaction, claims: Sequence[ConsumerClaim]) -> bool:
    """Whether these claims most likely name all providers that they concern.

    New consumers have nothing yet, and whoever gives all away in the same request has it where the
    one that takes it gets it. What turns out to be otherwise begins anew, in the order that is
    right for all.
    """
    taking = [claim for claim in claims if claim.resources]
    return (
        tx.first_try
        and bool(taking)
        and all(claim.checks_generation and claim.generation is None for claim in taking)
    )


def _are_spelled_alike(consumers: Collection[ConsumerUuid]) -> bool:
    """Whether the uuids of some of these consumers differ in case only."""
    return len({consumer.lower() for consumer in consumers}) < len(consumers)


def may_swap(consumers: Mapping[ConsumerUuid, Consumer], claims: Sequence[ConsumerClaim]) -> bool:
    """Whether these claims, of one request or more, may begin a move and then claim for it."""
    return any(not claim.resources and claim.consumer in consumers for claim in claims) and any(
        claim.resources and claim.consumer not in consumers for claim in claims
    )


def _about_moves(
    found: LoadedConsumers, providers: Collection[ProviderUuid]
) -> tuple[tuple[Load, Collection[str]], ...]:
    """What is to be loaded where open moves matter: they, who else is in them, and who shares."""
    others = found.in_moves - found.by_uuid.keys()
    return (OPEN_MOVES, found.moves), (CONSUMERS, others), (SHARING, providers)


def _add_moves(
    ledger: Ledger, named: Collection[ConsumerUuid], moves: Rows, others: Rows, sharing: Rows
) -> None:
    """Add open moves to a ledger, with the other consumer of each.

    What both have in common is on providers that are locked by now, whichever of them changes: so
    the sums stay true. That the other consumer stays as it is seen here, its move's generation
    guards.

    Args:
        named: the consumers that are going to change, which were looked for before the locks.
    Raises:
        StaleView: one of them was not there then, so that what it holds by now is not locked.
    """
    open_moves = moves_from(moves)
    members = {consumer for move in open_moves for consumer in (move.consumer, move.hold)}
    for uuid, partner in consumers_from(others, sorted(members)).items():
        if uuid in named:
            raise StaleView
        if uuid in members:
            ledger.consumers.setdefault(uuid, partner)
    for move in open_moves:
        ledger.moves[move.consumer] = ledger.moves[move.hold] = move
    ledger.sharing = sharing_from(sharing)


def _check_kept(ledger: Ledger, left: Mapping[ProviderId, ProviderUuid | None]) -> None:
    """See that the holds which may be dropped are still where they were before the locks.

    Raises:
        StaleView: one holds of a provider that is not locked.
    """
    holds = {move.hold for move in ledger.moves.values() if move.kind.is_ordered}
    if any(provider not in left for hold in holds for provider, _ in ledger.held_by(hold)):
        raise StaleView


def _stocks(
    locked: Mapping[ProviderUuid, LockedProvider], stock: Sequence[Stock]
) -> dict[ProviderUuid, ProviderStock]:
    class_ids: dict[ProviderId, dict[str, ResourceClassId]] = {}
    inventories: dict[ProviderId, dict[str, Inventory]] = {}
    for item in stock:
        class_ids.setdefault(item.provider_id, {})[item.class_name] = item.class_id
        inventories.setdefault(item.provider_id, {})[item.class_name] = item.inventory
    return {
        uuid: ProviderStock(
            provider.id,
            uuid,
            provider.generation,
            class_ids.get(provider.id, {}),
            inventories.get(provider.id, {}),
        )
        for uuid, provider in locked.items()
    }


def _known_classes(
    tx: Transaction, claims: Sequence[ConsumerClaim], stock: Sequence[Stock]
) -> frozenset[str]:
    """The class names that exist; only those without an inventory here cost a statement."""
    asked = {name for claim in claims for held in claim.resources.values() for name in held}
    stocked = {item.class_name for item in stock}
    return frozenset(stocked | keep_classes(tx, sorted(asked - stocked)).keys())


def check_still_true(tx: Transaction, books: Books, claims: Iterable[ConsumerClaim]) -> None:
    """See, before a claim is refused for want of room, that nobody came in between.

    Consumers are loaded before the locks are taken, and totals after. One that grew meanwhile
    would count twice: in the totals, and in what its claim asks for instead. (What is accepted on
    such a view is found out when it is written.)

    Raises:
        StaleView: a consumer changed after it was loaded.
    """
    consumers = {claim.consumer for claim in claims}
    loaded = {
        uuid: generation
        for uuid, generation in books.generations_at_load.items()
        if uuid in consumers
    }
    if load_generations(tx, consumers) != loaded:
        raise StaleView


def write_books(tx: Transaction, books: Books, *, at: datetime) -> None:
    """Write all that was decided on the books.

    Raises:
        StaleView: a consumer or a running total changed after it was loaded.
    """
    changes = [change for change in books.changes.values() if change.before or change.after]
    staying = [change.after for change in changes if change.after is not None]
    parties = ensure_parties(
        tx,
        project_ids={consumer.project_id for consumer in staying},
        user_ids={consumer.user_id for consumer in staying},
        types={consumer.consumer_type for consumer in staying if consumer.consumer_type},
        at=at,
    )
    write_changes(tx, changes, parties, at=at)
    write_moves(tx, list(books.moves.values()), at=at)
    for uuid in _moved_anew(books):
        write_outcome(tx, uuid, MoveOutcome(Reason.MOVED_ANEW))
    write_usages(
        tx,
        {
            slot: (books.used_at_load.get(slot, 0), used)
            for slot, used in books.ledger.used.items()
            if used != books.used_at_load.get(slot, 0)
        },
    )
    bump_generations(tx, books.ledger.bumps, at=at)
    write_journals(tx, _as_spelled(books.entries, parties), _find_totals(books.ledger, at=at))


def _find_totals(ledger: Ledger, *, at: datetime) -> Iterator[Totals]:
    """What becomes of the totals of the providers whose generations rise."""
    used: dict[ProviderId, list[tuple[ResourceClassId, int]]] = {one: [] for one in ledger.bumps}
    for (provider, class_id), amount in ledger.used.items():
        if provider in used:
            used[provider].append((class_id, amount))
    for stock in ledger.providers.values():
        if stock.id in used:
            generation = stock.generation + ledger.bumps[stock.id]
            yield Totals(stock.id, generation, at, tuple(used[stock.id]))


def _as_spelled(
    entries: Sequence[tuple[Entry, Origin]], parties: Parties
) -> Sequence[tuple[Entry, Origin]]:
    """The entries with projects and users as the database spells them.

    Whoever follows what a project holds knows it by that name.
    """
    if not parties.project_spellings and not parties.user_spellings:
        return entries
    return [
        (
            replace(
                entry, before=_spelled(entry.before, parties), after=_spelled(entry.after, parties)
            ),
            origin,
        )
        for entry, origin in entries
    ]


def _spelled(side: Any, parties: Parties) -> Any:
    if not isinstance(side, dict) or "project_id" not in side or "user_id" not in side:
        return side
    project_id, user_id = side["project_id"], side["user_id"]
    return side | {
        "project_id": parties.project_spellings.get(project_id, project_id),
        "user_id": parties.user_spellings.get(user_id, user_id),
    }


def _moved_anew(books: Books) -> list[MoveUuid]:
    """The ordered moves that end because their consumers begin another one."""
    begun = {row.after.consumer for row in books.moves.values() if row.before is None}
    return [
        uuid
        for uuid, row in books.moves.items()
        if row.after.kind.is_ordered
        and row.after.state is MoveState.ABANDONED
        and row.after.consumer in begun
    ]
