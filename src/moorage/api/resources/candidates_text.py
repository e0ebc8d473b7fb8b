"""The bytes of an answer to a search, put together from fragments.

Candidates of one form differ in their providers only, so that each is the same words with other
uuids. What there is on a provider is rendered once and kept until something about it changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from moorage.api.microversions.contract import Contract
from moorage.candidates.answer import Amounts, CandidatesAnswer, Form, resources_of, traits_of
from moorage.candidates.columns import IndexArray
from moorage.candidates.snapshot import Snapshot

PIECE_BYTES: Final = 2**18
"""Bytes of candidates in one piece, about; larger ones would cost new memory for each."""

CHUNK_ROWS: Final = 1_000
"""Summaries in one piece of a streamed answer."""

STAMPED_MIN: Final = 6
"""Candidates of one form from which on they are written as rows of bytes of one length."""

UUID_LENGTH: Final = 36

_UUID: Final = np.dtype(f"S{UUID_LENGTH}")

_START: Final = b'{"allocation_requests":['
_MIDDLE: Final = b'],"provider_summaries":{'
_END: Final = b"}}"


class Wording:
    """What candidates of one form say: words, and before the last of them gaps for uuids.

    ``words``: what stands before each gap, and behind the last; ``places``: whose uuid goes into
    each gap.
    """

    def __init__(self, words: Sequence[str], places: Sequence[int]) -> None:
        self._words = words
        self._places = places
        self._template = "%s".join(word.replace("%", "%%") for word in words)
        self.length = sum(len(word.encode()) for word in words) + UUID_LENGTH * len(places) + 1
        """Bytes of one candidate and a comma."""

    @cached_property
    def _stamp(self) -> tuple[NDArray[np.uint8], np.dtype[np.void]]:
        """A candidate and a comma with blank gaps, and where the gaps are."""
        lengths = np.cumsum([len(word.encode()) for word in self._words[:-1]])
        offsets = lengths + UUID_LENGTH * np.arange(len(self._places))
        blank = (" " * UUID_LENGTH).join(self._words).encode() + b","
        gaps = np.dtype(
            {
                "names": [str(gap) for gap in range(len(self._places))],
                "formats": [_UUID] * len(self._places),
                "offsets": offsets.tolist(),
                "itemsize": self.length,
            }
        )
        return np.frombuffer(blank, dtype=np.uint8), gaps

    def say(self, uuids: Sequence[str], rows: IndexArray) -> bytes | memoryview:
        """Candidates joined by commas.

        Args:
            uuids: of all providers, by position.
            rows: for each candidate the positions of its providers, by place.
        """
        if len(rows) >= STAMPED_MIN:
            named = "".join(picked(uuids, rows.ravel().tolist())).encode()
            # Another service may have written some in another spelling.
            if len(named) == UUID_LENGTH * rows.size:
                return self._stamped(np.frombuffer(named, dtype=_UUID).reshape(rows.shape))
        template, places = self._template, self._places
        said = [template % tuple([uuids[row[place]] for place in places]) for row in rows.tolist()]
        return ",".join(said).encode()

    def _stamped(self, uuids: NDArray[np.bytes_]) -> memoryview:
        """The same for many: the words of all at once, then each gap in all of them."""
        blank, gaps = self._stamp
        said = np.empty(len(uuids), dtype=gaps)
        said.view(np.uint8).reshape(len(uuids), -1)[:] = blank
        for gap, place in enumerate(self._places):
            said[str(gap)] = uuids[:, place]
        return said.view(np.uint8)[:-1].data


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
    words, places = [""], []
    for part in parts:
        if isinstance(part, str):
            words[-1] += part
        else:
            words.append("")
            places.append(part)
    return Wording(words, places)


def picked(values: Sequence[str], positions: Sequence[int]) -> Sequence[str]:
    """The values at these positions."""
    if len(positions) == 1:
        return (values[positions[0]],)
    found: Sequence[str] = itemgetter(*positions)(values)
    return found


def _render_candidates(answer: CandidatesAnswer, contract: Contract) -> Iterator[bytes]:
    """The candidates in order, in pieces of about CHUNK_ROWS."""
    uuids = answer.snapshot.uuids
    texts: list[bytes | memoryview] = []
    size = 0
    for run in answer.runs():
        wording = wording_of(run.form, contract)
        rows_max = 1 + PIECE_BYTES // wording.length
        for first in range(0, len(run.providers), rows_max):
            text = wording.say(uuids, run.providers[first : first + rows_max])
            texts.append(text)
            size += len(text)
            if size >= PIECE_BYTES:
                yield b",".join(texts)
                texts, size = [b""], 0  # begins with a comma
    if size:
        yield b",".join(texts)


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
