"""The one path of every request, from who is asking to the answer, in the order of precedence:

401 -> version 400/406 -> size 413/414 -> content-length 400 -> route 404/405 -> accept 406,
content type 415 -> policy 403 -> body and query 400 -> the operation.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import getrandbits
from threading import Semaphore
from time import perf_counter
from typing import Any, Final, Protocol
from wsgiref.types import StartResponse

from msgspec.structs import replace

from moorage.api.answer import begin_head, send_nothing, send_pieces, send_whole
from moorage.api.call import Call, Reply, modified_headers
from moorage.api.errors import Problem, tell_refusal
from moorage.api.identity import Caller, Identity
from moorage.api.kept import KeptAnswer, KeptAnswers, Wish
from moorage.api.limits import Limits
from moorage.api.microversions.contract import (
    NEWEST,
    OLDEST,
    BadVersion,
    Contract,
    find_contract,
)
from moorage.api.negotiation import JSON, ErrorFacts, accepts_json, render_error
from moorage.api.query import parse_query
from moorage.api.routes import Place, Route, find_place
from moorage.api.transfer import STREAMS_MAX, Stream, gather
from moorage.api.v1.errors import own_code
from moorage.api.v1.errors import tell_refusal as tell_own_refusal
from moorage.api.v1.routes import find_own_place
from moorage.candidates.evidence import Evidence
from moorage.domain.origin import Origin
from moorage.domain.refusals import Refusal, StoreUnavailable
from moorage.operations.services import Services
from moorage.operations.show_provider import show_provider
from moorage.telemetry import metrics
from moorage.telemetry.log import RequestLog

Environ = dict[str, Any]

_REQUEST_ID: Final = re.compile(r"req-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}")
OWN_PATHS: Final = "/moorage/"
"""What is below is Moorage's own; all else is Placement's."""

KEPT_QUERY_CHARS_MAX: Final = 200
"""Answers to longer queries are not kept."""

NO_ROUTE: Final = "-"
"""What the log calls the route of a request that found none."""

FAULT_TEXT: Final = "An unexpected error has been logged; the request id will find it."


class PolicyCheck(Protocol):
    """What the pipeline needs of the policy."""

    def check(self, caller: Caller, rule: str, project_id: str | None = None) -> None:
        """Raises: PolicyDenied."""


class FaultHook(Protocol):
    """Told about errors of ours, which clients learn nothing of."""

    def __call__(self, *, request_id: str, route: str, error: BaseException) -> None: ...


@dataclass(slots=True)
class Visit:
    """One request on its way, as far as it has come."""

    environ: Environ
    request_id: str
    global_request_id: str | None
    accept: str
    caller: Caller | None = None
    contract: Contract | None = None
    place: Place | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    route: Route | None = None
    own: bool = False
    """On the way to Moorage's own API, which knows no microversions."""
    wish: Wish | None = None
    """All that an answer depends on which may be kept; None where none may."""

    @property
    def route_told(self) -> str:
        return self.place.template if self.place else NO_ROUTE


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The application of WSGI: takes every request, and gives it an answer."""

    services: Services
    identity: Identity
    policy: PolicyCheck
    limits: Limits
    on_request: Callable[[RequestLog], None]
    on_fault: FaultHook
    on_unavailable: Callable[[BaseException], None]
    kept: KeptAnswers = field(default_factory=KeptAnswers)
    streams: Semaphore = field(default_factory=lambda: Semaphore(STREAMS_MAX))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Nothing but an answer leaves this function."""
        started_s = perf_counter()
        visit = _begin(environ)
        reply, content_type = self._reply(visit)
        status, body = reply.status, reply.body
        head = begin_head(reply, visit.contract, visit.request_id)

        def tell_answered() -> None:
            self.on_request(_log_line(visit, status, perf_counter() - started_s))

        if body is None:
            answer = send_nothing(status, head, start_response)
            tell_answered()
            return answer
        head.append(("content-type", content_type))
        accepted = environ.get("HTTP_ACCEPT_ENCODING", "")
        if isinstance(body, bytes):
            answer = send_whole(
                status,
                head,
                body,
                start_response,
                accept_encoding=accepted,
                is_head=environ["REQUEST_METHOD"] == "HEAD",
            )
            tell_answered()
            return answer

        def end() -> None:
            self.streams.release()
            tell_answered()

        return Stream(
            send_pieces(status, head, body, start_response, accept_encoding=accepted),
            on_fault=lambda error: self._tell_fault(visit, error),
            on_end=end,
        )

    def _reply(self, visit: Visit) -> tuple[Reply, str]:
        """The answer or the error document, and its content type."""
        try:
            return self._kept(visit, self._gathered(self._answer(visit))), JSON
        except Refusal as refusal:
            metrics.refused(type(refusal).__name__)
            name = visit.route.name if visit.route else ""
            tell = tell_own_refusal if visit.own else tell_refusal
            problem = tell(name, refusal, visit.path)
        except Problem as found:
            problem = found
        except StoreUnavailable as unavailable:
            self.on_unavailable(unavailable)
            problem = _tell_unavailable(unavailable)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            self._tell_fault(visit, error)
            problem = Problem(500, FAULT_TEXT)
        return _reply_problem(problem, visit)

    def _gathered(self, reply: Reply) -> Reply:
        """The reply with its body whole, unless that is large and may be streamed."""
        if reply.body is None or isinstance(reply.body, bytes):
            return reply
        body = gather(reply.body)
        if not isinstance(body, bytes) and not self.streams.acquire(blocking=False):
            body = b"".join(body)
        return replace(reply, body=body)

    def _tell_fault(self, visit: Visit, error: BaseException) -> None:
        self.on_fault(request_id=visit.request_id, route=visit.route_told, error=error)

    def _answer(self, visit: Visit) -> Reply:
        environ = visit.environ
        visit.caller = caller = self.identity.identify(environ)
        if caller is None:
            raise Problem(401)
        if (reply := self._find_kept(visit, caller)) is not None:
            return reply
        if visit.own:
            # It reads queries as the newest microversion does, but shows none.
            contract = NEWEST
        else:
            visit.contract = contract = _negotiate_version(environ)
        self._check_size(environ)
        route = _find_route(visit, contract)
        self._check_policy(caller, route, environ)
        body = self._read_body(environ) if route.takes_json else b""
        call = self._make_call(visit, caller, contract, body)
        try:
            return route.handler(call)
        except Problem:
            if route.provider_before_body:
                # Raises UnknownProvider, which is told rather than what is wrong with the body.
                show_provider(self.services, visit.path["uuid"])
            raise

    def _find_kept(self, visit: Visit, caller: Caller) -> Reply | None:
        """The answer that the same words got before, if it is still right and the policy allows it.

        All that comes before the policy depends on these words only, and was in order.
        """
        kept = None if visit.wish is None else self.kept.find(visit.wish)
        if kept is None:
            return None
        visit.contract, visit.place, visit.route = kept.contract, kept.place, kept.route
        self._check_policy(caller, kept.route, visit.environ)
        evidence, services = kept.evidence, self.services
        stands = (
            evidence.holds_in(services.keeper.current())
            if isinstance(evidence, Evidence)
            else services.sums.still(evidence)
        )
        if not stands:
            return None
        reply = kept.reply
        if not reply.is_of_now:
            return reply
        return Reply(200, reply.body, modified_headers(kept.contract, self.services.clock()))

    def _kept(self, visit: Visit, reply: Reply) -> Reply:
        """The reply, which from now on is known if its evidence says that it may be given again."""
        contract, place, route = visit.contract, visit.place, visit.route
        if reply.evidence is None or visit.wish is None or not (contract and place and route):
            return reply
        # What is known already has no evidence of its own, so that it is not kept again.
        known = replace(reply, evidence=None)
        answer = KeptAnswer(contract, place, route, known, reply.evidence)
        self.kept.keep(visit.wish, answer)
        return reply

    def _check_size(self, environ: Environ) -> None:
        uri_bytes = len(environ["PATH_INFO"]) + len(environ.get("QUERY_STRING", ""))
        if uri_bytes > self.limits.uri_bytes_max:
            raise Problem(414, f"At most {self.limits.uri_bytes_max} bytes are allowed.")
        stated = environ.get("CONTENT_LENGTH")
        if not stated:
            return
        try:
            length = int(stated)
        except ValueError:
            raise Problem(400, "content-length header must be an integer") from None
        if length > 0 and not environ.get("CONTENT_TYPE"):
            raise Problem(400, "content-type header required when content-length > 0")
        if length > self.limits.body_bytes_max:
            raise self._too_large()

    def _too_large(self) -> Problem:
        return Problem(413, f"At most {self.limits.body_bytes_max} bytes are allowed.")

    def _check_policy(self, caller: Caller, route: Route, environ: Environ) -> None:
        if route.rule is None:
            return
        project_id = None
        if route.targets_project:
            # A query that names no project is not about the caller's own, but about nobody's.
            project_id = parse_query(environ.get("QUERY_STRING", "")).last("project_id") or ""
        self.policy.check(caller, route.rule, project_id)

    def _read_body(self, environ: Environ) -> bytes:
        """The body, in full.

        Raises:
            Problem: it is larger than allowed, or shorter than stated.
        """
        stated = environ.get("CONTENT_LENGTH")
        if stated:
            length = max(int(stated), 0)
            body: bytes = environ["wsgi.input"].read(length)
            if len(body) < length:
                raise Problem(400, "The body is shorter than content-length says.")
            return body
        if not environ.get("wsgi.input_terminated"):
            return b""
        body = environ["wsgi.input"].read(self.limits.body_bytes_max + 1)
        if len(body) > self.limits.body_bytes_max:
            raise self._too_large()
        return body

    def _make_call(self, visit: Visit, caller: Caller, contract: Contract, body: bytes) -> Call:
        environ = visit.environ
        return Call(
            contract=contract,
            path=visit.path,
            query_text=environ.get("QUERY_STRING", ""),
            body=body,
            caller=caller,
            origin=Origin(
                request_id=visit.request_id,
                global_request_id=visit.global_request_id,
                project_id=caller.project_id_kept,
                user_id=caller.user_id_kept,
                at=self.services.clock(),
            ),
            services=self.services,
            limits=self.limits,
            mount=environ.get("SCRIPT_NAME", ""),
            host=_host(environ),
        )


def _begin(environ: Environ) -> Visit:
    global_request_id = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
    accept = environ.get("HTTP_ACCEPT")
    # Whoever takes anything gets errors in JSON; browsers, which say more, get HTML.
    accept = JSON if not accept or accept == "*/*" else accept
    own = environ["PATH_INFO"].startswith(OWN_PATHS)
    return Visit(
        environ=environ,
        request_id=_new_request_id(),
        global_request_id=(
            global_request_id
            if global_request_id and _REQUEST_ID.fullmatch(global_request_id)
            else None
        ),
        accept=accept,
        own=own,
        wish=None if own or environ["REQUEST_METHOD"] != "GET" else _wish(environ, accept),
    )


def _wish(environ: Environ, accept: str) -> Wish | None:
    """All that the answer to a reader depends on, beside who he is; None: too much to keep."""
    query = environ.get("QUERY_STRING", "")
    if environ.get("CONTENT_LENGTH") or len(query) > KEPT_QUERY_CHARS_MAX:
        return None
    version = environ.get("HTTP_OPENSTACK_API_VERSION", "")
    return environ["PATH_INFO"], query, version, accept, environ.get("SCRIPT_NAME", "")


def _new_request_id() -> str:
    """A request id of OpenStack's shape: a random uuid, made without an object for it."""
    digits = f"{getrandbits(128):032x}"
    return (
        f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-"
        f"{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"
    )


def _negotiate_version(environ: Environ) -> Contract:
    try:
        return find_contract(environ.get("HTTP_OPENSTACK_API_VERSION"))
    except BadVersion as bad:
        raise Problem(406 if bad.unacceptable else 400, f"Invalid microversion: {bad}") from None


def _find_route(visit: Visit, contract: Contract) -> Route:
    """The route of the request, found and negotiated.

    Raises:
        Problem: there is none, the method is not its, or the client wants another media type.
    """
    environ = visit.environ
    path = _path(environ)
    found = find_own_place(path) if visit.own else find_place(path, contract)
    if found is None:
        raise Problem(404)
    visit.place, visit.path = found
    method = environ["REQUEST_METHOD"]
    route = visit.place.routes.get(method)
    if route is None:
        raise Problem(
            405,
            "The method specified is not allowed for this resource.",
            headers=(("allow", visit.place.allow),),
        )
    if route.negotiates_first:
        _negotiate_media(visit, route)
    if method in visit.place.missing:
        raise Problem(route.missing_status)
    if not route.negotiates_first:
        _negotiate_media(visit, route)
    visit.route = route
    return route


def _path(environ: Environ) -> str:
    """The path in text. What is not UTF-8, or has a NUL character, leads nowhere."""
    path: str = environ["PATH_INFO"]
    if not path.isascii():
        try:
            path = path.encode("latin-1").decode()
        except UnicodeError:
            raise Problem(404) from None
    if "\0" in path:
        raise Problem(404)
    return path or "/"


def _negotiate_media(visit: Visit, route: Route) -> None:
    if route.checks_accept and visit.accept != JSON and not accepts_json(visit.accept):
        raise Problem(406, f"Only {JSON} is provided")
    if route.takes_json:
        media_type = _media_type(visit.environ)
        if media_type != JSON:
            raise Problem(415, f"The media type {media_type or None} is not supported, use {JSON}")


def _media_type(environ: Environ) -> str:
    """The content type without its parameters."""
    stated: str = environ.get("CONTENT_TYPE") or ""
    return stated.partition(";")[0]


def _host(environ: Environ) -> str:
    """Scheme and host by which the client reached us."""
    scheme: str = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    default_port = ":443" if scheme == "https" else ":80"
    return f"{scheme}://{host.removesuffix(default_port)}"


def _tell_unavailable(unavailable: StoreUnavailable) -> Problem:
    return Problem(
        503,
        "The database is unavailable.",
        headers=(("retry-after", str(unavailable.retry_after_s)),),
    )


def _reply_problem(problem: Problem, visit: Visit) -> tuple[Reply, str]:
    """The error document for the client, and its content type."""
    contract = visit.contract
    body, content_type = render_error(
        ErrorFacts(
            status=problem.status,
            detail=problem.detail,
            code=_code_told(problem, visit),
            request_id=visit.request_id,
            method=visit.environ["REQUEST_METHOD"],
            accept=visit.accept,
            media_type=visit.environ.get("CONTENT_TYPE") or "None",
            versions=(
                (OLDEST.version, NEWEST.version)
                if problem.status == 406 and contract is None and not visit.own
                else None
            ),
            facts=problem.facts,
        )
    )
    return Reply(problem.status, body, problem.headers), content_type


def _code_told(problem: Problem, visit: Visit) -> str | None:
    """The problem's code, where the API that was asked has codes."""
    if visit.own:
        return own_code(problem)
    return problem.code if visit.contract and visit.contract.error_codes else None


def _log_line(visit: Visit, status: int, duration_s: float) -> RequestLog:
    return RequestLog(
        method=visit.environ["REQUEST_METHOD"],
        route=visit.route_told,
        status=status,
        duration_s=duration_s,
        microversion=visit.contract.version if visit.contract else None,
        request_id=visit.request_id,
        global_request_id=visit.global_request_id,
        project_id=visit.caller.project_id_logged if visit.caller else None,
    )
