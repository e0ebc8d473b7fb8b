"""The log: one line a request, one line an event, each made of allow-listed, typed fields.

Lines are JSON objects or, for people, a console's. Libraries that log through the standard library
are heard too, but of their records only the level, the logger, the place in the code and the
template are told, and that only if it stands so in their source: what is filled in may be a token,
a URL or an SQL parameter.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final

import orjson
import structlog
from msgspec import Struct

from moorage.telemetry.bundles import Bundles
from moorage.telemetry.redact import (
    TOLD_MAX,
    error_told,
    method_told,
    microversion_told,
    place_told,
    project_id_told,
    request_id_told,
)

_QUIET: Final = {
    # These tell credentials, headers or SQL when asked for details: they are not asked.
    "keystoneauth": logging.WARNING,
    "keystonemiddleware": logging.WARNING,
    "oslo_policy": logging.WARNING,
    "oslo_config": logging.WARNING,
    "oslo_middleware": logging.WARNING,
    "oslo.cache": logging.WARNING,
    "dogpile": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "psycopg": logging.WARNING,
    "pymysql": logging.WARNING,
    "stevedore": logging.WARNING,
    "urllib3": logging.WARNING,
    "stamina": logging.WARNING,
    "granian.access": logging.CRITICAL + 1,
}
_OWN_TEXT: Final = frozenset(("_granian",))
"""Loggers whose messages without an exception are made of their own words and numbers only."""

SERVER_LOG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": False}},
}
"""The HTTP server's logging configuration: no handlers of its own, so that ours hear it."""


class LogFormat(StrEnum):
    """How lines look."""

    JSON = "json"
    CONSOLE = "console"


class RequestLog(Struct, frozen=True, kw_only=True):
    """What is told about one answered request, and all of it.

    Args:
        route: the route's template (``/allocations/{consumer_uuid}``), ``-`` where none matched.
        duration_s: from the first byte read to the answer being ready.
        microversion: the one that answered, None where none was settled.
        project_id: the caller's.
    """

    method: str
    route: str
    status: int
    duration_s: float
    microversion: str | None
    request_id: str
    global_request_id: str | None
    project_id: str | None

    def told(self) -> dict[str, object]:
        """The fields, each in the shape that it allows; what has no value is left out."""
        fields = {
            **_often_told(self.method, self.route, self.status, self.microversion, self.project_id),
            "duration_ms": round(self.duration_s * 1000, 3),
        }
        if (request_id := request_id_told(self.request_id)) is not None:
            fields["request_id"] = request_id
        if (global_request_id := request_id_told(self.global_request_id)) is not None:
            fields["global_request_id"] = global_request_id
        return fields


@lru_cache(maxsize=TOLD_MAX)
def _often_told(
    method: str, route: str, status: int, microversion: str | None, project_id: str | None
) -> Mapping[str, object]:
    """The fields that many requests have in common."""
    fields: dict[str, object] = {"method": method_told(method), "route": route, "status": status}
    if (told := microversion_told(microversion)) is not None:
        fields["microversion"] = told
    if (told := project_id_told(project_id)) is not None:
        fields["project_id"] = told
    return fields


def write_request(line: RequestLog) -> None:
    """Log one answered request, a moment later where lines are written in bundles."""
    if _bundles is None:
        _log.info("request", **line.told())
    else:
        _bundles.tell((line, time.time()))


def write_pending() -> None:
    """Write the lines about requests that wait to be written with others."""
    if _bundles is not None:
        _bundles.write()


def write_fault(*, request_id: str, route: str, error: BaseException) -> None:
    """Log a fault of ours: the type and the places, whole; never the exception's words."""
    _log.error("fault", request_id=request_id_told(request_id), route=route, **error_told(error))


def write_event(event: str, **facts: str | int | float | bool | None) -> None:
    """Log something that happened to the service itself.

    Args:
        event: our own words, always the same for the same thing.
        facts: numbers, names and places that are the service's own. Nothing that came in a
            request, from a library or from a database.
    """
    _log.info(event, **facts)


def write_warning(event: str, **facts: str | int | float | bool | None) -> None:
    """Like ``write_event``, for what an operator should look at."""
    _log.warning(event, **facts)


def write_error(event: str, error: BaseException, **facts: str | int | float | bool | None) -> None:
    """Log that something of the service itself failed."""
    _log.error(event, **facts, **error_told(error))


def write_alert_line(
    event: str, error: BaseException | None, **facts: str | int | float | bool | None
) -> None:
    """The line of an alert; see ``telemetry/alerts.py``."""
    told = {} if error is None else error_told(error)
    _log.error("alert", alert=event, **facts, **told)


def configure_log(
    *, log_format: LogFormat = LogFormat.JSON, debug: bool = False, log_file: Path | None = None
) -> None:
    """Send all lines of this process, ours and the libraries', to one place in one format.

    Lines of JSON about requests are written in bundles (``telemetry/bundles.py``): a process that
    is killed takes along those of its last hundredth of a second.

    Args:
        log_file: appended to; standard error if None. A file that is moved away keeps being
            written: rotate with copytruncate, or restart.
    """
    stream: BinaryIO = log_file.open("ab", buffering=0) if log_file else sys.stderr.buffer
    render = _render_json if log_format is LogFormat.JSON else _console_renderer(stream)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if debug else logging.INFO
        ),
        logger_factory=structlog.BytesLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    global _log, _bundles  # noqa: PLW0603 - one process, one log; bound once, it is cheaper
    _log = structlog.get_logger().bind()
    if _bundles is not None:
        _bundles.close()
    _bundles = Bundles(stream, _request_line) if log_format is LogFormat.JSON else None
    _hear_libraries(debug=debug)


def _hear_libraries(*, debug: bool) -> None:
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [_LibraryHandler()]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    # Their own handlers would print what ours leaves out.
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers = []
            logger.propagate = True
    logging.lastResort = None
    logging.raiseExceptions = False


class _LibraryHandler(logging.Handler):
    """Turns records of libraries into lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, object] = {
            "logger": record.name,
            "place": place_told(record.pathname, record.lineno, record.funcName or "?"),
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            facts |= error_told(error)
        if _is_literal(record) or (record.name in _OWN_TEXT and error is None):
            facts["template"] = record.msg
        level = record.levelno
        if level >= logging.ERROR:
            _log.error("library", **facts)
        elif level >= logging.WARNING:
            _log.warning("library", **facts)
        else:
            _log.info("library", **facts)


def _is_literal(record: logging.LogRecord) -> bool:
    """Whether the unfilled message stands as it is in the source of the code that logs it.

    A message put together while running (an f-string, say) may hold anything.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the logging library finds its caller so, too
    while frame is not None:
        code = frame.f_code
        if frame.f_lineno == record.lineno and code.co_filename == record.pathname:
            return isinstance(record.msg, str) and record.msg in code.co_consts
        frame = frame.f_back
    return False


def _request_line(told: tuple[RequestLog, float]) -> bytes:
    """The line about a request: just as the logger makes it, in a third of the time."""
    line, at_s = told
    fields = line.told()
    fields |= {"event": "request", "level": "info", "timestamp": datetime.fromtimestamp(at_s, UTC)}
    return orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return orjson.dumps(event)


def _console_renderer(stream: BinaryIO) -> Callable[[object, str, MutableMapping[str, Any]], bytes]:
    colors = stream.isatty() and "NO_COLOR" not in os.environ
    console = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=10)

    def render(logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        return console(logger, method, event).encode("utf-8", "backslashreplace")

    return render


# Until a process says where its log goes, it has none: a library does not write to its user's
# standard output.
_log: Any = structlog.wrap_logger(
    structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)
_bundles: Bundles[tuple[RequestLog, float]] | None = None
