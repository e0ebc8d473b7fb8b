"""A look at all holdings at once: by consumer, by tree, by pool."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from moorage.domain.audited import (
    AuditedBooks,
    AuditedConsumer,
    AuditedMove,
    Flags,
    Units,
    key_of,
    look_up,
    slot_of,
)
from moorage.domain.findings import (
    AllocationDiff,
    Confidence,
    ConsumerDiff,
    CreditDiff,
    Diff,
    Finding,
    HoldingsRemedy,
    Holds,
    Kind,
    MoveDiff,
    MoveEnd,
    Severity,
    TotalDiff,
)
from moorage.domain.ids import ProviderId
from moorage.domain.ledger import Slot
from moorage.domain.move import MoveState

SEVERITIES: Final[Mapping[Kind, Severity]] = {
    Kind.TOTAL_WRONG: Severity.ERROR,
    Kind.TOTAL_MISSING: Severity.ERROR,
    Kind.TOTAL_EXTRA: Severity.WARNING,
    Kind.OVER_CAPACITY: Severity.NOTICE,
    Kind.NO_PROVIDER: Severity.ERROR,
    Kind.NO_INVENTORY: Severity.WARNING,
    Kind.NO_CONSUMER: Severity.ERROR,
    Kind.EMPTY_CONSUMER: Severity.NOTICE,
    Kind.TWO_TREES: Severity.WARNING,
    Kind.POOL_DUPLICATE: Severity.WARNING,
    Kind.HOLD_LEFT: Severity.WARNING,
    Kind.ORPHAN: Severity.WARNING,
    Kind.UNSEEN: Severity.NOTICE,
    Kind.HOLDS_UNPLACED: Severity.WARNING,
    Kind.HELD_ELSEWHERE: Severity.ERROR,
    Kind.MISSING: Severity.ERROR,
    Kind.AMOUNTS_DIFFER: Severity.WARNING,
    Kind.MOVE_OVERDUE: Severity.WARNING,
    Kind.CREDIT_WRONG: Severity.ERROR,
}
"""Errors: the books are wrong about what is free or who holds; warnings: something is held back."""


class Survey:
    """The books of one moment with what their columns say about each consumer."""

    def __init__(self, books: AuditedBooks) -> None:
        self.books = books
        self._by_uuid: dict[str, int] | None = None
        rows = books.holdings
        self.provider = rows.keys >> 32
        ids = np.array(sorted(books.providers), dtype=np.int64)
        roots = np.array([books.providers[ProviderId(int(key))].root for key in ids], np.int64)
        shares = np.array([books.providers[ProviderId(int(key))].shares for key in ids], np.int64)
        self.root = look_up(self.provider, ids, roots)
        """The tree of each row by its root's row id, 0 where the provider is gone."""
        self.on_pool: Flags = look_up(self.provider, ids, shares) == 1
        self._order = np.argsort(rows.consumer, kind="stable")
        self._starts = np.searchsorted(
            rows.consumer[self._order], np.arange(len(books.consumers) + 1)
        )
        self.open_moves = tuple(move for move in books.moves if move.state.is_open)
        self.open_by_hold: Mapping[str, AuditedMove] = {one.hold: one for one in self.open_moves}
        self._open_by_member: Mapping[str, AuditedMove] = {
            uuid: one for one in self.open_moves for uuid in (one.consumer, one.hold)
        }
        self.ended_by_hold: Mapping[str, AuditedMove] = {
            one.hold: one for one in books.moves if not one.state.is_open
        }
        """Ordered moves that are over, by the holds that are still there."""
        self.in_ordered_moves = frozenset(
            uuid for one in self.open_moves if one.is_ordered for uuid in (one.consumer, one.hold)
        )
        """Consumers that belong to the client who moves them, as long as the move is open."""

    def rows_of(self, position: int) -> Units:
        """The rows of one consumer, as places in the columns."""
        return self._order[self._starts[position] : self._starts[position + 1]]

    def held(self, position: int) -> dict[Slot, int]:
        """Units by slot that a consumer holds."""
        held: dict[Slot, int] = {}
        rows = self.books.holdings
        for row in self.rows_of(position):
            slot = slot_of(rows.keys[row])
            held[slot] = held.get(slot, 0) + int(rows.used[row])
        return held

    def held_by(self, uuid: str) -> dict[Slot, int]:
        """Units by slot that a consumer holds, nothing for one that the books do not know."""
        position = self.position(uuid)
        return {} if position is None else self.held(position)

    def trees(self, position: int) -> list[ProviderId]:
        """Roots of the trees, not of pools, that a consumer holds something on."""
        rows = self.rows_of(position)
        mine = rows[~self.on_pool[rows] & (self.root[rows] > 0)]
        return [ProviderId(int(root)) for root in np.unique(self.root[mine])]

    def pools(self, position: int) -> list[ProviderId]:
        """The pools that a consumer holds something on."""
        rows = self.rows_of(position)
        return [ProviderId(int(key)) for key in np.unique(self.provider[rows[self.on_pool[rows]]])]

    def position(self, uuid: str) -> int | None:
        """Where in the list a consumer is; None: the books do not know it."""
        if self._by_uuid is None:
            self._by_uuid = {one.uuid: place for place, one in enumerate(self.books.consumers)}
        return self._by_uuid.get(uuid)

    def stocked(self, slot: Slot) -> bool:
        """Whether there is an inventory."""
        place = self._stock(slot)
        return place is not None and bool(self.books.stocks.has_inventory[place])

    def total(self, slot: Slot) -> int | None:
        """The running total of a slot; None: there is no row."""
        place = self._stock(slot)
        if place is None or not self.books.stocks.has_total[place]:
            return None
        return int(self.books.stocks.total[place])

    def _stock(self, slot: Slot) -> int | None:
        keys = self.books.stocks.keys
        key = key_of(slot)
        place = int(np.searchsorted(keys, key))
        return place if place < len(keys) and keys[place] == key else None

    def readable(self, held: Mapping[Slot, int]) -> dict[str, dict[str, int]]:
        """Holdings by provider and class, as people know them."""
        told: dict[str, dict[str, int]] = {}
        for slot, amount in sorted(held.items()):
            place = self.books.place(slot)
            told.setdefault(place.provider, {})[place.resource_class] = amount
        return told

    def tree_names(self, roots: Iterable[ProviderId]) -> list[str]:
        """The roots of trees, by name where they have one."""
        providers = self.books.providers
        return [
            (providers[root].name or providers[root].uuid) if root in providers else f"#{root}"
            for root in roots
        ]

    def diff(self, holds: Iterable[Holds], end: MoveEnd | None = None) -> Diff:
        """What making consumers hold this changes, and ending their moves.

        Args:
            end: how one of these moves ends; any other is abandoned.
        """
        consumers: list[ConsumerDiff] = []
        allocations: list[AllocationDiff] = []
        moved: Counter[Slot] = Counter()
        for change in holds:
            position = self.position(change.consumer)
            before = {} if position is None else self.held(position)
            fate = "gone" if not change.keeps else "made" if change.generation is None else "kept"
            consumers.append(ConsumerDiff(change.consumer, change.generation, fate))
            for slot in sorted({*before, *change.keeps}):
                was, becomes = before.get(slot, 0), change.keeps.get(slot, 0)
                if was != becomes:
                    place = self.books.place(slot)
                    allocations.append(AllocationDiff(change.consumer, place, was, becomes))
                    moved[slot] += becomes - was
        # An ordered move has its hold's uuid, and may be all that is left of it.
        ending = () if end is None else (end.uuid,)
        ended = self._moves_of((*(one.consumer for one in consumers), *ending))
        moves = {one.uuid: MoveDiff(one.uuid, one.state, MoveState.ABANDONED) for one in ended}
        if end is not None:
            moves[end.uuid] = MoveDiff(end.uuid, end.before, end.after)
        uncredited = [
            CreditDiff(move.uuid, self.books.place(slot), amount, 0)
            for move in ended
            for slot, amount in sorted(move.credits.items())
        ]
        for move in ended:
            moved.update(move.credits)
        totals = [
            TotalDiff(self.books.place(slot), total, total + by)
            for slot, by in sorted(moved.items())
            if by and (total := self.total(slot)) is not None
        ]
        return Diff(
            tuple(consumers),
            tuple(allocations),
            tuple(totals),
            tuple(moves.values()),
            tuple(uncredited),
        )

    def _moves_of(self, consumers: Iterable[str]) -> list[AuditedMove]:
        """The open moves that some consumers are in, each once."""
        found = (self._open_by_member.get(uuid) for uuid in consumers)
        return list({move.uuid: move for move in found if move is not None}.values())

    def holds(self, position: int, keeps: Mapping[Slot, int]) -> Holds:
        """A change of what a consumer holds, from the state it is in."""
        consumer = self.books.consumers[position]
        return Holds(consumer.uuid, dict(keeps), consumer.generation)

    def finding(
        self,
        kind: Kind,
        consumer: AuditedConsumer,
        confidence: Confidence,
        says: str,
        *,
        evidence: Mapping[str, object],
        holds: Iterable[Holds] = (),
        also: Iterable[str] = (),
    ) -> Finding:
        """A finding about a consumer, and ``also`` others; one that is not known has no remedy."""
        changes = tuple(holds) if confidence is not Confidence.UNKNOWN else ()
        return Finding(
            kind,
            consumer.uuid,
            confidence,
            SEVERITIES[kind],
            says,
            evidence={
                "project": consumer.project_id,
                "type": consumer.consumer_type,
                "changed_at": consumer.touched_at and consumer.touched_at.isoformat(),
                **evidence,
            },
            remedy=HoldingsRemedy(changes) if changes else None,
            diff=self.diff(changes),
            consumers=tuple(
                dict.fromkeys((consumer.uuid, *(one.consumer for one in changes), *also))
            ),
        )
