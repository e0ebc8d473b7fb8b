"""Moves as they are before a heal changes them, so that its undo can put them back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from moorage.domain.ids import MoveUuid
from moorage.domain.move import Move
from moorage.store.journal import Entry
from moorage.store.mend import load_raw_allocations, load_raw_consumers
from moorage.store.mend_moves import load_raw_credits, load_raw_moves
from moorage.store.moves import load_moves, load_moves_of
from moorage.store.transaction import Transaction
from moorage.store.undo import ChangedConsumer, ChangedMove, Row, ToldOfMove


@dataclass(frozen=True, slots=True)
class KeptMoves:
    """Moves about to change: those that are open, and the rows of all as the driver has them."""

    open: Sequence[Move]
    uuids: Sequence[str]
    rows: Mapping[str, Row]
    credits: Mapping[str, list[Row]]

    @property
    def consumers(self) -> set[str]:
        """Both consumers of each open move."""
        return {uuid for move in self.open for uuid in (move.consumer, move.hold)}


def keep_moves_of(tx: Transaction, consumers: Collection[str]) -> KeptMoves:
    """The open moves that some consumers are in."""
    return _keep(tx, load_moves_of(tx, consumers), ())


def keep_move(tx: Transaction, uuid: str) -> KeptMoves:
    """One move, open or not, or just the credits that name it."""
    return _keep(tx, load_moves(tx, [MoveUuid(uuid)]), [uuid])


def _keep(tx: Transaction, moves: Sequence[Move], more: Sequence[str]) -> KeptMoves:
    uuids = sorted({*(move.uuid for move in moves), *more})
    return KeptMoves(moves, uuids, load_raw_moves(tx, uuids), load_raw_credits(tx, uuids))


def partners(tx: Transaction, kept: KeptMoves) -> list[ChangedConsumer]:
    """The consumers of moves that change while they themselves stay as they are."""
    rows, held = (
        load_raw_consumers(tx, kept.consumers),
        load_raw_allocations(tx, kept.consumers),
    )
    return [
        ChangedConsumer(uuid, rows.get(uuid), rows.get(uuid), held[uuid], held[uuid], None, None)
        for uuid in sorted(kept.consumers)
    ]


def changed_moves(
    tx: Transaction, kept: KeptMoves, entries: Collection[Entry]
) -> list[ChangedMove]:
    """What has become of moves by now, and of their credits.

    Args:
        entries: what the journal was told meanwhile.
    """
    rows, credited = load_raw_moves(tx, kept.uuids), load_raw_credits(tx, kept.uuids)
    return [
        ChangedMove(
            uuid,
            kept.rows.get(uuid),
            rows.get(uuid),
            kept.credits[uuid],
            credited[uuid],
            [
                ToldOfMove(one.kind, list(one.providers), one.before, one.after)
                for one in entries
                if one.subject == uuid
            ],
        )
        for uuid in kept.uuids
    ]
