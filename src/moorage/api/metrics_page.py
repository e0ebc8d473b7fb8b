"""``GET /metrics``: the counters of this service, for whoever collects them."""

from collections.abc import Iterable
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moorage.telemetry.metrics import CONTENT_TYPE, render_metrics

METRICS_PATH: Final = "/metrics"


def with_metrics(application: WSGIApplication) -> WSGIApplication:
    """The application with the metrics beside it. Nobody is asked for a token there."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != METRICS_PATH:
            return application(environ, start_response)
        body = render_metrics()
        headers = [("content-type", CONTENT_TYPE), ("content-length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return answer
