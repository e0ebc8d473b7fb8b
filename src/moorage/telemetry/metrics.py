"""Counters of the service, in Prometheus' text format.

Labels come from small closed sets (route templates, never paths), so that no client can make the
number of series grow. With several worker processes, ``PROMETHEUS_MULTIPROC_DIR`` must be set
before this module is first imported; ``moorage serve`` does so when metrics are on.
"""

import os
from functools import lru_cache
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

MULTIPROCESS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_DURATION_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_requests = Counter(
    "moorage_requests", "Requests answered.", labelnames=("method", "route", "status")
)
_request_seconds = Histogram(
    "moorage_request_seconds",
    "Time to answer a request.",
    labelnames=("method", "route"),
    buckets=_DURATION_S,
)
_store_troubles = Counter(
    "moorage_store_troubles",
    "Errors of the database that the retry loop met, by what they mean.",
    labelnames=("kind",),
)
_refusals = Counter("moorage_refusals", "Requests refused, by reason.", labelnames=("reason",))


_alerts = Counter("moorage_alerts", "Alerts, by what they are about.", labelnames=("alert",))
_runner_steps = Counter(
    "moorage_runner_steps",
    "Steps of the runner, by their outcome: done (something), idle, or failed.",
    labelnames=("step", "outcome"),
)
_audit_findings = Gauge(
    "moorage_audit_findings",
    "What the last audit by the clock found.",
    labelnames=("kind", "confidence"),
    multiprocess_mode="mostrecent",
)


@lru_cache(maxsize=4096)
def _request_series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return (
        _requests.labels(method, route, str(status)),
        _request_seconds.labels(method, route),
    )


def request_answered(*, method: str, route: str, status: int, duration_s: float) -> None:
    """Count one answered request.

    Args:
        method: one of the methods of the API, or ``OTHER``.
        route: the route's template, or ``-`` where none matched.
    """
    answered, seconds = _request_series(method, route, status)
    answered.inc()
    seconds.observe(duration_s)


def store_trouble(kind: str) -> None:
    """Count one error of the database, by what it means (a name from a closed set)."""
    _store_troubles.labels(kind).inc()


def refused(reason: str) -> None:
    """Count one refusal, by the name of its type."""
    _refusals.labels(reason).inc()


def alerted(event: str) -> None:
    """Count one alert, by its words (from a closed set)."""
    _alerts.labels(event).inc()


def runner_step(step: str, outcome: str) -> None:
    """Count one step of the runner."""
    _runner_steps.labels(step, outcome).inc()


def audit_found(kind: str, confidence: str, count: int) -> None:
    """Note how many findings of a kind the last audit had (names from closed sets)."""
    _audit_findings.labels(kind, confidence).set(count)


def render_metrics() -> bytes:
    """All series of this process, or of all worker processes where they share a directory."""
    if os.environ.get(MULTIPROCESS_DIRECTORY):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(REGISTRY)
