"""Bodies on their way: what is compressed, what is streamed, and what a break looks like."""

import gzip
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard

from moorage.api import pipeline as pipeline_module
from moorage.api.call import Call, Reply
from moorage.api.transfer import (
    COMPRESSED_BYTES_MIN,
    STREAMS_MAX,
    Coding,
    Stream,
    choose_coding,
    compress,
    compress_pieces,
    gather,
)
from tests.api.edge import Edge
from tests.support.client import Client, over_wsgi

LARGE = b'{"large": "' + b"0123456789" * 5_000 + b'"}'
PIECES_IN_STREAM = 40


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", Coding.IDENTITY),
        ("gzip", Coding.GZIP),
        ("GZIP", Coding.GZIP),
        ("x-gzip", Coding.GZIP),
        ("gzip, deflate", Coding.GZIP),
        ("gzip, deflate, br, zstd", Coding.ZSTD),
        ("zstd;q=0.5, gzip", Coding.GZIP),
        ("zstd;q=0, gzip;q=0.001", Coding.GZIP),
        ("gzip;q=0", Coding.IDENTITY),
        ("br", Coding.IDENTITY),
        ("*", Coding.ZSTD),
        ("*;q=0.5, zstd;q=0", Coding.GZIP),
        ("identity, gzip;q=0.9", Coding.IDENTITY),
        ("identity;q=0, *;q=0", Coding.IDENTITY),
        ("gzip;q=2", Coding.IDENTITY),
        ("gzip;level=9", Coding.IDENTITY),
        (", gzip ,", Coding.GZIP),
        ("gzip," * 1_000, Coding.IDENTITY),
    ],
)
def test_a_client_gets_the_coding_that_it_likes_best(accepted: str, coding: Coding) -> None:
    assert choose_coding(accepted) is coding


def unpacked(body: bytes, coding: Coding) -> bytes:
    if coding is Coding.GZIP:
        return gzip.decompress(body)
    if coding is Coding.ZSTD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body


@pytest.mark.parametrize("coding", Coding)
def test_a_compressed_body_is_the_body(coding: Coding) -> None:
    assert unpacked(compress(LARGE, coding), coding) == LARGE
    packed = b"".join(compress_pieces([LARGE, b"", b"x", LARGE], coding))
    assert unpacked(packed, coding) == LARGE + b"x" + LARGE


@pytest.mark.parametrize("count", [0, 1, 3])
def test_pieces_that_are_few_are_sent_whole(count: int) -> None:
    assert gather(iter([b"ab"] * count)) == b"ab" * count


def test_of_a_long_answer_only_the_beginning_is_made_before_it_is_sent() -> None:
    made = itertools.count()
    pieces = (b"x" * 2**18 for _ in range(100) if next(made) is not None)
    body = gather(pieces)
    assert not isinstance(body, bytes)
    assert next(made) < 10
    assert sum(map(len, body)) == 100 * 2**18


def test_the_end_of_a_stream_is_told_once() -> None:
    told: list[str] = []
    stream = Stream(iter([b"a"]), on_fault=lambda _: None, on_end=lambda: told.append("end"))
    assert list(stream) == [b"a"]
    stream.close()
    assert told == ["end"]


def test_a_stream_that_nobody_reads_ends_too() -> None:
    told: list[str] = []
    stream = Stream(iter([b"a"]), on_fault=lambda _: None, on_end=lambda: told.append("end"))
    stream.close()
    assert told == ["end"]


# --- at the edge ----------------------------------------------------------------------------


def answer_with(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """Let every route answer with a body of the test's."""
    route = pipeline_module.find_place

    def find(*given: Any) -> Any:
        place, path = route(*given)
        routes = {
            method: _with_handler(one, lambda _: Reply(200, make()))
            for method, one in place.routes.items()
        }
        return _with(place, routes=routes), path

    monkeypatch.setattr(pipeline_module, "find_place", find)


def _with(value: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(value, **changes)


def _with_handler(route: Any, handler: Any) -> Any:
    def handle(call: Call) -> Reply:
        return handler(call)

    return _with(route, handler=handle)


@pytest.mark.parametrize("coding", [Coding.GZIP, Coding.ZSTD])
def test_a_large_body_is_compressed_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, coding: Coding
) -> None:
    answer_with(monkeypatch, lambda: LARGE)
    answer = Edge().client().get("/traits", headers={"accept-encoding": coding.value})
    assert answer.headers["content-encoding"] == coding.value
    assert answer.headers["vary"] == "openstack-api-version, accept-encoding"
    assert int(answer.headers["content-length"]) == len(answer.body) < len(LARGE)
    assert unpacked(answer.body, coding) == LARGE


def test_a_large_body_is_left_alone_for_who_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda: LARGE)
    answer = Edge().client().get("/traits")
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "openstack-api-version, accept-encoding"
    assert answer.body == LARGE


def test_a_small_body_is_never_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda: b"x" * (COMPRESSED_BYTES_MIN - 1))
    answer = Edge().client().get("/traits", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "openstack-api-version"


def long_answer() -> Iterator[bytes]:
    for _ in range(PIECES_IN_STREAM):
        yield LARGE


@pytest.mark.parametrize("coding", Coding)
def test_a_long_answer_is_streamed(monkeypatch: pytest.MonkeyPatch, coding: Coding) -> None:
    answer_with(monkeypatch, long_answer)
    edge = Edge()
    answer = edge.client().get("/traits", headers={"accept-encoding": coding.value})
    assert "content-length" not in answer.headers
    assert unpacked(answer.body, coding) == LARGE * PIECES_IN_STREAM
    assert [line.status for line in edge.requests] == [200]


def test_few_answers_are_streamed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, long_answer)
    app = Edge().app()

    def begin() -> tuple[Any, dict[str, str]]:
        told: list[Any] = []
        pieces = app(environ_of("/traits"), lambda status, pairs, *_: told.extend(pairs))
        return pieces, dict(told)

    reading = [begin() for _ in range(STREAMS_MAX)]
    assert all("content-length" not in headers for _, headers in reading)
    _, headers = begin()
    assert int(headers["content-length"]) == len(LARGE) * PIECES_IN_STREAM
    reading.pop()[0].close()
    assert "content-length" not in begin()[1]


def environ_of(path: str) -> dict[str, Any]:
    caught: list[dict[str, Any]] = []

    def catch(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        caught.append(environ)
        start_response("200 OK", [])
        return []

    Client(over_wsgi(catch), microversion="1.39").get(path)
    return caught[0]


def test_a_stream_that_breaks_is_cut_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking() -> Iterator[bytes]:
        yield from long_answer()
        raise RuntimeError

    answer_with(monkeypatch, breaking)
    edge = Edge()
    with pytest.raises(RuntimeError):
        edge.client().get("/traits")
    assert [fault["route"] for fault in edge.faults] == ["/traits"]
    assert len(edge.requests) == 1


def test_an_answer_that_breaks_before_it_is_sent_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaking() -> Iterator[bytes]:
        yield LARGE
        raise RuntimeError

    answer_with(monkeypatch, breaking)
    edge = Edge()
    assert edge.client().get("/traits").status == 500
    assert len(edge.faults) == 1
