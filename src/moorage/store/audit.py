"""The rows that an audit goes by, all of one moment."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from sqlalchemy import Connection, DateTime

from moorage.domain.audited import (
    AuditedBooks,
    AuditedConsumer,
    AuditedMove,
    AuditedProvider,
    Holdings,
    Keys,
    Stocks,
    Trace,
    Units,
    add_up,
    slot_keys,
)
from moorage.domain.ids import SHARING_TRAIT, ConsumerUuid, ProviderId, ResourceClassId
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Slot
from moorage.domain.made_claim import Resources
from moorage.domain.move import MoveKind, MoveState
from moorage.store.journal import CREDIT_KIND
from moorage.store.sql import Load, query
from moorage.store.store import Store
from moorage.store.transaction import Transaction

IDS_IN_STATEMENT_MAX: Final = 1_000
"""Uuids or row ids that one statement names; drivers have limits."""

ROWS_AT_ONCE: Final = 20_000
"""Rows that are taken from a cursor together."""

NEIGHBOURS: Final = 8
"""How far apart one request's rows may stand in the journal; mostly they are next to each other."""


class Select:
    """A SELECT that a picture and a transaction both can run; parameters behind IN are lists."""

    def __init__(self, sql: str, *, moments: tuple[str, ...] = ()) -> None:
        lists = tuple(re.findall(r"IN :(\w+)", sql))
        self.read = query(sql, many=lists, **dict.fromkeys(moments, DateTime))
        self.load = Load(sql, moments=moments)


class Source(Protocol):
    """Where rows come from: a picture, or a transaction."""

    def __call__(self, what: Select, parameters: Mapping[str, Any] | None = None) -> Iterable[Any]:
        """The rows of a SELECT."""


_PROVIDERS = "SELECT p.id, p.uuid, p.name, p.root_provider_id FROM resource_providers p"
_ALL_PROVIDERS = Select(_PROVIDERS)
_PROVIDERS_OF = Select(f"{_PROVIDERS} WHERE p.root_provider_id IN :ids")
_ROOTS_OF = Select(
    "SELECT DISTINCT p.root_provider_id FROM resource_providers p WHERE p.id IN :ids",
)
_ROOTS_NAMED = Select(
    """SELECT DISTINCT p.root_provider_id FROM resource_providers p
       WHERE p.uuid IN :names OR p.name IN :names""",
)
_POOLS = Select(
    """SELECT l.resource_provider_id FROM resource_provider_traits l
       JOIN traits t ON t.id = l.trait_id WHERE t.name = :trait"""
)
_LENDERS = Select(
    """SELECT DISTINCT p.root_provider_id, mine.resource_provider_id
       FROM resource_provider_traits l
       JOIN traits t ON t.id = l.trait_id
       JOIN resource_provider_aggregates mine ON mine.resource_provider_id = l.resource_provider_id
       JOIN resource_provider_aggregates near ON near.aggregate_id = mine.aggregate_id
       JOIN resource_providers p ON p.id = near.resource_provider_id
       WHERE t.name = :trait AND near.resource_provider_id <> mine.resource_provider_id"""
)
_CLASS_NAMES = Select("SELECT n.id, n.name FROM resource_classes n")
_INVENTORIES = """SELECT i.resource_provider_id, i.resource_class_id, i.total, i.reserved,
    i.allocation_ratio FROM inventories i"""
_TOTALS = "SELECT u.resource_provider_id, u.resource_class_id, u.used FROM moorage_usages u"
_ALLOCATIONS = """SELECT a.id, a.resource_provider_id, a.resource_class_id, a.used,
    COALESCE(c.id, 0) AS consumer
    FROM allocations a LEFT JOIN consumers c ON c.uuid = a.consumer_id"""
_ALL_INVENTORIES = Select(_INVENTORIES)
_ALL_TOTALS = Select(_TOTALS)
_ALL_ALLOCATIONS = Select(_ALLOCATIONS)
_SOME_INVENTORIES = Select(f"{_INVENTORIES} WHERE i.resource_provider_id IN :ids")
_SOME_TOTALS = Select(f"{_TOTALS} WHERE u.resource_provider_id IN :ids")
_SOME_ALLOCATIONS = Select(f"{_ALLOCATIONS} WHERE a.consumer_id IN :uuids")
_SUMS = Select(
    """SELECT a.resource_provider_id, a.resource_class_id, SUM(a.used) AS used
       FROM allocations a WHERE a.resource_provider_id IN :ids
       GROUP BY a.resource_provider_id, a.resource_class_id""",
)
_MOVES = """SELECT m.uuid, m.kind, m.state, m.consumer, m.hold, m.generation, m.credited,
    m.deadline, m.source FROM moorage_moves m"""
_OPEN_MOVES = Select(
    f"{_MOVES} WHERE m.open_consumer IS NOT NULL ORDER BY m.id", moments=("deadline",)
)
# The uuid of a move that was ordered is that of its hold.
_LEFT_MOVES = Select(
    f"""{_MOVES} JOIN consumers c ON c.uuid = m.uuid
        WHERE m.open_consumer IS NULL AND m.kind <> '{MoveKind.OBSERVED}' ORDER BY m.id""",
    moments=("deadline",),
)
_CREDITS = Select(
    """SELECT k.move, k.resource_provider_id, k.resource_class_id, k.used
       FROM moorage_credits k ORDER BY k.move"""
)
_CONSUMERS = """SELECT c.id, c.uuid, c.generation, pr.external_id AS project,
    us.external_id AS user_id, ct.name AS consumer_type,
    COALESCE(c.updated_at, c.created_at) AS touched_at
    FROM consumers c
    LEFT JOIN projects pr ON pr.id = c.project_id
    LEFT JOIN users us ON us.id = c.user_id
    LEFT JOIN consumer_types ct ON ct.id = c.consumer_type_id"""
_ALL_CONSUMERS = Select(_CONSUMERS, moments=("touched_at",))
_SOME_CONSUMERS = Select(f"{_CONSUMERS} WHERE c.uuid IN :uuids", moments=("touched_at",))
_STRAY = """SELECT a.id, a.consumer_id, COALESCE(a.updated_at, a.created_at) AS touched_at
    FROM allocations a LEFT JOIN consumers c ON c.uuid = a.consumer_id WHERE c.id IS NULL"""
_ALL_STRAY = Select(_STRAY, moments=("touched_at",))
_SOME_STRAY = Select(f"{_STRAY} AND a.consumer_id IN :uuids", moments=("touched_at",))
_TRACES = Select(
    """SELECT j.id, j.at, j.kind, j.subject, j.request_id, j.before, j.after
       FROM moorage_journal j WHERE j.subject IN :uuids ORDER BY j.id""",
    moments=("at",),
)
_NEAR_TRACES = Select(
    """SELECT j.id, j.subject, j.request_id, j.before, j.after
       FROM moorage_journal j
       WHERE j.id IN :ids AND j.kind LIKE 'allocation.%' AND j.kind <> 'allocation.credit'""",
)


class _Held(msgspec.Struct):
    resources: dict[str, dict[str, int]]


_decode = msgspec.json.Decoder(_Held).decode
_decode_source = msgspec.json.Decoder(Resources).decode


@dataclass(frozen=True, slots=True)
class AuditScope:
    """A part of the books: these consumers, and the providers that remedies for them touch.

    Args:
        hosts: providers, by uuid or name, on which the consumers ought to hold something.
        providers: those whose allocations are added up whoever holds them.
    """

    consumers: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    providers: frozenset[ProviderId] = frozenset()


def _load_all(connection: Connection) -> AuditedBooks:
    source = _picture(connection)
    pools = _load_pools(source)
    allocations = _integers(connection, _ALL_ALLOCATIONS, columns=5)
    consumers, holdings = _hold(allocations, source(_ALL_CONSUMERS), list(source(_ALL_STRAY)))
    moves, stray_credits = _load_open_moves(source)
    return AuditedBooks(
        providers=_providers(source(_ALL_PROVIDERS), pools),
        class_names={row.id: row.name for row in source(_CLASS_NAMES)},
        consumers=consumers,
        stocks=_stocks(
            source(_ALL_INVENTORIES),
            _integers(connection, _ALL_TOTALS, columns=3),
        ),
        holdings=holdings,
        allocated=add_up(holdings.keys, holdings.used),
        lenders=_load_lenders(source),
        moves=moves,
        stray_credits=stray_credits,
    )


def load_audited_part(tx: Transaction, scope: AuditScope) -> AuditedBooks:
    """The part of the books that says what is the matter with a few consumers or slots.

    ``allocated`` is complete for the providers named in the scope only, and so is what is known of
    the consumers of moves that have credits there.
    """
    source = _transaction(tx)
    moves, stray_credits = _load_open_moves(source)
    uuids = sorted(scope.consumers | _credited_on(scope.providers, moves))
    pools = _load_pools(source)
    rows = list(_in_parts(source, _SOME_ALLOCATIONS, "uuids", uuids))
    allocations = np.array([tuple(map(int, row)) for row in rows], np.int64).reshape(-1, 5)
    consumers, holdings = _hold(
        allocations,
        _in_parts(source, _SOME_CONSUMERS, "uuids", uuids),
        list(_in_parts(source, _SOME_STRAY, "uuids", uuids)),
    )
    touched = {int(key) for key in allocations[:, 1]} | scope.providers | pools
    providers = _load_trees(source, touched, scope.hosts, pools)
    ids = sorted(providers.keys() | scope.providers)
    totals = [tuple(map(int, row)) for row in _in_parts(source, _SOME_TOTALS, "ids", ids)]
    return AuditedBooks(
        providers=providers,
        class_names={row.id: row.name for row in source(_CLASS_NAMES)},
        consumers=consumers,
        stocks=_stocks(
            _in_parts(source, _SOME_INVENTORIES, "ids", ids),
            np.array(totals, np.int64).reshape(-1, 3),
        ),
        holdings=holdings,
        allocated=_load_sums(source, scope.providers),
        lenders=_load_lenders(source),
        moves=moves,
        stray_credits=stray_credits,
    )


def _load_open_moves(
    source: Source,
) -> tuple[list[AuditedMove], dict[str, dict[Slot, int]]]:
    """Moves that are open or left a hold, and the credits of moves that are not open."""
    credited: dict[str, dict[Slot, int]] = {}
    for row in source(_CREDITS):
        slot = ProviderId(row.resource_provider_id), ResourceClassId(row.resource_class_id)
        credited.setdefault(row.move, {})[slot] = int(row.used)
    moves = [_move(row, credited.pop(row.uuid, {})) for row in source(_OPEN_MOVES)]
    return moves + [_move(row, {}) for row in source(_LEFT_MOVES)], credited


def _move(row: Any, credited: Mapping[Slot, int]) -> AuditedMove:
    return AuditedMove(
        uuid=row.uuid,
        kind=MoveKind(row.kind),
        state=MoveState(row.state),
        consumer=ConsumerUuid(row.consumer),
        hold=ConsumerUuid(row.hold),
        generation=row.generation,
        credited=bool(row.credited),
        deadline=row.deadline,
        source={} if row.source is None else _decode_source(row.source),
        credits=credited,
    )


def _credited_on(providers: Collection[ProviderId], moves: Iterable[AuditedMove]) -> set[str]:
    """The consumers of moves that have credits on some providers."""
    return {
        consumer
        for move in moves
        if any(provider in providers for provider, _ in move.credits)
        for consumer in (move.consumer, move.hold)
    }


def load_traces(tx: Transaction, uuids: Collection[str]) -> dict[str, list[Trace]]:
    """What the journal says of consumers, oldest first, as a transaction sees it."""
    return _traces(_transaction(tx), uuids)


def _traces(source: Source, uuids: Collection[str]) -> dict[str, list[Trace]]:
    rows = list(_in_parts(source, _TRACES, "uuids", sorted(uuids)))
    born = [row for row in rows if _tells_of_birth(row)]
    near = sorted({row.id + by for row in born for by in range(-NEIGHBOURS, NEIGHBOURS + 1)})
    given = list(_in_parts(source, _NEAR_TRACES, "ids", near))
    traces: dict[str, list[Trace]] = {}
    for row in rows:
        giver = _giver(row, given) if _tells_of_birth(row) else None
        traces.setdefault(row.subject, []).append(Trace(row.at, row.kind, giver))
    return traces


def _tells_of_birth(row: Any) -> bool:
    """Whether a consumer held nothing before; moves have rows of their own under the same uuid."""
    is_holding = row.kind.startswith("allocation.") and row.kind != CREDIT_KIND
    return is_holding and row.before is None and row.after is not None


def _giver(row: Any, near: Sequence[Any]) -> str | None:
    """The consumer that the same request emptied of exactly what this one got."""
    got = _decode(row.after).resources
    for other in near:
        if other.request_id != row.request_id or other.subject == row.subject or not other.before:
            continue
        left = _decode(other.after).resources if other.after else {}
        if not left and _decode(other.before).resources == got:
            return str(other.subject)
    return None


def _picture(connection: Connection) -> Source:
    return lambda what, parameters=None: connection.execute(what.read, parameters)


def _transaction(tx: Transaction) -> Source:
    return lambda what, parameters=None: tx.load(what.load, parameters)


def _in_parts(source: Source, what: Select, name: str, values: Sequence[Any]) -> Iterator[Any]:
    for first in range(0, len(values), IDS_IN_STATEMENT_MAX):
        some = list(values[first : first + IDS_IN_STATEMENT_MAX])
        yield from source(what, {name: some})


def _integers(connection: Connection, what: Select, *, columns: int) -> Units:
    """All rows of a SELECT of whole numbers, as an array; streamed, as they may be many."""
    options = {"stream_results": True, "max_row_buffer": ROWS_AT_ONCE}
    result = connection.execute(what.read, execution_options=options)
    parts = [np.empty((0, columns), np.int64)]
    while rows := result.fetchmany(ROWS_AT_ONCE):
        numbers = np.fromiter(chain.from_iterable(rows), np.int64, columns * len(rows))
        parts.append(numbers.reshape(-1, columns))
    return np.concatenate(parts)


def _load_pools(source: Source) -> set[int]:
    return {row[0] for row in source(_POOLS, {"trait": SHARING_TRAIT})}


def _load_lenders(source: Source) -> dict[ProviderId, list[ProviderId]]:
    lenders: dict[ProviderId, list[ProviderId]] = {}
    for row in source(_LENDERS, {"trait": SHARING_TRAIT}):
        lenders.setdefault(ProviderId(row[0]), []).append(ProviderId(row[1]))
    return lenders


def _load_trees(
    source: Source, ids: Iterable[int], names: Iterable[str], pools: set[int]
) -> dict[ProviderId, AuditedProvider]:
    """The whole trees of some providers."""
    roots = {row[0] for row in _in_parts(source, _ROOTS_OF, "ids", sorted(ids))}
    roots |= {row[0] for row in _in_parts(source, _ROOTS_NAMED, "names", sorted(names))}
    return _providers(_in_parts(source, _PROVIDERS_OF, "ids", sorted(roots)), pools)


def _load_sums(source: Source, providers: Collection[ProviderId]) -> tuple[Keys, Units]:
    rows = [tuple(map(int, row)) for row in _in_parts(source, _SUMS, "ids", sorted(providers))]
    sums = np.array(rows, np.int64).reshape(-1, 3)
    return add_up(slot_keys(sums[:, 0], sums[:, 1]), sums[:, 2])


def _providers(rows: Iterable[Sequence[Any]], pools: set[int]) -> dict[ProviderId, AuditedProvider]:
    return {
        ProviderId(key): AuditedProvider(
            ProviderId(key), uuid, name, ProviderId(root or key), key in pools
        )
        for key, uuid, name, root in rows
    }


def _stocks(inventories: Iterable[Sequence[Any]], totals: Units) -> Stocks:
    """Inventories beside running totals; either may lack the other."""
    rows = list(inventories)
    slots = np.array([(row[0], row[1]) for row in rows], np.int64).reshape(-1, 2)
    stocked = slot_keys(slots[:, 0], slots[:, 1])
    capacity = np.array([_capacity(row) for row in rows], np.int64)
    counted = slot_keys(totals[:, 0], totals[:, 1])
    keys = np.union1d(stocked, counted)
    columns = [np.zeros(len(keys), np.int64) for _ in range(2)]
    columns[0][np.searchsorted(keys, stocked)] = capacity
    columns[1][np.searchsorted(keys, counted)] = totals[:, 2]
    return Stocks(
        keys=keys,
        has_inventory=np.isin(keys, stocked),
        capacity=columns[0],
        has_total=np.isin(keys, counted),
        total=columns[1],
    )


def _capacity(row: Sequence[Any]) -> int:
    return Inventory(row[2], reserved=row[3], allocation_ratio=float(row[4])).capacity


def _hold(
    allocations: Units, consumer_rows: Iterable[Sequence[Any]], stray: Sequence[Sequence[Any]]
) -> tuple[list[AuditedConsumer], Holdings]:
    """Consumers, those without a row behind the others, and who holds which allocation."""
    consumers = [
        AuditedConsumer(row[1], row[0], row[2], row[3], row[4], row[5], row[6])
        for row in consumer_rows
    ]
    ids = np.array([one.id for one in consumers], np.int64)
    order = np.argsort(ids)
    holder = allocations[:, 4]
    places = np.zeros(len(holder), np.int64)
    if len(ids):
        found = np.minimum(np.searchsorted(ids[order], holder), len(ids) - 1)
        places = order[found]
    _place_stray(consumers, places, allocations[:, 0], stray)
    holdings = Holdings(
        row_ids=allocations[:, 0],
        keys=slot_keys(allocations[:, 1], allocations[:, 2]),
        used=allocations[:, 3],
        consumer=places,
    )
    return consumers, holdings


def _place_stray(
    consumers: list[AuditedConsumer], places: Units, row_ids: Units, stray: Sequence[Sequence[Any]]
) -> None:
    """Give allocations that name a consumer without a row a consumer that has none."""
    if not stray:
        return
    by_uuid: dict[str, int] = {}
    where = {int(key): place for place, key in enumerate(row_ids)}
    for row_id, uuid, touched_at in stray:
        if uuid not in by_uuid:
            by_uuid[uuid] = len(consumers)
            consumers.append(AuditedConsumer(uuid, touched_at=touched_at))
        places[where[row_id]] = by_uuid[uuid]


def read_audited_books(store: Store) -> AuditedBooks:
    """All books, as of one moment."""
    return store.read_picture(_load_all)


def read_traces(store: Store, uuids: Collection[str]) -> dict[str, list[Trace]]:
    """What the journal says of consumers by now."""
    return store.read_with(lambda connection: _traces(_picture(connection), uuids))
