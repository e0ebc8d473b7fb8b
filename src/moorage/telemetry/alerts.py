"""Alerts: what an operator should know at once, as a line of the log and a count."""

from moorage.telemetry import metrics
from moorage.telemetry.log import write_alert_line


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
