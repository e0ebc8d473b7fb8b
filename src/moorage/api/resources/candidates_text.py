"""The bytes of an answer to a search, put together from fragments.

Candidates of one form differ in their providers only, so that each is the same words with other
uuids. What there is on a provider is rendered once and kept until something about it changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

import orjson

from moorage.api.microversions.contract import Contract
from moorage.candidates.answer import Amounts, CandidatesAnswer, Form, resources_of, traits_of
from moorage.candidates.columns import IndexArray
from moorage.candidates.snapshot import Snapshot

CHUNK_ROWS: Final = 1_000
"""Candidates, or summaries, in one piece of a streamed answer."""

_START: Final = b'{"allocation_requests":['
_MIDDLE: Final = b'],"provider_summaries":{'
_END: Final = b"}}"


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a candidate: each of ``words`` stands before the uuid of its place."""

    words: tuple[str, ...]
    places: tuple[int, ...]
    tail: str

    def say(self, uuids: Sequence[Sequence[str]], count: int) -> str:
        """Candidates joined by commas; ``uuids`` are by place, one for each candidate."""
        width = 2 * len(self.places)
        pieces = [""] * (width * count)
        for at, (word, place) in enumerate(zip(self.words, self.places, strict=True)):
            pieces[2 * at :: width] = [word] * count
            pieces[2 * at + 1 :: width] = uuids[place]
        pieces[0::width] = [f"{self.tail},{self.words[0]}"] * count
        pieces[0] = self.words[0]
        pieces.append(self.tail)
        return "".join(pieces)


@lru_cache(maxsize=1024)
def quoted(name: str) -> str:
    """A name in JSON."""
    return orjson.dumps(name).decode()


@lru_cache(maxsize=1024)
def _resources(amounts: Amounts) -> str:
    return "{" + ",".join(f"{quoted(name)}:{amount}" for name, amount in amounts) + "}"


def _listed_parts(form: Form) -> Iterator[str | int]:
    """A candidate's allocations as a list: words, and the places whose uuid they mention."""
    yield '{"allocations":['
    comma = ""
    for place, amounts in enumerate(form.amounts):
        if amounts:
            yield comma + '{"resource_provider":{"uuid":"'
            yield place
            yield '"},"resources":' + _resources(amounts) + "}"
            comma = ","
    yield "]}"


def _keyed_parts(form: Form, *, maps_groups: bool) -> Iterator[str | int]:
    """The same by provider, with the providers of each group where the contract has them."""
    yield '{"allocations":{'
    comma = ""
    for place, amounts in enumerate(form.amounts):
        if amounts:
            yield comma + '"'
            yield place
            yield '":{"resources":' + _resources(amounts) + "}"
            comma = ","
    yield "}"
    if maps_groups:
        yield ',"mappings":{'
        comma = ""
        for suffix, places in form.mappings:
            yield f"{comma}{quoted(suffix)}:["
            comma = ""
            for place in places:
                yield comma + '"'
                yield place
                yield '"'
                comma = ","
            yield "]"
            comma = ","
        yield "}"
    yield "}"


@lru_cache(maxsize=1024)
def wording_of(form: Form, contract: Contract) -> Wording:
    """The words of all candidates of a form."""
    if contract.allocations_keyed_by_provider:
        parts = _keyed_parts(form, maps_groups=contract.maps_groups)
    else:
        parts = _listed_parts(form)
    words, places = [], []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            words.append(text)
            places.append(part)
            text = ""
    return Wording(tuple(words), tuple(places), text)


def picked(values: Sequence[str], positions: Sequence[int]) -> Sequence[str]:
    """The values at these positions."""
    if len(positions) == 1:
        return (values[positions[0]],)
    found: Sequence[str] = itemgetter(*positions)(values)
    return found


def _render_candidates(answer: CandidatesAnswer, contract: Contract) -> Iterator[bytes]:
    """The candidates in order, in pieces of about CHUNK_ROWS."""
    uuids = answer.snapshot.uuids
    texts: list[str] = []
    count = 0
    comma = ""
    for run in answer.runs():
        wording = wording_of(run.form, contract)
        for first in range(0, len(run.providers), CHUNK_ROWS):
            rows = run.providers[first : first + CHUNK_ROWS]
            columns = [picked(uuids, column) for column in rows.T.tolist()]
            texts.append(wording.say(columns, len(rows)))
            count += len(rows)
            if count >= CHUNK_ROWS:
                yield (comma + ",".join(texts)).encode()
                texts, count, comma = [], 0, ","
    if texts:
        yield (comma + ",".join(texts)).encode()


@lru_cache(maxsize=4096)
def _traits(names: tuple[str, ...]) -> str:
    return orjson.dumps(names).decode()


def summary_fragments(
    snapshot: Snapshot, providers: IndexArray, contract: Contract, asked: frozenset[str] | None
) -> list[bytes]:
    """A member of the summaries' object for each provider.

    Args:
        asked: the classes to show; None: all that the provider has.
    """
    uuids = snapshot.uuids
    own = picked(uuids, providers.tolist())
    fragments = [
        f'"{uuid}":{{"resources":{{{_stock(resources, asked)}}}'
        for uuid, resources in zip(own, resources_of(snapshot, providers), strict=True)
    ]
    if contract.summaries_show_traits:
        fragments = [
            f'{text},"traits":{_traits(names)}'
            for text, names in zip(fragments, traits_of(snapshot, providers), strict=True)
        ]
    if contract.nested_candidates:
        parents = snapshot.parents[providers].tolist()
        roots = picked(uuids, snapshot.roots[providers].tolist())
        fragments = [
            f'{text},"parent_provider_uuid":{_uuid_or_null(uuids, parent)}'
            f',"root_provider_uuid":"{root}"'
            for text, parent, root in zip(fragments, parents, roots, strict=True)
        ]
    return [(text + "}").encode() for text in fragments]


def _uuid_or_null(uuids: Sequence[str], position: int) -> str:
    return "null" if position < 0 else f'"{uuids[position]}"'


def _stock(resources: Mapping[str, tuple[int, int]], asked: frozenset[str] | None) -> str:
    return ",".join(
        f'{quoted(name)}:{{"capacity":{capacity},"used":{used}}}'
        for name, (capacity, used) in resources.items()
        if asked is None or name in asked
    )


def _render_summaries(
    answer: CandidatesAnswer, contract: Contract, asked: frozenset[str]
) -> Iterator[bytes]:
    """The summaries of all providers around the candidates."""
    snapshot = answer.snapshot

    def make(wanted: IndexArray) -> list[bytes]:
        shown = None if contract.summaries_show_all_classes else asked
        return summary_fragments(snapshot, wanted, contract, shown)

    kind = ("summary", contract.summaries_show_traits, contract.nested_candidates)
    comma = b""
    providers = answer.summarized()
    for first in range(0, providers.size, CHUNK_ROWS):
        part = providers[first : first + CHUNK_ROWS]
        if contract.summaries_show_all_classes:
            fragments = snapshot.fragments.take(snapshot, kind, part, make)
        else:
            # There are as many ways to show these as there are searches: they are not kept.
            fragments = make(part)
        yield comma + b",".join(fragments)
        comma = b","


def render_answer(
    answer: CandidatesAnswer, contract: Contract, asked: frozenset[str]
) -> Iterator[bytes]:
    """The whole answer to a search in pieces, which are made when they are read.

    Args:
        asked: the resource classes that the search is about.
    """
    yield _START
    yield from _render_candidates(answer, contract)
    yield _MIDDLE
    yield from _render_summaries(answer, contract, asked)
    yield _END
