"""Audit the books: against themselves, and against the outside truth where there is some."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from moorage.domain.audit import find_broken_holdings, find_total_faults, find_two_trees
from moorage.domain.audit_credits import find_credit_faults
from moorage.domain.audit_moves import find_left_holds
from moorage.domain.audit_ordered import find_overdue_moves
from moorage.domain.audit_outside import Comparison, consumers_to_trace
from moorage.domain.audited import AuditRules, Trace
from moorage.domain.findings import Confidence, Doubt, Finding, Kind, Owner, Severity
from moorage.domain.outside import Outside
from moorage.domain.survey import Survey
from moorage.operations.services import Services
from moorage.store.audit import read_audited_books, read_traces

AGE_GUARD_S: Final = 600.0
"""What changed within this time is not judged: a boot or a move may still be under way."""

Ask = Callable[[Sequence[str]], Set[str]]
"""Asks outside for consumers by uuid, and returns those that are certainly no servers."""

_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}
_SURENESS: Final = {Confidence.CERTAIN: 0, Confidence.LIKELY: 1, Confidence.UNKNOWN: 2}


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found, and how much it looked at.

    ``outside`` is the truth it went by, with the answers to what it asked for by uuid.
    """

    at: datetime
    findings: tuple[Finding, ...]
    providers: int
    consumers: int
    allocations: int
    outside: Outside | None

    def count(self, *confidences: Confidence) -> int:
        """How many findings are this sure."""
        return sum(finding.confidence in confidences for finding in self.findings)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which findings are wanted; what is not given does not matter.

    Args:
        subject: a uuid of a consumer or provider, or a finding's key.
    """

    kinds: frozenset[Kind] = frozenset()
    severities: frozenset[Severity] = frozenset()
    confidence: Confidence = Confidence.UNKNOWN
    subject: str | None = None

    def wants(self, finding: Finding) -> bool:
        return (
            (not self.kinds or finding.kind in self.kinds)
            and (not self.severities or finding.severity in self.severities)
            and _SURENESS[finding.confidence] <= _SURENESS[self.confidence]
            and (self.subject is None or self._is_about(finding))
        )

    def _is_about(self, finding: Finding) -> bool:
        provider = finding.subject.partition("/")[0]
        return self.subject in {finding.key, finding.subject, provider, *finding.consumers}


def audit(
    services: Services,
    *,
    outside: Outside | None = None,
    age_guard_s: float = AGE_GUARD_S,
    ask: Ask | None = None,
) -> AuditReport:
    """Look at all books as of one moment; nothing is changed.

    Args:
        ask: asks for what would be an orphan by its uuid; without it no list is believed that
            does not claim to be proof enough (``Outside.gone``).
    """
    rules = AuditRules(services.clock(), age_guard_s)
    books = read_audited_books(services.store)
    survey = Survey(books)
    traces = read_traces(services.store, consumers_to_trace(survey, outside))
    findings = list(judge(survey, rules, outside, traces))
    if outside is not None and outside.gone is not None and ask is not None:
        outside = _asked(outside, findings, ask)
        findings = list(judge(survey, rules, outside, traces))
    findings += judge_sums(survey)
    return AuditReport(
        at=rules.now,
        findings=tuple(sorted(findings, key=_rank)),
        providers=len(books.providers),
        consumers=len(books.consumers),
        allocations=len(books.holdings.used),
        outside=outside,
    )


def judge(
    survey: Survey,
    rules: AuditRules,
    outside: Outside | None,
    traces: Mapping[str, Sequence[Trace]],
) -> Iterator[Finding]:
    """All that is the matter with consumers and what they hold."""
    servers = {} if outside is None else outside.servers
    owners = {key: Owner(one.project_id, one.user_id) for key, one in servers.items()}
    yield from find_broken_holdings(survey, rules, owners)
    yield from find_overdue_moves(survey, rules)
    yield from find_left_holds(survey, rules, outside, traces)
    if outside is None:
        yield from find_two_trees(survey, rules)
    else:
        yield from Comparison(survey, outside, rules, traces).find()


def judge_sums(survey: Survey) -> Iterator[Finding]:
    """All that is the matter with running totals and credits."""
    yield from find_credit_faults(survey)
    yield from find_total_faults(survey)


def _asked(outside: Outside, findings: Collection[Finding], ask: Ask) -> Outside:
    """The truth with the answers about those consumers that only an answer is missing for."""
    suspects = [
        uuid
        for finding in findings
        if finding.evidence.get("unknown_because") is Doubt.NOT_ASKED
        for uuid in (finding.subject, finding.evidence.get("instance"))
        if uuid is not None
    ]
    if not suspects:
        return outside
    return replace(outside, gone=(outside.gone or frozenset()) | frozenset(ask(suspects)))


def _rank(finding: Finding) -> tuple[int, int, str, str]:
    return (
        _ORDER[finding.severity],
        _SURENESS[finding.confidence],
        finding.kind,
        finding.subject,
    )
