"""The bytes of an answer to a search say what its values say, at every version."""

from dataclasses import replace
from uuid import uuid4

import numpy as np
import orjson
import pytest
from hypothesis import given

from moorage.api.microversions.contract import CONTRACTS, Contract
from moorage.api.resources import candidates_text
from moorage.api.resources.candidates_text import render_answer, wording_of
from moorage.candidates.answer import CandidatesAnswer, Form
from moorage.candidates.request import CandidatesRequest, RequestGroup, SearchRules
from moorage.candidates.search import find_candidates
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import SHARING_TRAIT
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import Refusal
from tests.api.documents import answer_document
from tests.candidates.forest import AGGREGATES, Node, snapshot_of
from tests.candidates.strategies import forests, requests, thorough

EVERY_CONTRACT = list(dict.fromkeys(CONTRACTS.values()))
TREES = snapshot_of(
    [
        Node(inventories={"VCPU": Inventory(total=8)}, aggregates=frozenset(AGGREGATES[:1])),
        Node(parent=0, inventories={"CUSTOM_VF": Inventory(total=4)}, used={"CUSTOM_VF": 1}),
        Node(
            parent=0, inventories={"CUSTOM_VF": Inventory(total=4)}, traits=frozenset({"CUSTOM_A"})
        ),
        Node(inventories={"VCPU": Inventory(total=8)}),
        Node(
            inventories={"DISK_GB": Inventory(total=90)},
            traits=frozenset({SHARING_TRAIT}),
            aggregates=frozenset(AGGREGATES[:1]),
        ),
    ]
)
GRANULAR = CandidatesRequest(
    groups=(
        RequestGroup("", (("VCPU", 1), ("DISK_GB", 5))),
        RequestGroup("_NET", (("CUSTOM_VF", 2),)),
    )
)


def search(snapshot: Snapshot, request: CandidatesRequest) -> CandidatesAnswer:
    return find_candidates(snapshot, request, SearchRules())


def same(snapshot: Snapshot, request: CandidatesRequest, contract: Contract) -> bool:
    asked = frozenset(name for group in request.groups for name, _ in group.resources)
    said = b"".join(render_answer(search(snapshot, request), contract, asked))
    return bool(orjson.loads(said) == answer_document(search(snapshot, request), asked, contract))


@pytest.mark.parametrize("contract", EVERY_CONTRACT, ids=lambda contract: contract.version)
def test_a_search_over_trees_and_pools_is_told_at_every_version(contract: Contract) -> None:
    assert len(search(TREES, GRANULAR).candidates) == 2
    assert same(TREES, GRANULAR, contract)


@thorough
@given(forest=forests(), request=requests())
def test_whatever_is_found_is_told(forest: list[Node], request: CandidatesRequest) -> None:
    snapshot = snapshot_of(forest)
    try:
        search(snapshot, request)
    except Refusal:
        return
    for contract in (EVERY_CONTRACT[10], EVERY_CONTRACT[17], EVERY_CONTRACT[-1]):
        assert same(snapshot, request, contract)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(candidates_text, "STAMPED_MIN", 1)
            assert same(snapshot, request, contract)


@pytest.mark.parametrize("count", [2, 40])
def test_uuids_in_another_spelling_are_told_as_they_are(count: int) -> None:
    hosts = snapshot_of([Node(inventories={"VCPU": Inventory(total=8)}) for _ in range(count)])
    bare = hosts.uuids[1].replace("-", "")
    mixed = replace(hosts, uuids=[hosts.uuids[0], bare, *hosts.uuids[2:]])
    request = CandidatesRequest(groups=(RequestGroup("", (("VCPU", 1),)),))
    said = b"".join(render_answer(search(mixed, request), EVERY_CONTRACT[-1], frozenset({"VCPU"})))
    told = [next(iter(one["allocations"])) for one in orjson.loads(said)["allocation_requests"]]
    assert told == list(mixed.uuids)


@pytest.mark.parametrize("count", [1, 40])
def test_a_suffix_with_a_percent_sign_is_told(count: int) -> None:
    form = Form(((("VCPU", 1),),), (("_50%s", (0,)),))
    uuids = [str(uuid4()) for _ in range(count)]
    rows = np.arange(count, dtype=np.int32).reshape(-1, 1)
    said = bytes(wording_of(form, EVERY_CONTRACT[-1]).say(uuids, rows))
    assert [one["mappings"] for one in orjson.loads(b"[" + said + b"]")] == [
        {"_50%s": [uuid]} for uuid in uuids
    ]


def test_an_answer_longer_than_a_piece_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates_text, "CHUNK_ROWS", 3)
    monkeypatch.setattr(candidates_text, "PIECE_BYTES", 300)
    flat = snapshot_of([Node(inventories={"VCPU": Inventory(total=8)}) for _ in range(10)])
    request = CandidatesRequest(groups=(RequestGroup("", (("VCPU", 1),)),))
    newest = EVERY_CONTRACT[-1]
    pieces = list(render_answer(search(flat, request), newest, frozenset({"VCPU"})))
    assert len(pieces) == 3 + 4 + 4
    assert same(flat, request, newest)
    assert same(TREES, GRANULAR, newest)


def test_a_search_that_finds_nothing_is_told() -> None:
    request = CandidatesRequest(groups=(RequestGroup("", (("VCPU", 1_000),)),))
    said = b"".join(render_answer(search(TREES, request), EVERY_CONTRACT[-1], frozenset()))
    assert orjson.loads(said) == {"allocation_requests": [], "provider_summaries": {}}
