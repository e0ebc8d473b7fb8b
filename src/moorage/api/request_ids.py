"""Request ids and log lines for requests that never reach the API.

Keystone's middleware turns callers away before the pipeline sees them, and browsers' preflights are
answered around it. Those answers, too, have to be found in the log by their id, and errors have to
be JSON where the client does not mind.
"""

import uuid
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moorage.telemetry.log import RequestLog

REQUEST_ID_HEADER: Final = "x-openstack-request-id"


def with_request_ids(
    application: WSGIApplication, *, on_request: Callable[[RequestLog], None]
) -> WSGIApplication:
    """The application, with an id and a log line where it gave none itself."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started_s = perf_counter()
        if environ.get("HTTP_ACCEPT", "*/*") in ("", "*/*"):
            environ["HTTP_ACCEPT"] = "application/json"

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            if not any(name.lower() == REQUEST_ID_HEADER for name, _ in headers):
                request_id = f"req-{uuid.uuid4()}"
                headers = [*headers, (REQUEST_ID_HEADER, request_id)]
                duration_s = perf_counter() - started_s
                on_request(_log_line(environ, status, request_id, duration_s))
            return start_response(status, headers, *error)

        return application(environ, start)

    return answer


def _log_line(
    environ: WSGIEnvironment, status: str, request_id: str, duration_s: float
) -> RequestLog:
    return RequestLog(
        method=environ["REQUEST_METHOD"],
        route="-",
        status=int(status.split(" ", 1)[0]),
        duration_s=duration_s,
        microversion=None,
        request_id=request_id,
        global_request_id=environ.get("HTTP_X_OPENSTACK_REQUEST_ID"),
        project_id=None,
    )
