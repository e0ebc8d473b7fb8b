"""Heal what an audit found: one finding, in one transaction, with a record to undo it by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from moorage.domain.audit_outside import consumers_to_trace
from moorage.domain.audited import HEAL_KIND, AuditRules
from moorage.domain.findings import (
    CreditsRemedy,
    Finding,
    HoldingsRemedy,
    Holds,
    Owner,
    TotalRemedy,
)
from moorage.domain.ledger import Slot
from moorage.domain.mending import HealRefused, decide_rows, healed_generation, moved_units
from moorage.domain.origin import Origin
from moorage.domain.outside import Outside
from moorage.domain.survey import Survey
from moorage.operations.audit import AGE_GUARD_S, judge, judge_sums
from moorage.operations.end_moves import end_moves
from moorage.operations.heal_credits import heal_credits
from moorage.operations.kept_moves import changed_moves, keep_moves_of, partners
from moorage.operations.services import Services
from moorage.store.audit import AuditScope, load_audited_part, load_traces
from moorage.store.dialects import StaleView
from moorage.store.journal import Entry, write_journal
from moorage.store.mend import (
    drop_consumer,
    held_rows,
    insert_consumer,
    load_capacities,
    load_places,
    load_raw_allocations,
    load_raw_consumers,
    load_totals,
    move_totals,
    raise_consumer,
    set_total,
    write_rows,
)
from moorage.store.names import Parties, ensure_parties
from moorage.store.providers import lock_providers
from moorage.store.transaction import Transaction
from moorage.store.undo import (
    ChangedConsumer,
    ChangedTotal,
    Row,
    UndoRecord,
    begin_undo,
    fill_undo,
)

TOTALS_KIND: Final = "audit.total"
"""The journal's name for a running total put right."""


@dataclass(frozen=True, slots=True)
class Healed:
    """What was healed, as it was found in that transaction, and the number to undo it by."""

    undo_id: int
    finding: Finding


def heal(
    services: Services,
    finding: Finding,
    *,
    origin: Origin,
    outside: Outside | None = None,
    age_guard_s: float = AGE_GUARD_S,
) -> Healed:
    """Apply the remedy of a finding, if a second look finds the same.

    Args:
        outside: the truth that the audit went by.
    Raises:
        HealRefused: there is no remedy, the books have moved on, or there is no room.
    """
    if finding.remedy is None:
        raise HealRefused(finding.key, "it has no remedy: nobody could be sure of it")
    rules = AuditRules(services.clock(), age_guard_s)

    def attempt(tx: Transaction) -> Healed:
        lock_providers(tx, _providers_of(finding))
        survey, fresh = _look_again(tx, finding, outside, rules)
        number = begin_undo(
            tx,
            kind=finding.kind,
            subject=finding.subject,
            request_id=origin.request_id,
            at=origin.at,
        )
        if isinstance(fresh.remedy, TotalRemedy):
            record = _heal_total(tx, survey, fresh, fresh.remedy, origin)
        elif isinstance(fresh.remedy, CreditsRemedy):
            record = heal_credits(tx, survey, fresh.remedy, number=number, origin=origin)
        else:
            assert fresh.remedy is not None
            work = _HoldingsHeal(tx, survey, fresh, number=number, services=services, origin=origin)
            record = work.apply(fresh.remedy)
        fill_undo(tx, number, record)
        return Healed(number, fresh)

    return services.store.run(attempt)


def _providers_of(finding: Finding) -> list[str]:
    """The providers whose rows the remedy needs; those that are gone have none."""
    diff = finding.diff
    places = [change.place for change in diff.allocations]
    places += [change.place for change in diff.totals]
    places += [change.place for change in diff.credits]
    return sorted({one.provider for one in places if not one.provider.startswith("#")})


def _look_again(
    tx: Transaction, finding: Finding, outside: Outside | None, rules: AuditRules
) -> tuple[Survey, Finding]:
    """The same finding as this transaction sees it.

    Raises:
        HealRefused: it is gone, or not what was shown.
    """
    near = None if outside is None else _part_of(outside, finding)
    survey = Survey(load_audited_part(tx, _scope(finding, near)))
    if isinstance(finding.remedy, (TotalRemedy, CreditsRemedy)):
        found = judge_sums(survey)
    else:
        traces = load_traces(tx, consumers_to_trace(survey, near))
        found = judge(survey, rules, near, traces)
    fresh = next((one for one in found if one.key == finding.key), None)
    if fresh is None:
        raise HealRefused(finding.key, "it is not there any more")
    # Totals move with every claim: the difference is what counts. Anything else was agreed to
    # as it was shown, at the generations that it was shown at.
    if not isinstance(finding.remedy, TotalRemedy) and fresh.remedy != finding.remedy:
        raise HealRefused(finding.key, "the books have changed since it was shown: audit again")
    return survey, fresh


def _part_of(outside: Outside, finding: Finding) -> Outside:
    """What the truth says of the consumers that a finding is about."""
    about = set(finding.consumers)
    about |= {outside.migrations[one].server for one in about if one in outside.migrations}
    migrations = {
        key: one for key, one in outside.migrations.items() if key in about or one.server in about
    }
    servers = {key: outside.servers[key] for key in about if key in outside.servers}
    return replace(outside, servers=servers, migrations=migrations)


def _scope(finding: Finding, outside: Outside | None) -> AuditScope:
    if isinstance(finding.remedy, TotalRemedy):
        return AuditScope(providers=frozenset({finding.remedy.slot[0]}))
    consumers, hosts = set(finding.consumers), set[str]()
    if outside is not None:
        consumers |= outside.servers.keys() | outside.migrations.keys()
        hosts = {server.host for server in outside.servers.values() if server.host}
    return AuditScope(frozenset(consumers), frozenset(hosts))


def _heal_total(
    tx: Transaction, survey: Survey, finding: Finding, remedy: TotalRemedy, origin: Origin
) -> UndoRecord:
    was = survey.total(remedy.slot)
    set_total(tx, remedy.slot, was=was, becomes=remedy.becomes)
    provider, class_id = remedy.slot
    touched = (provider,) if provider in survey.books.providers else ()
    entry = Entry(TOTALS_KIND, finding.subject, touched, {"used": was}, {"used": remedy.becomes})
    write_journal(tx, [entry], origin)
    changed = ChangedTotal(provider, class_id, was, remedy.becomes, by_units=False)
    return UndoRecord([], [changed], load_places(tx, [remedy.slot]))


def _followed(
    moved: Mapping[Slot, int], totals: Mapping[Slot, int], freed: Mapping[Slot, int]
) -> list[ChangedTotal]:
    """How running totals follow what is held, and what is not credited any more.

    Args:
        totals: as they are once that is not credited.
    """
    changed = [
        ChangedTotal(
            slot[0],
            slot[1],
            totals[slot] - freed.get(slot, 0),
            totals[slot] + moved.get(slot, 0),
            by_units=True,
        )
        for slot in sorted({*moved, *freed})
        if slot in totals
    ]
    return [one for one in changed if one.before != one.after]


class _HoldingsHeal:
    """The heal of what consumers hold, within one transaction."""

    def __init__(
        self,
        tx: Transaction,
        survey: Survey,
        finding: Finding,
        *,
        number: int,
        services: Services,
        origin: Origin,
    ) -> None:
        self._tx = tx
        self._survey = survey
        self._finding = finding
        self._number = number
        self._absentee = services.rules.absentee
        self._origin = origin

    def apply(self, remedy: HoldingsRemedy) -> UndoRecord:
        """Change the consumers and let the running totals follow."""
        tx, uuids = self._tx, [one.consumer for one in remedy.holds]
        # Of a move that is to end there may be nobody left to change.
        kept = keep_moves_of(tx, uuids if remedy.end is None else self._finding.consumers)
        unchanged = partners(tx, kept)
        ended = end_moves(
            tx,
            kept.open,
            end=remedy.end,
            number=self._number,
            readable=self._survey.readable,
            origin=self._origin,
        )
        rows, held = load_raw_consumers(tx, uuids), load_raw_allocations(tx, uuids)
        moved = self._moved(remedy, held)
        totals = self._check_room(moved, ended.freed)
        parties = self._parties(remedy)
        for holds in sorted(remedy.holds, key=lambda one: rows.get(one.consumer, {"id": 0})["id"]):
            self._change(holds, rows.get(holds.consumer), held[holds.consumer], parties)
        move_totals(tx, {slot: by for slot, by in moved.items() if slot in totals})
        rows_after, held_after = load_raw_consumers(tx, uuids), load_raw_allocations(tx, uuids)
        changed = [
            ChangedConsumer(
                holds.consumer,
                rows.get(holds.consumer),
                rows_after.get(holds.consumer),
                held[holds.consumer],
                held_after[holds.consumer],
                *self._told(holds, rows_after.get(holds.consumer)),
            )
            for holds in remedy.holds
        ]
        self._write_journal(changed)
        return UndoRecord(
            [*changed, *(one for one in unchanged if one.uuid not in uuids)],
            _followed(moved, totals, ended.freed),
            load_places(tx, {*moved, *ended.freed}),
            changed_moves(tx, kept, ended.entries),
        )

    def _moved(self, remedy: HoldingsRemedy, held: Mapping[str, list[Row]]) -> Counter[Slot]:
        moved: Counter[Slot] = Counter()
        for holds in remedy.holds:
            moved.update(moved_units(held_rows(held[holds.consumer]), holds.keeps))
        return Counter({slot: by for slot, by in moved.items() if by})

    def _check_room(self, moved: Mapping[Slot, int], freed: Mapping[Slot, int]) -> dict[Slot, int]:
        """The running totals that follow; what is held more of has to fit."""
        providers = {slot[0] for slot in (*moved, *freed)}
        totals = load_totals(self._tx, providers)
        capacities = load_capacities(self._tx, providers)
        for slot, by in moved.items():
            if slot in capacities and slot not in totals:
                raise HealRefused(self._finding.key, "heal its inventory's running total first")
            if by > 0 and slot not in capacities:
                raise HealRefused(self._finding.key, "there is no inventory to hold something of")
            if by > 0 and totals[slot] + by > capacities[slot]:
                place = self._survey.books.place(slot)
                raise HealRefused(
                    self._finding.key,
                    f"{place.resource_class} does not fit on {place.provider}: {totals[slot]} of"
                    f" {capacities[slot]} are in use, {by} more are needed",
                )
        return totals

    def _parties(self, remedy: HoldingsRemedy) -> Parties:
        owners = [self._owner(one) for one in remedy.holds if one.generation is None]
        return ensure_parties(
            self._tx,
            project_ids={one.project_id for one in owners if one.project_id},
            user_ids={one.user_id for one in owners if one.user_id},
            types=set(),
            at=self._origin.at,
        )

    def _owner(self, holds: Holds) -> Owner:
        """Whom a consumer made anew belongs to: the absentee, if nobody has told."""
        given = holds.owner or Owner(None, None)
        return Owner(
            given.project_id or self._absentee.project_id,
            given.user_id or self._absentee.user_id,
        )

    def _change(self, holds: Holds, row: Row | None, held: Sequence[Row], parties: Parties) -> None:
        if (None if row is None else row["generation"]) != holds.generation:
            raise StaleView
        tx, at = self._tx, self._origin.at
        if row is None:
            owner = self._owner(holds)
            assert owner.project_id is not None
            assert owner.user_id is not None
            insert_consumer(
                tx,
                holds.consumer,
                project=parties.projects[owner.project_id],
                user=parties.users[owner.user_id],
                generation=healed_generation(0, self._number),
                at=at,
            )
        elif holds.keeps:
            becomes = healed_generation(row["generation"], self._number)
            raise_consumer(tx, row, becomes=becomes, at=at)
        else:
            drop_consumer(tx, row)
        rows = held_rows(held)
        write_rows(tx, holds.consumer, rows, decide_rows(rows, holds.keeps), at=at)

    def _told(self, holds: Holds, after: Row | None) -> tuple[Row | None, Row | None]:
        """A consumer before and after as the journal tells it."""
        position = self._survey.position(holds.consumer)
        consumer = None if position is None else self._survey.books.consumers[position]
        owner = self._owner(holds)
        common: dict[str, Any] = {
            "project_id": owner.project_id,
            "user_id": owner.user_id,
            "consumer_type": None,
        }
        before = None
        if consumer is not None and consumer.id is not None and position is not None:
            common = {
                "project_id": consumer.project_id or "",
                "user_id": consumer.user_id or "",
                "consumer_type": consumer.consumer_type,
            }
            held = self._survey.readable(self._survey.held(position))
            before = {"resources": held, "generation": consumer.generation} | common
        if after is None:
            return before, None
        resources = self._survey.readable(holds.keeps)
        return before, {"resources": resources, "generation": after["generation"]} | common

    def _write_journal(self, changed: Sequence[ChangedConsumer]) -> None:
        known = self._survey.books.providers
        entries = []
        for one in changed:
            rows = held_rows((*one.held_before, *one.held_after))
            providers = sorted({row.slot[0] for row in rows if row.slot[0] in known})
            entries.append(
                Entry(HEAL_KIND, one.uuid, tuple(providers), one.told_before, one.told_after)
            )
        write_journal(self._tx, entries, self._origin)
