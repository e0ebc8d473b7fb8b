"""The auditor on /moorage/v1: what is wrong with the books. It only looks; nothing heals by it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moorage.api.call import Call, Reply
from moorage.api.v1.endpoints import Document, Endpoint, Parameter, reply_with
from moorage.domain.findings import Confidence, Diff, Finding, Kind, Severity
from moorage.operations.audit import AuditFilter, AuditReport, audit

FINDINGS_SHOWN: Final = 1_000
"""Findings that one answer tells where the query names no other number."""

_FINDINGS_MAX: Final = 100_000


class AllocationChange(Document, frozen=True, kw_only=True):
    """What a consumer holds of a slot before and after, in whole units; 0 is no allocation."""

    consumer: str
    provider: str
    resource_class: str
    before: int
    after: int


class ConsumerChange(Document, frozen=True, kw_only=True):
    """A consumer's row: its generation before (null: there is none), and whether it stays."""

    consumer: str
    generation: int | None
    after: str


class TotalChange(Document, frozen=True, kw_only=True):
    """A running total before and after; null: there is none."""

    provider: str
    resource_class: str
    before: int | None
    after: int | None


class MoveStateChange(Document, frozen=True, kw_only=True):
    """The state of a move before and after."""

    move: str
    before: str
    after: str


class CreditChange(Document, frozen=True, kw_only=True):
    """What counts once for a move of a slot before and after, in whole units; 0 is no credit."""

    move: str
    provider: str
    resource_class: str
    before: int
    after: int


class RemedyDiff(Document, frozen=True, kw_only=True):
    """What healing the finding would change."""

    consumers: tuple[ConsumerChange, ...]
    allocations: tuple[AllocationChange, ...]
    totals: tuple[TotalChange, ...]
    moves: tuple[MoveStateChange, ...]
    credits: tuple[CreditChange, ...]


class AuditFinding(Document, frozen=True, kw_only=True):
    """One thing that is wrong, or that cannot be judged."""

    finding: str
    kind: str
    subject: str
    confidence: str
    severity: str
    says: str
    evidence: dict[str, Any]
    remedy: RemedyDiff | None


class AuditAnswer(Document, frozen=True, kw_only=True):
    """What an audit found; ``counts`` are of all findings that the query wants, by kind."""

    audited_at: str
    outside_seen_at: str | None
    providers: int
    consumers: int
    allocations: int
    counts: dict[str, int]
    findings: tuple[AuditFinding, ...]
    left_out: int


def answer_of(report: AuditReport, wanted: AuditFilter, *, most: int) -> AuditAnswer:
    """The document about a report: at most so many of the findings that are wanted."""
    found = [finding for finding in report.findings if wanted.wants(finding)]
    return AuditAnswer(
        audited_at=report.at.isoformat(),
        outside_seen_at=None if report.outside is None else report.outside.taken_at.isoformat(),
        providers=report.providers,
        consumers=report.consumers,
        allocations=report.allocations,
        counts=dict(sorted(Counter(str(finding.kind) for finding in found).items())),
        findings=tuple(_told(finding) for finding in found[:most]),
        left_out=max(0, len(found) - most),
    )


def _told(finding: Finding) -> AuditFinding:
    return AuditFinding(
        finding=finding.key,
        kind=finding.kind,
        subject=finding.subject,
        confidence=finding.confidence,
        severity=finding.severity,
        says=finding.says,
        evidence=msgspec.to_builtins(_without_nothing(finding.evidence)),
        remedy=None if finding.remedy is None else _diff(finding.diff),
    )


def _without_nothing(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in evidence.items() if value is not None}


def _diff(diff: Diff) -> RemedyDiff:
    return RemedyDiff(
        consumers=tuple(
            ConsumerChange(consumer=one.consumer, generation=one.before, after=one.after)
            for one in diff.consumers
        ),
        allocations=tuple(
            AllocationChange(
                consumer=one.consumer,
                provider=one.place.provider,
                resource_class=one.place.resource_class,
                before=one.before,
                after=one.after,
            )
            for one in diff.allocations
        ),
        totals=tuple(
            TotalChange(
                provider=one.place.provider,
                resource_class=one.place.resource_class,
                before=one.before,
                after=one.after,
            )
            for one in diff.totals
        ),
        moves=tuple(
            MoveStateChange(move=one.move, before=one.before, after=one.after) for one in diff.moves
        ),
        credits=tuple(
            CreditChange(
                move=one.move,
                provider=one.place.provider,
                resource_class=one.place.resource_class,
                before=one.before,
                after=one.after,
            )
            for one in diff.credits
        ),
    )


def handle_audit(call: Call) -> Reply:
    """Audit the books against themselves."""
    query = call.query()
    kind, severity = query.last("kind"), query.last("severity")
    wanted = AuditFilter(
        kinds=frozenset() if kind is None else frozenset({Kind(kind)}),
        severities=frozenset() if severity is None else frozenset({Severity(severity)}),
        confidence=Confidence(query.last("confidence") or Confidence.UNKNOWN),
        subject=query.last("subject"),
    )
    most = int(query.last("limit") or FINDINGS_SHOWN)
    report = audit(call.services)
    return reply_with(answer_of(report, wanted, most=min(most, _FINDINGS_MAX)))


def _one_of(names: type[Kind] | type[Severity] | type[Confidence]) -> dict[str, Any]:
    return {"type": "string", "enum": [str(name.value) for name in names]}


AUDIT: Final = (
    Endpoint(
        "audit",
        "GET",
        "/audit",
        "moorage:audit:show",
        handle_audit,
        "Audit the books against themselves, as of one moment. Nothing is changed.",
        answer=AuditAnswer,
        parameters=(
            Parameter("kind", "Only findings of this kind.", _one_of(Kind)),
            Parameter("severity", "Only findings of this severity.", _one_of(Severity)),
            Parameter("confidence", "Only findings at least this sure.", _one_of(Confidence)),
            Parameter(
                "subject",
                "Only findings about this consumer or provider, or the one of this name.",
                {"type": "string", "minLength": 1, "maxLength": 300},
            ),
            Parameter(
                "limit",
                f"At most so many findings; {FINDINGS_SHOWN} where it is not given.",
                {"type": "string", "pattern": "^[1-9][0-9]{0,5}$"},
            ),
        ),
    ),
)
