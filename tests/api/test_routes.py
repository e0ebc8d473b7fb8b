"""The table of routes fits the history, the policy and the table of refusals."""

import importlib
import pkgutil

import pytest

from moorage.api.errors import ANSWERS, OVERRIDES, find_answer
from moorage.api.microversions.contract import CONTRACTS, NEWEST, OLDEST
from moorage.api.microversions.history import HISTORY
from moorage.api.policy import PLACEMENT_RULES, PolicyDenied
from moorage.api.routes import PLACES, ROUTES, find_place
from moorage.api.v1.routes import ENDPOINTS
from moorage.domain import refusals
from moorage.domain.refusals import Refusal

NAMES = [route.name for route in ROUTES]
OWN_NAMES = [endpoint.name for endpoint in ENDPOINTS]


def every_refusal() -> set[type[Refusal]]:
    found = {PolicyDenied}
    for name in dir(refusals):
        thing = getattr(refusals, name)
        if isinstance(thing, type) and issubclass(thing, Refusal) and thing is not Refusal:
            found.add(thing)
    return found


def test_the_history_has_every_route_and_no_other() -> None:
    added = [name for change in HISTORY for name in change.routes]
    assert sorted(added) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_every_route_but_the_root_asks_the_policy_about_a_rule_of_its() -> None:
    for route in ROUTES:
        assert (route.rule is None) == (route.name == "show_root")
        assert route.rule is None or route.rule in PLACEMENT_RULES, route.name
    assert {route.rule for route in ROUTES} - {None} == set(PLACEMENT_RULES)


def test_only_routes_of_a_provider_can_tell_of_an_unknown_one_first() -> None:
    for route in ROUTES:
        if route.provider_before_body:
            assert "{uuid}" in route.path
            assert route.takes_json


def test_every_handler_is_called_after_its_route() -> None:
    for route in ROUTES:
        assert route.handler.__name__ == f"handle_{route.name}"


def test_no_two_routes_of_one_version_share_method_and_path() -> None:
    for contract in CONTRACTS.values():
        known = [(route.method, route.path) for route in ROUTES if route.name in contract.routes]
        assert len(set(known)) == len(known), contract.version


def test_every_path_leads_to_its_place_with_its_parameters() -> None:
    for contract in CONTRACTS.values():
        for place in PLACES[contract].values():
            values = {name: f"v-{name}" for name in place.parameters}
            found = find_place(place.template.format(**values), contract)
            assert found == (place, values)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//",
        "/resource_providers/",
        "//resource_providers",
        "/resource_providers//inventories",
        "/resource_providers/u/inventories/",
        "/resource_providers/u/inventories/c/x",
        "/resource_providers/u/cows",
        "/RESOURCE_PROVIDERS",
        "/traits/t/x",
    ],
)
def test_odd_paths_lead_nowhere(path: str) -> None:
    assert find_place(path, NEWEST) is None


def test_a_place_knows_the_methods_of_all_versions_and_which_are_missing() -> None:
    found = find_place("/resource_providers/u/inventories", OLDEST)
    assert found is not None
    place, _ = found
    assert place.allow == "GET, POST, PUT, DELETE"
    assert place.missing == {"DELETE"}
    assert place.routes["DELETE"].missing_status == 405


def test_putting_a_class_renames_it_once_and_ensures_it_later() -> None:
    names = {}
    for version in ("1.1", "1.2", "1.6", "1.7", "1.39"):
        found = find_place("/resource_classes/C", CONTRACTS[version])
        assert found is not None
        names[version] = (found[0].routes["PUT"].name, "PUT" in found[0].missing)
    assert names == {
        "1.1": ("rename_resource_class", True),
        "1.2": ("rename_resource_class", False),
        "1.6": ("rename_resource_class", False),
        "1.7": ("ensure_resource_class", False),
        "1.39": ("ensure_resource_class", False),
    }


def test_every_refusal_has_an_answer() -> None:
    assert set(ANSWERS) == every_refusal()


def test_every_override_is_for_a_route_that_there_is() -> None:
    for route, refusal in OVERRIDES:
        assert route in NAMES or route in OWN_NAMES
        assert refusal in ANSWERS
        assert find_answer(route, refusal) != ANSWERS[refusal]


def test_all_modules_of_the_edge_can_be_imported() -> None:
    package = importlib.import_module("moorage.api")
    for module in pkgutil.walk_packages(package.__path__, "moorage.api."):
        importlib.import_module(module.name)
