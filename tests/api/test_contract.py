"""The history of the microversions folds into contracts, and the header finds them."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

from moorage.api.microversions import contract as contract_module
from moorage.api.microversions.contract import (
    CONTRACTS,
    NEWEST,
    OLDEST,
    RULES,
    BadVersion,
    Contract,
    find_contract,
    fold,
    fold_history,
    since,
)
from moorage.api.microversions.history import HISTORY, Change

API = Path(contract_module.__file__).parents[1]


def test_there_is_one_contract_for_each_version_without_a_gap() -> None:
    assert list(CONTRACTS) == [f"1.{minor}" for minor in range(40)]
    assert [contract.version for contract in CONTRACTS.values()] == list(CONTRACTS)


def test_what_a_version_adds_stays() -> None:
    retired = {route for change in HISTORY for route in change.retired_routes}
    for older, newer in pairwise(CONTRACTS.values()):
        assert older.routes - newer.routes <= retired
        for rule in RULES:
            assert getattr(older, rule) <= getattr(newer, rule), (newer.version, rule)
        for name in ("provider_links", "provider_filters", "candidate_filters", "usage_filters"):
            known = getattr(older, name)
            assert getattr(newer, name)[: len(known)] == known


def test_every_rule_is_off_first_and_on_at_last() -> None:
    assert RULES
    assert not any(getattr(OLDEST, rule) for rule in RULES)
    assert all(getattr(NEWEST, rule) for rule in RULES)


def test_every_change_says_what_it_is_about_and_changes_something() -> None:
    for change in HISTORY:
        assert change.title
        assert change != Change(change.version, change.title)


@pytest.mark.parametrize(
    "change",
    [
        Change("9.9", "", rules=("no_such_rule",)),
        Change("9.9", "", rules=("error_codes",)),
        Change("9.9", "", routes=("show_root",)),
        Change("9.9", "", retired_routes=("no_such_route",)),
        Change("9.9", "", provider_filters=("name",)),
    ],
)
def test_a_change_that_contradicts_the_history_is_refused(change: Change) -> None:
    with pytest.raises(ValueError, match=r"9\.9"):
        fold(NEWEST, change)


def test_folding_nothing_gives_nothing() -> None:
    assert fold_history(()) == {}


def test_a_contract_is_itself_only() -> None:
    assert Contract() != Contract()
    assert find_contract("placement 1.5") is CONTRACTS["1.5"]


@pytest.mark.parametrize(
    ("header", "version"),
    [
        (None, "1.0"),
        ("", "1.0"),
        ("placement 1.10", "1.10"),
        ("placement latest", "1.39"),
        ("PLACEMENT 1.10", "1.10"),
        ("placement   1.10  ", "1.10"),
        ("compute 2.1", "1.0"),
        ("compute 2.1, placement 1.7", "1.7"),
        ("placement 1.7, compute 2.1", "1.7"),
        ("placement 1.7,placement 1.8", "1.8"),
        ("placement", "1.0"),
        ("placement 1.07", "1.7"),
    ],
)
def test_the_header_finds_the_contract(header: str | None, version: str) -> None:
    assert find_contract(header).version == version


@pytest.mark.parametrize("version", ["0.9", "1.40", "2.0", "1.-1", "99999999999.1"])
def test_a_version_that_is_none_of_ours_is_unacceptable(version: str) -> None:
    with pytest.raises(BadVersion, match=f"Unacceptable version header: {version}") as caught:
        find_contract(f"placement {version}")
    assert caught.value.unacceptable


@pytest.mark.parametrize("version", ["pony.horse", "1.2.3", "1", ".", "LATEST", "9" * 5000 + ".1"])
def test_what_is_no_version_is_malformed(version: str) -> None:
    with pytest.raises(BadVersion, match=f"invalid version string: {version}") as caught:
        find_contract(f"placement {version}")
    assert not caught.value.unacceptable


def test_a_rule_knows_since_when_it_holds() -> None:
    assert since("any_traits") == "1.39"
    assert since("error_codes") == "1.23"


def test_no_version_number_is_written_outside_of_the_history() -> None:
    for file in API.rglob("*.py"):
        if "microversions" in file.parts:
            continue
        tree = ast.parse(file.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in docstrings:
                text = str(node.value)
                assert not any(version in text.split() for version in list(CONTRACTS)[1:]), (
                    file.name,
                    text,
                )
