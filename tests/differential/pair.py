"""Moorage and its peer on databases of their own, given the same requests in turn."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from tests.differential.compare import list_differences, sort_lists, take_each_once
from tests.differential.corrections import CORRECTIONS, Fault, without
from tests.differential.known_differences import Memory, explain
from tests.differential.steps import (
    ConsumerGeneration,
    ProviderGeneration,
    Request,
    Step,
    resolve,
)
from tests.support.app import load
from tests.support.client import Answer, Client, Transport, over_http, over_wsgi
from tests.support.deployments import Deployment, Option, Subject
from tests.support.servers import HOST, Server, serve


class Disagreement(AssertionError):
    """The two answered one request differently, and no known difference explains it."""


@dataclass
class Pair:
    """Two services in the same state, and what was sent to both.

    ``theirs_here``: upstream on the same books, run by this process, so that it can be corrected.
    """

    ours: Transport
    theirs: Transport
    theirs_here: Transport
    sent: list[Request] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    on_disagreement: Callable[["Pair", Request, Sequence[str]], None] = field(
        default=lambda pair, request, differences: pair.complain(differences)
    )
    on_answers: Callable[[Request, Answer, Answer], None] = field(
        default=lambda request, ours, theirs: None
    )
    _memory: Memory = field(default_factory=Memory)
    _uuids_of_theirs: dict[str, str] = field(default_factory=dict)

    def play(self, sequence: Sequence[Step]) -> None:
        """Send a made-up sequence to both.

        Raises:
            Disagreement: with every request that was sent, as lines that replay.py takes.
        """
        for step in sequence:
            if not self.send(resolve(step, self._generation_of)):
                return

    def send(self, request: Request) -> bool:
        """Send one request to both; False where they may differ in state from now on."""
        self.sent.append(request)
        ours = _call(self.ours, request)
        theirs = _call(self.theirs, request)
        if request.method == "POST" and request.path == "/resource_providers":
            self._learn_uuid(request, ours, theirs)
        theirs = self._translate(theirs)
        self.on_answers(request, ours, theirs)
        differences = self._compare(request, ours, theirs)
        self._memory.note(request, theirs)
        if not differences:
            return True
        unexplained = []
        for line in differences:
            known = explain(line, request, ours, theirs, self._memory)
            if known is None:
                unexplained.append(line)
            else:
                self.explained.append(known.name)
        if unexplained and _finds_candidates(request, ours, theirs):
            faults = self._find_faults(request, ours)
            self.explained += [fault.name for fault in faults]
            unexplained = [] if faults else unexplained
        if unexplained:
            self.on_disagreement(self, request, unexplained)
        # After a difference in a write's outcome, the two may hold different books.
        return request.method == "GET" or all(line.startswith("header") for line in differences)

    def _compare(self, request: Request, ours: Answer, theirs: Answer) -> list[str]:
        if _has_limit(request) and _finds_candidates(request, ours, theirs):
            found = len(theirs.json["allocation_requests"])
            every = self._translate(_call(self.theirs, _without_limit(request)))
            return _compare_chosen(ours, every, found)
        return list_differences(ours, theirs)

    def _find_faults(self, request: Request, ours: Answer) -> Sequence[Fault]:
        """The faults of upstream's but for which it would have answered as we did, if any."""
        asked = _without_limit(request) if _has_limit(request) else request
        for faults in CORRECTIONS:
            with without(faults):
                every = take_each_once(self._translate(_call(self.theirs_here, asked)))
            if every.status != 200:
                continue
            found = len(every.json["allocation_requests"])
            if _has_limit(request):
                limit = int(dict(parse_qsl(request.query))["limit"])
                differences = _compare_chosen(ours, every, min(found, limit))
            else:
                differences = list_differences(ours, every)
            if not differences:
                return faults
        return ()

    def _generation_of(self, wanted: ProviderGeneration | ConsumerGeneration) -> int | None:
        client = Client(self.ours, microversion="1.39")
        if isinstance(wanted, ProviderGeneration):
            shown = client.get(f"/resource_providers/{quote(wanted.provider)}").json
            known = shown.get("generation") if isinstance(shown, dict) else None
            return (known or 0) + wanted.off
        shown = client.get(f"/allocations/{quote(wanted.consumer)}").json
        generation = shown.get("consumer_generation") if isinstance(shown, dict) else None
        if generation is None:
            return wanted.off or None
        return int(generation) + wanted.off

    def _learn_uuid(self, request: Request, ours: Answer, theirs: Answer) -> None:
        """Pair the uuids that the two have made up for one provider."""
        body = request.json
        if isinstance(body, dict) and "uuid" in body:
            return
        our_uuid, their_uuid = (
            answer.headers.get("location", "").rpartition("/")[2] for answer in (ours, theirs)
        )
        if our_uuid and their_uuid:
            self._uuids_of_theirs[their_uuid] = our_uuid

    def _translate(self, theirs: Answer) -> Answer:
        headers, body = theirs.headers, theirs.body
        for their_uuid, our_uuid in self._uuids_of_theirs.items():
            body = body.replace(their_uuid.encode(), our_uuid.encode())
            headers = type(headers).of(
                (name, text.replace(their_uuid, our_uuid)) for name, text in headers.items()
            )
        return Answer(theirs.status, headers, body)

    def complain(self, differences: Sequence[str]) -> None:
        """Raise what differs about the last request, and all that was sent."""
        lines = "\n".join(request.as_line() for request in self.sent)
        last = self.sent[-1]
        asked = last.headers.get("OpenStack-API-Version")
        raise Disagreement(
            f"{last.method} {last.target} @{asked} {last.body!r}\n"
            + "\n".join(differences)
            + f"\nreplay with tests/differential/replay.py:\n{lines}"
        )


class InProcess:
    """Makes pairs of applications in this process, each on a copy of an empty SQLite database."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._templates = {subject: self._make_template(subject) for subject in Subject}

    @contextmanager
    def fresh_pair(self) -> Iterator[Pair]:
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            ours, theirs = (
                over_wsgi(self._load_copy(subject, Path(directory)))
                for subject in (Subject.MOORAGE, Subject.PEER)
            )
            yield Pair(ours, theirs, theirs_here=theirs)

    def _make_template(self, subject: Subject) -> Path:
        home = self._directory / f"template-{subject.value}"
        home.mkdir()
        app = load(subject, Deployment(home, f"sqlite:///{home / 'books.db'}", OPTIONS))
        Client(over_wsgi(app)).get("/")
        return home

    def _load_copy(self, subject: Subject, directory: Path):  # type: ignore[no-untyped-def]
        home = directory / subject.value
        home.mkdir()
        for file in self._templates[subject].glob("books.db*"):
            shutil.copy(file, home / file.name)
        return load(subject, Deployment(home, f"sqlite:///{home / 'books.db'}", OPTIONS))


OPTIONS: Mapping[str, Mapping[str, Option]] = {"moorage": {"observe_moves": False}}
"""Moorage would count a pool once that both consumers of a move hold; Placement does it twice."""


@contextmanager
def served_pair(directory: Path) -> Iterator[Pair]:
    """Both as served processes, on new SQLite databases, spoken to over HTTP."""
    homes = {subject: directory / subject.value for subject in Subject}
    deployments = {
        subject: Deployment(home, f"sqlite:///{home / 'books.db'}", OPTIONS)
        for subject, home in homes.items()
    }
    with (
        serve(Subject.MOORAGE, deployments[Subject.MOORAGE]) as ours,
        serve(Subject.PEER, deployments[Subject.PEER]) as theirs,
    ):
        same_books = Deployment(directory / "here", deployments[Subject.PEER].database_url)
        here = over_wsgi(load(Subject.PEER, same_books))
        yield Pair(_as_localhost(ours), _as_localhost(theirs), theirs_here=here)


def _as_localhost(server: Server) -> Transport:
    """The same service under a name without a port, so that its links can be compared.

    Each request has a connection of its own: upstream leaves the body of a refused request unread,
    and its server then closes the connection.
    """
    transport = over_http(HOST, server.port, keep=False)

    def send(method: str, target: str, headers, body: bytes) -> Answer:  # type: ignore[no-untyped-def]
        return transport(method, target, {**headers, "Host": "localhost"}, body)

    return send


def _call(transport: Transport, request: Request) -> Answer:
    return transport(request.method, request.target, request.headers, request.body)


def _has_limit(request: Request) -> bool:
    return request.path == "/allocation_candidates" and "limit=" in request.query


def _finds_candidates(request: Request, ours: Answer, theirs: Answer) -> bool:
    return (
        request.method == "GET"
        and request.path == "/allocation_candidates"
        and ours.status == theirs.status == 200
    )


def _without_limit(request: Request) -> Request:
    pairs = [pair for pair in parse_qsl(request.query) if pair[0] != "limit"]
    return Request("GET", f"/allocation_candidates?{urlencode(pairs)}", request.headers, b"")


def _compare_chosen(ours: Answer, every: Answer, count: int) -> list[str]:
    """With a limit, which candidates come is not promised: so many, and each one of ``every``."""
    chosen = sort_lists(ours.json["allocation_requests"])
    true_ones = sort_lists(every.json["allocation_requests"])
    if len(chosen) != count:
        return [f"candidates: ours {len(chosen)}, theirs {count}"]
    return [
        f"candidate is none of theirs: {candidate}"
        for candidate in chosen
        if candidate not in true_ones
    ]
