"""The audit by the clock: findings become numbers and an alert. It never heals by itself."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from moorage.domain.findings import Confidence, Kind, Severity
from moorage.domain.origin import Origin
from moorage.operations.audit import AuditReport, audit
from moorage.operations.services import Services
from moorage.telemetry import metrics
from moorage.telemetry.alerts import alert

FIRST_S: Final = 600.0
"""How long after it began to lead a process audits for the first time, at the latest."""


class Auditor:
    """Audits the books again and again, in a thread of its own: the runner must not wait for it."""

    def __init__(
        self,
        interval_s: float,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        look: Callable[[Services], AuditReport] = audit,
    ) -> None:
        """
        Args:
            interval_s: seconds between two audits; 0: none.
            clock_s: monotonic, in seconds.
        """
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._look = look
        self._next_s: float | None = None
        self._thread: threading.Thread | None = None

    def run(self, services: Services, _origin: Origin) -> int:
        """Begin an audit, if it is time and none is under way; there is never more to do."""
        if not self._interval_s:
            return 0
        now_s = self._clock_s()
        if self._next_s is None:
            self._next_s = now_s + min(self._interval_s, FIRST_S)
        if now_s >= self._next_s and not self._is_busy():
            self._next_s = now_s + self._interval_s
            self._thread = threading.Thread(
                target=self._audit, args=(services,), name="auditor", daemon=True
            )
            self._thread.start()
        return 0

    def wait(self) -> None:
        """Wait for the audit under way, if there is one."""
        if self._thread is not None:
            self._thread.join()

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _audit(self, services: Services) -> None:
        try:
            tell(self._look(services))
        except Exception as error:  # noqa: BLE001 - the end of the thread
            alert("the audit failed", error)


def tell(report: AuditReport) -> None:
    """Count what was found, and alert if something is wrong that is more than a notice."""
    counts = Counter((finding.kind, finding.confidence) for finding in report.findings)
    for kind in Kind:
        for confidence in Confidence:
            metrics.audit_found(str(kind), str(confidence), counts[kind, confidence])
    wrong = [one for one in report.findings if one.severity is not Severity.NOTICE]
    sure = Counter(one.confidence for one in wrong)
    if sure[Confidence.CERTAIN] or sure[Confidence.LIKELY]:
        alert(
            "the audit found faults",
            certain=sure[Confidence.CERTAIN],
            likely=sure[Confidence.LIKELY],
        )
