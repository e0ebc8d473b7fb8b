"""Findings of the auditor: what is wrong, how that is known, how sure it is, what would mend it.

A finding names rows as people know them: uuids and class names; ``#7`` stands for a row id that
nothing in the books has a name for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from moorage.domain.ids import ConsumerUuid
from moorage.domain.ledger import Slot
from moorage.domain.move import MoveEvent, MoveState


class Kind(StrEnum):
    """What can be wrong."""

    TOTAL_WRONG = "total-wrong"
    TOTAL_MISSING = "total-missing"
    TOTAL_EXTRA = "total-extra"
    OVER_CAPACITY = "over-capacity"
    NO_PROVIDER = "allocation-without-provider"
    NO_INVENTORY = "allocation-without-inventory"
    NO_CONSUMER = "allocation-without-consumer"
    EMPTY_CONSUMER = "consumer-without-allocations"
    TWO_TREES = "consumer-on-two-trees"
    POOL_DUPLICATE = "duplicate-on-pool"
    HOLD_LEFT = "hold-left"
    ORPHAN = "orphan"
    UNSEEN = "unseen"
    HOLDS_UNPLACED = "held-without-host"
    HELD_ELSEWHERE = "held-elsewhere"
    MISSING = "allocations-missing"
    AMOUNTS_DIFFER = "amounts-differ"
    MOVE_OVERDUE = "move-overdue"
    CREDIT_WRONG = "credit-wrong"


class Confidence(StrEnum):
    """How sure a finding is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Doubt(StrEnum):
    """Why something cannot be known."""

    YOUNG = "changed within the age guard"
    IN_FLIGHT = "a move is in flight"
    CELL_SILENT = "its cell does not answer"
    HOST_UNSEEN = "it holds on a host that the outside truth does not list"
    POOL_ONLY = "it holds on shared pools only, which belong to no host"
    OTHER_TYPE = "it is no instance, so servers say nothing about it"
    SERVERS_UNLISTED = "not all servers are listed"
    MIGRATIONS_UNLISTED = "it may be a migration, and these are not listed"
    NOT_ASKED = "nobody has asked for it by its uuid"
    BOOKS_ONLY = "the books alone cannot tell"


@dataclass(frozen=True, slots=True)
class Place:
    """A slot as people know it: a provider and a resource class."""

    provider: str
    resource_class: str


@dataclass(frozen=True, slots=True)
class AllocationDiff:
    """What a consumer holds of a slot before and after, in whole units; 0 is no allocation."""

    consumer: str
    place: Place
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class ConsumerDiff:
    """Whether a consumer's row is there before and after, and at which generation."""

    consumer: str
    before: int | None
    after: str
    """``gone``, ``made`` or ``kept``."""


@dataclass(frozen=True, slots=True)
class TotalDiff:
    """A running total before and after; None: there is no row."""

    place: Place
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class MoveDiff:
    """The state of a move before and after."""

    move: str
    before: MoveState
    after: MoveState


@dataclass(frozen=True, slots=True)
class CreditDiff:
    """What is credited to a move of a slot before and after, in whole units; 0 is no credit."""

    move: str
    place: Place
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Diff:
    """What a remedy changes, table by table."""

    consumers: tuple[ConsumerDiff, ...] = ()
    allocations: tuple[AllocationDiff, ...] = ()
    totals: tuple[TotalDiff, ...] = ()
    moves: tuple[MoveDiff, ...] = ()
    credits: tuple[CreditDiff, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a consumer belongs to; None: not known, so the site's absentee."""

    project_id: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class Holds:
    """What a consumer is to hold: exactly these units by slot, or nothing and be gone.

    ``generation`` is the one it had when it was looked at, None where it had no row: the change is
    made to that state and to no other. ``owner`` is for a consumer whose row is made anew.
    """

    consumer: ConsumerUuid
    keeps: Mapping[Slot, int]
    generation: int | None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class MoveEnd:
    """How an open move ends, from the generation that it was looked at."""

    uuid: str
    generation: int
    event: MoveEvent
    before: MoveState
    after: MoveState


@dataclass(frozen=True, slots=True)
class HoldingsRemedy:
    """Make these consumers hold what is said, all or none.

    ``end``: how their move ends by it. Any other open move that one of them is in is abandoned.
    """

    holds: tuple[Holds, ...]
    end: MoveEnd | None = None


@dataclass(frozen=True, slots=True)
class TotalRemedy:
    """Make a running total what it should be; None: no row."""

    slot: Slot
    becomes: int | None


@dataclass(frozen=True, slots=True)
class CreditsRemedy:
    """Make the credits of a move what they should be.

    ``generation`` is the move's as it was looked at, None for one that is not open.
    """

    move: str
    generation: int | None
    becomes: Mapping[Slot, int]


Remedy = HoldingsRemedy | TotalRemedy | CreditsRemedy


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that cannot be judged.

    ``subject`` is a consumer's uuid, a move's, or ``provider/class``. ``consumers`` are all that it
    is about.
    """

    kind: Kind
    subject: str
    confidence: Confidence
    severity: Severity
    says: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: Remedy | None = None
    diff: Diff = field(default_factory=Diff)
    consumers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The finding's name: the same fault has the same one in every audit."""
        return f"{self.kind}/{self.subject}"
