"""The auditor's checks of what moves leave behind: doubled pools, and holds whose move is over.

While an instance moves, a migration's consumer holds the source. On a pool both hold the same
space, which an old service counted twice; and a hold that nobody dropped holds for ever. Which
consumers are migrations is known by their type, or from outside.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from moorage.domain.audited import AuditRules, Trace, key_of
from moorage.domain.findings import Confidence, Doubt, Finding, Holds, Kind, Owner
from moorage.domain.ids import ConsumerUuid, ProviderId
from moorage.domain.ledger import Slot
from moorage.domain.outside import Migration, Outside
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
    """The consumers that hold something and are known to be migrations."""
    known = {} if outside is None else outside.migrations
    return [
        position
        for position, consumer in enumerate(survey.books.consumers)
        if (consumer.consumer_type == MIGRATION_TYPE or consumer.uuid in known)
        and consumer.uuid not in survey.books.in_moves
        and len(survey.rows_of(position))
    ]


@dataclass(frozen=True, slots=True)
class Hold:
    """A migration's consumer: who it holds for, how that is known, and what both hold of pools.

    ``partner`` is the instance's position, None for one that holds nothing or is not known;
    ``migration`` is None where nothing outside tells of it.
    """

    position: int
    partner: int | None
    known_by: str
    doubled: Mapping[Slot, int]
    migration: Migration | None

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
        migration = None if outside is None else outside.migrations.get(consumer.uuid)
        partner, known_by = _partner(survey, position, owners, migration, traces)
        doubled = {} if partner is None else doubled_slots(survey, position, partner)
        if consumer.uuid in survey.books.credited_holds:
            doubled = {}  # both hold it, and it counts once
        hold = Hold(position, partner, known_by, doubled, migration)
        if hold.doubled or hold.over:
            yield _judge(survey, hold, rules, outside)


def _partner(
    survey: Survey,
    position: int,
    owners: Owners,
    migration: Migration | None,
    traces: Mapping[str, Sequence[Trace]],
) -> tuple[int | None, str]:
    """The instance that a migration moves, and how that is known."""
    if migration is not None:
        return survey.position(migration.server), "the outside truth names it"
    swapped = swapped_from(traces.get(survey.books.consumers[position].uuid, ()))
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
    if hold.migration is not None:
        evidence["migration_state"] = hold.migration.state
        evidence["migration_kind"] = hold.migration.kind
    return evidence


def _judge(survey: Survey, hold: Hold, rules: AuditRules, outside: Outside | None) -> Finding:
    consumer = survey.books.consumers[hold.position]
    kind = Kind.POOL_DUPLICATE if hold.doubled else Kind.HOLD_LEFT
    evidence = _evidence(survey, hold)
    seen_at = None if outside is None else outside.taken_at
    confidence: Confidence = Confidence.LIKELY
    doubt: Doubt | None = None
    holds: tuple[Holds, ...] = ()
    if rules.is_young(consumer.touched_at, seen_at=seen_at):
        doubt = Doubt.YOUNG
    elif hold.migration is not None and outside is not None:
        confidence, doubt, holds = _remedy(survey, hold, outside, hold.migration)
    if doubt is not None:
        confidence = Confidence.UNKNOWN
        evidence["unknown_because"] = doubt
    return survey.finding(kind, consumer, confidence, _SAYS[kind], evidence=evidence, holds=holds)


_SAYS: Final = {
    Kind.POOL_DUPLICATE: "a migration and its instance hold the same space of a pool twice",
    Kind.HOLD_LEFT: "its migration is over, and it still holds what it was to give back",
}


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
        return Confidence.CERTAIN, None, (drop,)
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
