"""Browsers' questions what they may send (CORS preflights), which no route of the API answers."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def with_preflights(application: WSGIApplication) -> WSGIApplication:
    """The application, with an empty answer to every OPTIONS for the CORS middleware to fill in.

    That middleware asks the application first, and answers in its place if it refuses. So the log
    would tell of a 401 that nobody got, under an id that nobody was told.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "OPTIONS":
            return application(environ, start_response)
        start_response("200 OK", [("content-length", "0")])
        return []

    return answer
