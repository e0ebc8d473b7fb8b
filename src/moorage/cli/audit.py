"""``moorage audit``, ``moorage heal``, ``moorage undo``."""

import getpass
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from moorage.api.v1.audit import answer_of
from moorage.cli.books import open_books
from moorage.cli.instances_file import read_instances
from moorage.cli.nova import NovaTruth
from moorage.domain.findings import Confidence, Diff, Finding, Kind, Place, Severity
from moorage.domain.mending import HealRefused, UndoRefused
from moorage.domain.origin import Origin
from moorage.operations.audit import AGE_GUARD_S, AuditFilter, AuditReport
from moorage.operations.audit import audit as audit_books
from moorage.operations.heal import heal as heal_finding
from moorage.operations.services import Services
from moorage.operations.undo import list_undos
from moorage.operations.undo import undo as undo_heal

FOUND: Final = 3
"""Exit code of an audit that found something; 1 is for what went wrong, 2 for a wrong call."""

REFUSED: Final = 4
"""Exit code of a heal or an undo that was refused, in whole or in part."""

_NO_REMEDY: Final = "no remedy that is sure to be right"

_STYLES: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTICE: "dim"}

InstancesOption = Annotated[
    Path | None,
    typer.Option(
        "--instances",
        exists=True,
        dir_okay=False,
        help="What is known from outside: servers, hosts, migrations, as JSON lines.",
    ),
]
NovaOption = Annotated[
    bool, typer.Option("--nova", help="Ask Nova, with the credentials in OS_ variables.")
]
CloudOption = Annotated[
    str | None, typer.Option("--os-cloud", help="A cloud of clouds.yaml, for --nova.")
]
GuardOption = Annotated[
    float,
    typer.Option("--age-guard", min=0, help="Seconds; what changed more lately is not judged."),
]
KindOption = Annotated[list[Kind] | None, typer.Option("--kind", help="Only these kinds.")]


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the outside truth comes from; nothing of it: the books are audited alone."""

    instances: Path | None
    nova: bool
    cloud: str | None

    def audit(self, services: Services, *, age_guard_s: float) -> AuditReport:
        """Audit the books by this truth."""
        if self.instances is not None and self.nova:
            raise typer.BadParameter("--instances and --nova are two truths: give one")
        if self.instances is not None:
            return audit_books(
                services, outside=read_instances(self.instances), age_guard_s=age_guard_s
            )
        if self.nova:
            nova = NovaTruth.connect(self.cloud)
            return audit_books(services, outside=nova.read(), ask=nova.ask, age_guard_s=age_guard_s)
        return audit_books(services, age_guard_s=age_guard_s)


def audit(
    *,
    instances: InstancesOption = None,
    nova: NovaOption = False,
    cloud: CloudOption = None,
    age_guard_s: GuardOption = AGE_GUARD_S,
    kinds: KindOption = None,
    severities: Annotated[
        list[Severity] | None, typer.Option("--severity", help="Only these severities.")
    ] = None,
    confidence: Annotated[
        Confidence, typer.Option("--confidence", help="Only what is at least this sure.")
    ] = Confidence.UNKNOWN,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Only about this consumer or provider, by its uuid."),
    ] = None,
    fail_on: Annotated[
        Confidence,
        typer.Option("--fail-on", help="Exit with 3 if something at least this sure is found."),
    ] = Confidence.LIKELY,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Also show evidence and remedies.")
    ] = False,
) -> None:
    """Look for what is wrong with the books. Nothing is changed."""
    wanted = AuditFilter(frozenset(kinds or ()), frozenset(severities or ()), confidence, subject)
    with open_books() as services:
        report = Truth(instances, nova, cloud).audit(services, age_guard_s=age_guard_s)
    found = [finding for finding in report.findings if wanted.wants(finding)]
    if as_json:
        document = answer_of(report, wanted, most=len(found))
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        _show(report, found, details=details)
    failing = AuditFilter(confidence=fail_on)
    sys.exit(FOUND if any(failing.wants(finding) for finding in found) else 0)


def heal(
    finding: Annotated[
        str | None, typer.Argument(help="A finding's name, as the audit shows it.")
    ] = None,
    *,
    consumer: Annotated[
        str | None, typer.Option("--consumer", help="All findings about this consumer.")
    ] = None,
    kinds: KindOption = None,
    likely: Annotated[
        bool, typer.Option("--likely", help="Of a class, also what is not certain.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    instances: InstancesOption = None,
    nova: NovaOption = False,
    cloud: CloudOption = None,
    age_guard_s: GuardOption = AGE_GUARD_S,
) -> None:
    """Show what would heal a finding, a consumer or a kind of findings; then do it."""
    if sum(choice is not None for choice in (finding, consumer, kinds or None)) != 1:
        raise typer.BadParameter("name a finding, a --consumer, or one --kind or more")
    # A finding that somebody named was looked at; of a class only what is certain was.
    sure = Confidence.LIKELY if likely or kinds is None else Confidence.CERTAIN
    wanted = AuditFilter(frozenset(kinds or ()), confidence=sure, subject=finding or consumer)
    with open_books() as services:
        report = Truth(instances, nova, cloud).audit(services, age_guard_s=age_guard_s)
        found = [one for one in report.findings if wanted.wants(one) and one.remedy is not None]
        say = Console(highlight=False, soft_wrap=True)
        if not found:
            sys.exit(_say_why_not(say, report, finding))
        for one in found:
            _show_remedy(say, one)
        if not yes and not typer.confirm(f"Heal {len(found)}?"):
            return
        refused = sum(not _heal_one(services, report, one, age_guard_s) for one in found)
    sys.exit(REFUSED if refused else 0)


def _say_why_not(say: Console, report: AuditReport, key: str | None) -> int:
    """Tell what keeps a finding that was named from being healed; returns the exit code."""
    named = next((one for one in report.findings if one.key == key), None)
    if named is None:
        say.print("nothing that can be healed")
        return 0
    evidence = named.evidence
    reason = evidence.get("no_remedy_because") or evidence.get("unknown_because") or _NO_REMEDY
    say.print(f"not healed: {key}: {reason}", markup=False)
    return REFUSED


def _heal_one(
    services: Services, report: AuditReport, finding: Finding, age_guard_s: float
) -> bool:
    say = Console(highlight=False, soft_wrap=True)
    try:
        healed = heal_finding(
            services,
            finding,
            outside=report.outside,
            age_guard_s=age_guard_s,
            origin=_origin(services),
        )
    except HealRefused as refusal:
        say.print(f"not healed: {finding.key}: {refusal.reason}", markup=False)
        return False
    say.print(f"healed: {finding.key} (moorage undo {healed.undo_id})", markup=False)
    return True


def undo(
    number: Annotated[
        int | None, typer.Argument(help="The number that the heal told; none: list heals.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Heals to list.")] = 20,
) -> None:
    """Put back what a heal changed, unless the books have moved on since."""
    say = Console(highlight=False, soft_wrap=True)
    with open_books() as services:
        if number is None:
            _list_heals(say, services, most)
            return
        try:
            undone = undo_heal(services, number, origin=_origin(services))
        except UndoRefused as refusal:
            say.print(f"not undone: {refusal.reason}", markup=False)
            sys.exit(REFUSED)
    say.print(f"undone: {undone.kept.kind}/{undone.kept.subject}", markup=False)


def _origin(services: Services) -> Origin:
    """Who heals: a person at a shell, by the name of the account."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "nobody"
    return Origin(f"req-{uuid.uuid4()}", None, None, f"shell:{name}", services.clock())


def _show(report: AuditReport, found: Sequence[Finding], *, details: bool) -> None:
    say = Console(highlight=False)
    if found:
        table = Table("severity", "sure")
        # Whole on a narrow screen too: the name is what moorage heal takes.
        table.add_column("finding", overflow="fold")
        table.add_column("says")
        for finding in found:
            table.add_row(
                f"[{_STYLES[finding.severity]}]{finding.severity}[/]",
                str(finding.confidence),
                finding.key,
                finding.says,
            )
        say.print(table)
    if details:
        whole = Console(highlight=False, soft_wrap=True)
        for finding in found:
            _show_remedy(whole, finding)
    told = {name: report.count(name) for name in Confidence}
    say.print(
        f"{report.providers} providers, {report.consumers} consumers,"
        f" {report.allocations} allocations; found: "
        + ", ".join(f"{count} {name}" for name, count in told.items())
    )


def _show_remedy(say: Console, finding: Finding) -> None:
    """A finding's evidence, and what would change, as a diff."""
    say.print(f"\n{finding.key} ({finding.confidence})", markup=False, style="bold")
    say.print(f"  {finding.says}", markup=False)
    for name, value in finding.evidence.items():
        if value is not None:
            say.print(f"  {name}: {_text(value)}", markup=False, style="dim")
    if finding.remedy is None:
        say.print(f"  {_NO_REMEDY}", style="dim")
        return
    for line in diff_lines(finding.diff):
        say.print(f"  {line}", markup=False, style="red" if line.startswith("-") else "green")


def diff_lines(diff: Diff) -> Iterator[str]:
    """A diff as lines that begin with - (before) and + (after)."""
    for consumer in diff.consumers:
        if consumer.before is not None:
            yield f"- consumer {consumer.consumer} generation {consumer.before}"
        if consumer.after != "gone":
            yield f"+ consumer {consumer.consumer} {consumer.after}, new generation"
    for change in diff.allocations:
        what = f"allocation {change.consumer} {_slot_name(change.place)}"
        yield from _amounts(what, change.before or None, change.after or None)
    for total in diff.totals:
        yield from _amounts(f"total {_slot_name(total.place)}", total.before, total.after)
    for move in diff.moves:
        yield from (f"- move {move.move} {move.before}", f"+ move {move.move} {move.after}")
    for credit in diff.credits:
        what = f"credit {credit.move} {_slot_name(credit.place)}"
        yield from _amounts(what, credit.before or None, credit.after or None)


def _slot_name(place: Place) -> str:
    return f"{place.provider} {place.resource_class}"


def _amounts(what: str, before: int | None, after: int | None) -> Iterator[str]:
    if before is not None:
        yield f"- {what} {before}"
    if after is not None:
        yield f"+ {what} {after}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _list_heals(say: Console, services: Services, most: int) -> None:
    table = Table("number", "at")
    table.add_column("finding", overflow="fold")
    table.add_column("undone at")
    for kept in list_undos(services, most=most):
        undone_at = "" if kept.undone_at is None else f"{kept.undone_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            str(kept.id), f"{kept.at:%Y-%m-%d %H:%M:%S}", f"{kept.kind}/{kept.subject}", undone_at
        )
    say.print(table)
