"""Undo a heal: put back what it changed, to the byte, unless the books have moved on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from moorage.domain.audited import HEAL_KIND
from moorage.domain.ids import MoveUuid, ProviderId, ResourceClassId
from moorage.domain.ledger import Slot
from moorage.domain.mending import UndoRefused
from moorage.domain.origin import Origin
from moorage.operations.heal import TOTALS_KIND
from moorage.operations.heal_credits import CREDITS_KIND
from moorage.operations.services import Services
from moorage.store.journal import CREDIT_KIND, Entry, write_journal
from moorage.store.mend import (
    load_capacities,
    load_places,
    load_raw_allocations,
    load_raw_consumers,
    load_totals,
    move_totals,
    restore_allocations,
    restore_consumer,
    set_total,
)
from moorage.store.mend_moves import (
    load_raw_credits,
    load_raw_moves,
    restore_credits,
    restore_move,
)
from moorage.store.providers import lock_providers
from moorage.store.transaction import Transaction
from moorage.store.undo import (
    ChangedConsumer,
    ChangedTotal,
    KeptUndo,
    Row,
    load_undo,
    mark_undone,
    read_undos,
)

MOVE_BACK_KIND: Final = "move.restore"
"""The journal's name for a move that a heal had ended, and that is open again."""

CREDIT_KINDS: Final = (CREDIT_KIND, CREDITS_KIND)

__all__ = ["KeptUndo", "Undone", "list_undos", "undo"]


@dataclass(frozen=True, slots=True)
class Undone:
    """What was put back; ``renumbered`` rows have another row id than before, as theirs is taken.

    Row ids never leave the service.
    """

    kept: KeptUndo
    renumbered: int


def list_undos(services: Services, *, most: int) -> list[KeptUndo]:
    """The newest heals."""
    return read_undos(services.store, most=most)


def undo(services: Services, undo_id: int, *, origin: Origin) -> Undone:
    """Put back what a heal changed.

    Raises:
        UndoRefused: there is no such heal, it is undone already, or what it left has changed.
    """

    def attempt(tx: Transaction) -> Undone:
        kept = load_undo(tx, undo_id)
        if kept is None:
            raise UndoRefused(undo_id, "there is no heal of this number")
        if kept.undone_at is not None:
            raise UndoRefused(undo_id, f"it was undone at {kept.undone_at:%Y-%m-%d %H:%M:%S}")
        uuids = {place.uuid for place in kept.record.places if place.uuid is not None}
        lock_providers(tx, sorted(uuids))
        _check_places(tx, kept)
        _restore_moves(tx, kept)
        renumbered = _restore_consumers(tx, kept)
        _restore_totals(tx, kept)
        write_journal(tx, _entries(kept), origin)
        mark_undone(tx, undo_id, at=origin.at)
        return Undone(kept, renumbered)

    return services.store.run(attempt)


def _slot(total: ChangedTotal) -> Slot:
    return ProviderId(total.provider), ResourceClassId(total.class_id)


def _check_places(tx: Transaction, kept: KeptUndo) -> None:
    """What stood behind the slots has to stand there still."""
    slots = [
        (ProviderId(place.provider), ResourceClassId(place.class_id))
        for place in kept.record.places
    ]
    now = {(place.provider, place.class_id): place for place in load_places(tx, slots)}
    for place in kept.record.places:
        found = now[place.provider, place.class_id]
        if found.uuid != place.uuid:
            raise UndoRefused(kept.id, f"the provider {place.uuid} is not there any more")
        if found.stocked != place.stocked:
            fate = "is new since" if found.stocked else "is gone"
            raise UndoRefused(kept.id, f"an inventory of the provider {place.uuid} {fate}")


def _restore_consumers(tx: Transaction, kept: KeptUndo) -> int:
    uuids = [one.uuid for one in kept.record.consumers]
    rows, held = load_raw_consumers(tx, uuids), load_raw_allocations(tx, uuids)
    for one in kept.record.consumers:
        _check_consumer(kept, one, rows.get(one.uuid), held[one.uuid])
    changed = [one for one in kept.record.consumers if _has_changed(one)]
    # What the heal made goes first: some databases gave it the row ids of what it dropped.
    for one in sorted(changed, key=lambda one: one.before is not None):
        restore_consumer(tx, now=rows.get(one.uuid), before=one.before)
    return restore_allocations(
        tx,
        now=[row for one in changed for row in held[one.uuid]],
        before=[row for one in changed for row in one.held_before],
    )


def _has_changed(one: ChangedConsumer) -> bool:
    """Whether the heal changed a consumer, rather than a move that it is in."""
    return one.before != one.after or one.held_before != one.held_after


def _check_consumer(kept: KeptUndo, one: ChangedConsumer, row: Row | None, held: list[Row]) -> None:
    if row == one.after and held == one.held_after:
        return
    if row is None:
        reason = "is gone since"
    elif one.after is None:
        reason = "has been made anew since"
    else:
        reason = f"has changed since (generation {row['generation']})"
    raise UndoRefused(kept.id, f"the consumer {one.uuid} {reason}")


def _restore_moves(tx: Transaction, kept: KeptUndo) -> None:
    uuids = [one.uuid for one in kept.record.moves]
    rows, credited = load_raw_moves(tx, uuids), load_raw_credits(tx, uuids)
    for one in kept.record.moves:
        now = rows.get(one.uuid)
        if now != one.after or credited[one.uuid] != one.credits_after:
            raise UndoRefused(kept.id, f"the move {one.uuid} has changed since")
        if now is not None and one.before is not None and one.before != now:
            restore_move(tx, now=now, before=one.before)
        restore_credits(tx, one.uuid, now=credited[one.uuid], before=one.credits_before)


def _restore_totals(tx: Transaction, kept: KeptUndo) -> None:
    providers = {total.provider for total in kept.record.totals}
    now, capacities = load_totals(tx, providers), load_capacities(tx, providers)
    moved: dict[Slot, int] = {}
    for total in kept.record.totals:
        slot = _slot(total)
        if total.by_units:
            moved[slot] = _units_back(kept, total, now, capacities)
        elif now.get(slot) != total.after:
            raise UndoRefused(kept.id, "the running total has moved on with newer claims")
        else:
            set_total(tx, slot, was=total.after, becomes=total.before)
    move_totals(tx, moved)


def _units_back(
    kept: KeptUndo, total: ChangedTotal, now: Mapping[Slot, int], capacities: Mapping[Slot, int]
) -> int:
    """By how many units a total follows what is put back, which has to fit."""
    slot = _slot(total)
    if slot not in now or total.before is None or total.after is None:
        raise UndoRefused(kept.id, "a running total is gone since")
    by = total.before - total.after
    # What was over-full before the heal may be as full again, and no fuller.
    room = max(capacities.get(slot, 0), total.before)
    if by > 0 and now[slot] + by > room:
        raise UndoRefused(
            kept.id, f"others hold by now what it freed: {now[slot]} of {room} units are in use"
        )
    return by


def _entries(kept: KeptUndo) -> list[Entry]:
    """The heal's journal rows the other way round."""
    known = {place.provider for place in kept.record.places if place.uuid is not None}
    entries = []
    for move in kept.record.moves:
        for told in reversed(move.told):
            kind = told.kind if told.kind in CREDIT_KINDS else MOVE_BACK_KIND
            near = tuple(ProviderId(one) for one in told.providers)
            key = MoveUuid(move.uuid)
            entries.append(Entry(kind, move.uuid, near, told.after, told.before, key))
    for one in filter(_has_changed, kept.record.consumers):
        rows = (*one.held_before, *one.held_after)
        touched = {ProviderId(row["resource_provider_id"]) for row in rows}
        providers = tuple(sorted(touched & known))
        entries.append(Entry(HEAL_KIND, one.uuid, providers, one.told_after, one.told_before))
    for total in kept.record.totals:
        if not total.by_units:
            touched = {ProviderId(total.provider)} & known
            before, after = {"used": total.after}, {"used": total.before}
            entries.append(Entry(TOTALS_KIND, kept.subject, tuple(touched), before, after))
    return entries
