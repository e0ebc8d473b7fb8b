"""The auditor's checks of what moves leave behind: doubled pools, and holds whose move is over.

While an instance moves, a migration's consumer holds the source. On a pool both hold the same
space, which an old service counted twice; and a hold that nobody dropped holds for ever. Which
consumers are migrations is known by their type, or from outside.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from moorage.domain.audited import AuditedConsumer, AuditedMove, AuditRules, Trace, key_of
from moorage.domain.findings import Confidence, Doubt, Finding, Holds, Kind, Owner
from moorage.domain.ids import ConsumerUuid, ProviderId
from moorage.domain.ledger import Slot
from moorage.domain.move import MoveState
from moorage.domain.outside import DONE, Migration, Outside
from moorage.domain.survey import Survey

MIGRATION_TYPE: Final = "MIGRATION"


class Owners:
    """Which consumers belong to the same project and user."""

    def __init__(self, survey: Survey) -> None:
        codes: dict[tuple[str | None, str | None], int] = {}
        self._of_consumer = np.array(
            [
                codes.setdefault((one.project_id, one.user_id), len(codes))
                for one in survey.books.consumers
            ],
            dtype=np.int64,
        )
        self._survey = survey
        self._of_row = self._of_consumer[survey.books.holdings.consumer]

    def partners(self, position: int, pools: set[ProviderId]) -> list[int]:
        """Consumers of the same owner that hold exactly as much of one of these pools."""
        rows = self._survey.books.holdings
        near = self._of_row == self._of_consumer[position]
        alike = np.zeros(len(near), dtype=np.bool_)
        for slot, amount in self._survey.held(position).items():
            if slot[0] in pools:
                alike |= near & (rows.keys == key_of(slot)) & (rows.used == amount)
        return [int(one) for one in np.unique(rows.consumer[alike]) if one != position]


def migrations_in(survey: Survey, outside: Outside | None) -> list[int]:
    """The consumers that hold something and are known to be holds of moves that may be over."""
    known = set(survey.open_by_hold) | set(survey.ended_by_hold)
    if outside is not None:
        known |= outside.migrations.keys()
    return [
        position
        for position, consumer in enumerate(survey.books.consumers)
        if (consumer.consumer_type == MIGRATION_TYPE or consumer.uuid in known)
        and consumer.uuid not in survey.in_ordered_moves
        and len(survey.rows_of(position))
    ]


def doubt_of_hold(
    survey: Survey, rules: AuditRules, outside: Outside, move: AuditedMove
) -> Doubt | None:
    """Why the hold of an observed move that no list of migrations names may be needed still.

    The move says whose hold it is, and nothing of whether it is over: the server tells that. None
    if the server is there, on its way nowhere, and no migration of its is listed.
    """
    server = outside.servers[move.consumer]
    position = survey.position(move.hold)
    assert position is not None
    touched_at = survey.books.consumers[position].touched_at
    if outside.unseen(server):
        return Doubt.CELL_SILENT
    if outside.in_flight(server):
        return Doubt.IN_FLIGHT
    if rules.is_young(touched_at, seen_at=outside.taken_at):
        return Doubt.YOUNG
    return None if outside.migrations_complete else Doubt.MIGRATIONS_UNLISTED


@dataclass(frozen=True, slots=True)
class Hold:
    """A migration's consumer: who it holds for, how that is known, and what both hold of pools.

    ``partner`` is the instance's position, None for one that holds nothing or is not known;
    ``migration`` is None where nothing tells of it. ``ended``: the books have the end of its move.
    """

    position: int
    partner: int | None
    known_by: str
    doubled: Mapping[Slot, int]
    migration: Migration | None
    ended: AuditedMove | None = None

    @property
    def over(self) -> bool:
        return self.migration is not None and self.migration.over


def find_left_holds(
    survey: Survey,
    rules: AuditRules,
    outside: Outside | None,
    traces: Mapping[str, Sequence[Trace]],
) -> Iterator[Finding]:
    """Migrations that hold what their instance holds as well, or whose move is over."""
    positions = migrations_in(survey, outside)
    owners = Owners(survey) if positions else None
    for position in positions:
        assert owners is not None
        consumer = survey.books.consumers[position]
        move = survey.open_by_hold.get(consumer.uuid)
        migration = _migration(survey, rules, outside, consumer)
        partner, known_by = _partner(survey, position, owners, migration, traces)
        doubled = {} if partner is None else doubled_slots(survey, position, partner)
        if move is not None and move.credits:
            doubled = {}  # both hold it, and it counts once
        ended = survey.ended_by_hold.get(consumer.uuid)
        hold = Hold(position, partner, known_by, doubled, migration, ended)
        if hold.doubled or hold.over:
            yield _judge(survey, hold, rules, outside)


def _migration(
    survey: Survey, rules: AuditRules, outside: Outside | None, consumer: AuditedConsumer
) -> Migration | None:
    """What is told of a migration: from outside, or by a move in the books that is over."""
    if outside is not None and consumer.uuid in outside.migrations:
        return outside.migrations[consumer.uuid]
    ended = survey.ended_by_hold.get(consumer.uuid)
    if ended is not None:
        return Migration(consumer.uuid, ended.consumer, ended.kind, DONE)
    observed = survey.open_by_hold.get(consumer.uuid)
    if observed is None or outside is None or observed.consumer not in outside.servers:
        return None
    if doubt_of_hold(survey, rules, outside, observed) is not None:
        return None
    return Migration(consumer.uuid, observed.consumer, observed.kind, DONE)


def _partner(
    survey: Survey,
    position: int,
    owners: Owners,
    migration: Migration | None,
    traces: Mapping[str, Sequence[Trace]],
) -> tuple[int | None, str]:
    """The instance that a migration moves, and how that is known."""
    uuid = survey.books.consumers[position].uuid
    for moves, known_by in (
        (survey.ended_by_hold, "the move that was ordered names it"),
        (survey.open_by_hold, "the move that was observed names it"),
    ):
        if uuid in moves and (migration is None or migration.server == moves[uuid].consumer):
            return survey.position(moves[uuid].consumer), known_by
    if migration is not None:
        return survey.position(migration.server), "the outside truth names it"
    swapped = swapped_from(traces.get(uuid, ()))
    if swapped is not None and (found := survey.position(swapped)) is not None:
        return found, "the journal shows that it gave its allocations to the migration"
    alike = owners.partners(position, set(survey.pools(position)))
    if len(alike) == 1:
        return alike[0], "no other consumer of the same owner holds as much of the same pool"
    return None, ""


def swapped_from(traces: Sequence[Trace]) -> str | None:
    """The consumer that gave its allocations to this one, if the journal told of it."""
    for trace in traces:
        if trace.swapped_from is not None:
            return trace.swapped_from
    return None


def doubled_slots(survey: Survey, one: int, other: int) -> dict[Slot, int]:
    """What two consumers both hold of the same pools: the least of both, by slot."""
    mine, theirs = survey.held(one), survey.held(other)
    pools = set(survey.pools(one)) & set(survey.pools(other))
    return {
        slot: min(amount, theirs[slot])
        for slot, amount in mine.items()
        if slot[0] in pools and slot in theirs
    }


def _evidence(survey: Survey, hold: Hold) -> dict[str, object]:
    evidence: dict[str, object] = {"held": survey.readable(survey.held(hold.position))}
    if hold.partner is not None:
        evidence["instance"] = survey.books.consumers[hold.partner].uuid
        evidence["instance_known_by"] = hold.known_by
    if hold.doubled:
        evidence["counted_twice"] = survey.readable(hold.doubled)
    if hold.ended is not None:
        evidence["move_state"] = hold.ended.state
        evidence["move_kind"] = hold.ended.kind
    elif hold.migration is not None:
        evidence["migration_state"] = hold.migration.state
        evidence["migration_kind"] = hold.migration.kind
    return evidence


def _judge(survey: Survey, hold: Hold, rules: AuditRules, outside: Outside | None) -> Finding:
    consumer = survey.books.consumers[hold.position]
    is_duplicate = hold.doubled and hold.ended is None
    kind = Kind.POOL_DUPLICATE if is_duplicate else Kind.HOLD_LEFT
    evidence = _evidence(survey, hold)
    seen_at = None if outside is None else outside.taken_at
    confidence: Confidence = Confidence.LIKELY
    doubt: Doubt | None = None
    holds: tuple[Holds, ...] = ()
    if rules.is_young(consumer.touched_at, seen_at=seen_at):
        doubt = Doubt.YOUNG
    elif (
        hold.migration is not None
        and outside is not None
        and (hold.ended is None or hold.migration.server in outside.servers)
    ):
        confidence, doubt, holds = _remedy(survey, hold, outside, hold.migration)
    elif hold.ended is not None:
        confidence, holds = _remedy_by_books(survey, hold, hold.ended)
    if doubt is not None:
        confidence = Confidence.UNKNOWN
        evidence["unknown_because"] = doubt
    partner = None if hold.partner is None else survey.books.consumers[hold.partner].uuid
    return survey.finding(
        kind,
        consumer,
        confidence,
        _SAYS[kind],
        evidence=evidence,
        holds=holds,
        also=() if partner is None else (partner,),
    )


_SAYS: Final = {
    Kind.POOL_DUPLICATE: "a migration and its instance hold the same space of a pool twice",
    Kind.HOLD_LEFT: "its migration is over, and it still holds what it was to give back",
}


def _remedy_by_books(
    survey: Survey, hold: Hold, ended: AuditedMove
) -> tuple[Confidence, tuple[Holds, ...]]:
    """What to do about a hold where its move's end is all that is known."""
    held = survey.readable(survey.held(hold.position))
    if ended.state is MoveState.ABANDONED or held != ended.source:
        # Its instance may be there still; or somebody has a use for it that no move tells of.
        return Confidence.LIKELY, ()
    return Confidence.CERTAIN, (survey.holds(hold.position, {}),)


def _remedy(
    survey: Survey, hold: Hold, outside: Outside, migration: Migration
) -> tuple[Confidence, Doubt | None, tuple[Holds, ...]]:
    """What to do about the hold of a migration, where that is known."""
    if not migration.over:
        return Confidence.UNKNOWN, Doubt.IN_FLIGHT, ()
    server = outside.servers.get(migration.server)
    drop = survey.holds(hold.position, {})
    if server is None:
        # Its instance is gone or hidden: whether it is an orphan is judged elsewhere.
        return Confidence.LIKELY, None, ()
    if outside.unseen(server):
        return Confidence.UNKNOWN, Doubt.CELL_SILENT, ()
    if outside.in_flight(server):
        return Confidence.UNKNOWN, Doubt.IN_FLIGHT, ()
    runs_on_source = _holds_host(survey, hold.position, server.host)
    runs_on_own = hold.partner is not None and _holds_host(survey, hold.partner, server.host)
    if runs_on_own:
        # One that no list names any more was looked for, and not asked for.
        is_told = migration.uuid in outside.migrations or hold.ended is not None
        return Confidence.CERTAIN if is_told else Confidence.LIKELY, None, (drop,)
    if runs_on_source:
        # A revert that was not finished: the server is back, its allocations are not.
        back = _given_back(survey, hold, migration)
        return Confidence.LIKELY, None, (drop, back)
    return Confidence.LIKELY, None, ()


def _given_back(survey: Survey, hold: Hold, migration: Migration) -> Holds:
    """The instance with what its migration holds, and nothing else."""
    held = survey.held(hold.position)
    if hold.partner is not None:
        return survey.holds(hold.partner, held)
    consumer = survey.books.consumers[hold.position]
    owner = Owner(consumer.project_id, consumer.user_id)
    return Holds(ConsumerUuid(migration.server), held, None, owner)


def _holds_host(survey: Survey, position: int, host: str | None) -> bool:
    """Whether a consumer holds something on the tree of this host."""
    providers = survey.books.providers
    return any(host in providers[root].names for root in survey.trees(position))
