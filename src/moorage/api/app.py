"""The WSGI application of the API."""

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication

from moorage.api.identity import Identity
from moorage.api.limits import Limits
from moorage.api.pipeline import Environ, FaultHook, Pipeline, PolicyCheck
from moorage.operations.services import Services
from moorage.telemetry import metrics
from moorage.telemetry.alerts import Seldom
from moorage.telemetry.log import RequestLog, write_fault, write_request

_METHODS = frozenset(("GET", "POST", "PUT", "DELETE"))


def build_app(
    services: Services,
    *,
    identity: Identity,
    policy: PolicyCheck,
    limits: Limits,
    on_request: Callable[[RequestLog], None] | None = None,
    on_fault: FaultHook = write_fault,
    on_unavailable: Callable[[BaseException], None] | None = None,
) -> WSGIApplication:
    """The API over these services.

    Args:
        on_request: told about each request once it is answered; by default it is logged and
            counted.
        on_fault: told about each error of ours, which the client learns nothing of.
        on_unavailable: told what kept the database from answering a request; by default it is an
            alert, once a minute.
    """
    pipeline = Pipeline(
        services,
        identity,
        policy,
        limits,
        on_request=on_request or log_and_count,
        on_fault=on_fault,
        on_unavailable=on_unavailable or Seldom("the database cannot be used").tell,
    )

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not environ["PATH_INFO"].isascii():
            environ = _with_path_as_wsgi_has_it(environ)
        return pipeline(environ, start_response)

    return application


def _with_path_as_wsgi_has_it(environ: Environ) -> Environ:
    """Mend a path in text, which in-process clients send; WSGI wants bytes in latin-1 clothing."""
    path: str = environ["PATH_INFO"]
    try:
        path.encode("latin-1")
    except UnicodeEncodeError:
        return {**environ, "PATH_INFO": path.encode("utf-8", "replace").decode("latin-1")}
    return environ


def log_and_count(line: RequestLog) -> None:
    """One line in the log, and one more in the metrics."""
    write_request(line)
    metrics.request_answered(
        method=line.method if line.method in _METHODS else "OTHER",
        route=line.route,
        status=line.status,
        duration_s=line.duration_s,
    )
