"""A small client of the Placement API, with nothing but the standard library."""

import contextlib
import http.client
import json
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 60


class Unexpected(Exception):
    """The service answered something else than what was asked for."""


class PlacementClient:
    """Asks one Placement service, at one microversion, with one token.

    Each request has a connection of its own, since some servers close theirs without saying so.
    """

    def __init__(self, url: str, *, token: str, microversion: str) -> None:
        """Nothing is sent yet.

        Raises:
            Unexpected: it is no http or https URL.
        """
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise Unexpected("give the service's URL as http://host:port or https://host/path")
        self._connect = partial(kinds[parts.scheme], parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._mount = parts.path.rstrip("/")
        self._headers = {
            "Accept": "application/json",
            "OpenStack-API-Version": f"placement {microversion}",
            "X-Auth-Token": token,
        }

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        request_id: str | None = None,
        absent_is_fine: bool = False,
    ) -> Any:
        """Send one request and return the document of its answer, None if that is empty.

        Args:
            request_id: the global request id that tells one user action from another.
            absent_is_fine: an answer that there is no such thing is None, too.
        Raises:
            Unexpected: the service cannot be reached, or refused.
        """
        headers = dict(self._headers)
        if request_id is not None:
            headers["X-Openstack-Request-Id"] = request_id
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body)
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.request(method, self._mount + path, content, headers)
                answer = connection.getresponse()
                document = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unexpected(f"the service cannot be reached: {error}") from None
        if absent_is_fine and answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Unexpected(f"{method} {path}: {answer.status} {_reason(document)}")
        return json.loads(document) if document else None


def _reason(document: bytes) -> str:
    try:
        return str(json.loads(document)["errors"][0]["detail"])
    except (ValueError, LookupError, TypeError):
        return document[:200].decode("utf-8", "replace")
