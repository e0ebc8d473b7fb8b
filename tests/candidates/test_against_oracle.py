"""The search finds exactly what the slow and obvious oracle finds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.candidates.answer import Candidate
from moorage.candidates.filter import filter_providers
from moorage.candidates.request import (
    CandidatesRequest,
    SearchRules,
    Strategy,
)
from moorage.candidates.search import find_candidates
from moorage.domain.provider import ProviderFilter
from moorage.domain.refusals import Refusal
from tests.candidates.forest import TRAIT_NAMES, Node, snapshot_of, uuid_of
from tests.candidates.oracle import Oracle, PlainCandidate
from tests.candidates.strategies import (
    filters,
    forests,
    requests,
    thorough,
    wide_requests,
    wide_trees,
)

NUMBERS = {uuid_of(number): number for number in range(20)}
RULES = SearchRules()


def plain(candidates: Iterable[Candidate]) -> list[PlainCandidate]:
    return [
        (
            frozenset(
                (NUMBERS[uuid], name, amount)
                for uuid, amounts in candidate.allocations.items()
                for name, amount in amounts.items()
            ),
            frozenset(
                (suffix, frozenset(NUMBERS[uuid] for uuid in uuids))
                for suffix, uuids in candidate.mappings.items()
            ),
        )
        for candidate in candidates
    ]


def plain_uuids(candidates: Iterable[Candidate]) -> list[tuple[object, object]]:
    """Candidates as values that compare whatever the order of their parts."""
    return [
        (
            {uuid: sorted(amounts.items()) for uuid, amounts in sorted(one.allocations.items())},
            {suffix: sorted(uuids) for suffix, uuids in sorted(one.mappings.items())},
        )
        for one in candidates
    ]


def expected(forest: Sequence[Node], request: CandidatesRequest) -> set[PlainCandidate] | str:
    try:
        return Oracle(forest).candidates(request)
    except Refusal as refusal:
        return str(refusal)


def found(
    forest: Sequence[Node], request: CandidatesRequest, rules: SearchRules = RULES
) -> set[PlainCandidate] | str:
    try:
        answer = find_candidates(
            snapshot_of(forest), request, rules, random=np.random.default_rng(7)
        )
    except Refusal as refusal:
        return str(refusal)
    candidates = plain(answer.candidates)
    assert len(candidates) == len(set(candidates)), "a candidate is given once"
    return set(candidates)


@thorough
@given(forests(), requests())
def test_the_search_finds_every_candidate_and_no_other(
    forest: list[Node], request: CandidatesRequest
) -> None:
    assert found(forest, request) == expected(forest, request)


@thorough
@given(wide_trees(), wide_requests())
def test_nothing_is_lost_where_most_choices_lead_nowhere(
    forest: list[Node], request: CandidatesRequest
) -> None:
    assert found(forest, request) == expected(forest, request)


FORESTS_LONG: Final = 2_600
WIDE_TREES_LONG: Final = 1_400
REQUESTS_EACH: Final = 5
CASES_LONG: Final = REQUESTS_EACH * (FORESTS_LONG + WIDE_TREES_LONG)
assert CASES_LONG >= 20_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trees", "asked", "count"),
    [(forests(), requests(), FORESTS_LONG), (wide_trees(), wide_requests(), WIDE_TREES_LONG)],
    ids=["forests", "wide trees"],
)
def test_the_search_is_exact_in_twenty_thousand_cases(
    trees: st.SearchStrategy[list[Node]], asked: st.SearchStrategy[CandidatesRequest], count: int
) -> None:
    cases = 0

    # Several requests to each forest: most of a case's time goes into making it up.
    @settings(thorough, max_examples=count, derandomize=True, database=None)
    @given(trees, st.lists(asked, min_size=REQUESTS_EACH, max_size=REQUESTS_EACH))
    def check(forest: list[Node], several: list[CandidatesRequest]) -> None:
        nonlocal cases
        for request in several:
            assert found(forest, request) == expected(forest, request)
            cases += 1

    check()
    assert cases >= count * REQUESTS_EACH


@thorough
@given(
    forests(),
    requests(),
    st.integers(1, 4),
    st.sampled_from(Strategy),
    st.integers(-1, 3),
    st.booleans(),
)
def test_a_limited_search_finds_as_many_of_them_as_it_may(
    forest: list[Node],
    request: CandidatesRequest,
    limit: int,
    strategy: Strategy,
    candidates_max: int,
    randomize: bool,
) -> None:
    everything = expected(forest, request)
    rules = SearchRules(candidates_max=candidates_max, strategy=strategy, randomize=randomize)
    part = found(forest, replace(request, limit=limit), rules)
    if isinstance(everything, str) or isinstance(part, str):
        assert part == everything
        return
    size = min(limit, len(everything), max(candidates_max, 1) if candidates_max >= 0 else limit)
    assert part <= everything
    assert len(part) == size


@thorough
@given(forests(), requests(), st.sampled_from([None, 1, 2]))
def test_the_summaries_are_about_the_trees_that_the_candidates_use(
    forest: list[Node], request: CandidatesRequest, limit: int | None
) -> None:
    if isinstance(expected(forest, request), str):
        return
    answer = find_candidates(snapshot_of(forest), replace(request, limit=limit), RULES)
    oracle = Oracle(forest)
    about = {NUMBERS[summary.uuid] for summary in answer.summaries}
    assert about == oracle.summarized(request, set(plain(answer.candidates)))
    assert len(about) == len(answer.summaries)
    for summary in answer.summaries:
        number = NUMBERS[summary.uuid]
        node = forest[number]
        assert summary.resources == {
            name: (inventory.capacity, node.used.get(name, 0))
            for name, inventory in node.inventories.items()
        }
        assert summary.traits == tuple(t for t in TRAIT_NAMES.values() if t in node.traits)
        assert summary.parent_uuid == (None if node.parent is None else uuid_of(node.parent))
        assert summary.root_uuid == uuid_of(oracle.roots[number])


@thorough
@given(forests(), filters())
def test_a_listing_shows_the_providers_that_pass_the_filter_in_id_order(
    forest: list[Node], wanted: ProviderFilter
) -> None:
    try:
        right: list[int] | str = Oracle(forest).filtered(wanted)
    except Refusal as refusal:
        right = str(refusal)
    try:
        given_out: list[int] | str = list(filter_providers(snapshot_of(forest), wanted))
    except Refusal as refusal:
        given_out = str(refusal)
    assert given_out == right
