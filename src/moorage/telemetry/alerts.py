"""Alerts: what an operator should know at once, as a line of the log and a count."""

import threading
import time
from collections.abc import Callable
from typing import Final

from moorage.telemetry import metrics
from moorage.telemetry.log import write_alert_line

SILENT_S: Final = 60.0
"""How long an alert that many requests give is not given again by a process."""


def alert(
    event: str, error: BaseException | None = None, **facts: str | int | float | bool | None
) -> None:
    """Tell an operator that something needs a look.

    Args:
        event: our own words, from a closed set: it is a metric's label too.
        error: what failed; its type and places are told, never its words.
        facts: as in ``write_event``.
    """
    metrics.alerted(event)
    write_alert_line(event, error, **facts)


class Seldom:
    """An alert that is given at most once in a while, however often there is cause."""

    def __init__(
        self,
        event: str,
        *,
        silent_s: float = SILENT_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``event`` as for ``alert``; ``clock_s``: monotonic, in seconds."""
        self._event = event
        self._silent_s = silent_s
        self._clock_s = clock_s
        self._turn = threading.Lock()
        self._told_at_s: float | None = None

    def tell(self, error: BaseException) -> None:
        """Alert, unless that was done a short while ago."""
        now_s = self._clock_s()
        with self._turn:
            if self._told_at_s is not None and now_s - self._told_at_s < self._silent_s:
                return
            self._told_at_s = now_s
        alert(self._event, error)
