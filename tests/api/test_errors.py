"""The wording of refusals, which clients match on."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.api.errors import ANSWERS, OVERRIDES, UNDEFINED, find_answer, tell_refusal
from moorage.api.policy import PolicyDenied
from moorage.api.routes import ROUTES
from moorage.api.v1.errors import code_of
from moorage.api.v1.routes import ENDPOINTS
from moorage.domain import refusals as r
from moorage.domain.explanation import Explanation, Step
from moorage.domain.refusals import Refusal

P, C = "5e08ea53-c4c6-448e-9334-ac4953de3cfa", "42a32c07-3eeb-4401-9373-68a8cdca6784"


@pytest.mark.parametrize(
    ("route", "refusal", "status", "detail", "code"),
    [
        # Nova retries on this one, by its words before 1.23 and its code since.
        (
            "claim",
            r.ConsumerGenerationConflict(C, 3, 1),
            409,
            "consumer generation conflict - expected 3 but got 1",
            "placement.concurrent_update",
        ),
        (
            "claim",
            r.ConsumerGenerationConflict(C, None, 5),
            409,
            "consumer generation conflict - expected null but got 5",
            "placement.concurrent_update",
        ),
        (
            "claim",
            r.ConsumerGenerationConflict(C, 3, None),
            409,
            "consumer generation conflict - expected 3 but got None",
            "placement.concurrent_update",
        ),
        # Nova tells a taken name from a provider that it raced itself for.
        (
            "create_provider",
            r.DuplicateProvider(None, "cn1"),
            409,
            "Conflicting resource provider name: cn1 already exists.",
            "placement.duplicate_name",
        ),
        (
            "create_provider",
            r.DuplicateProvider(P, "cn1"),
            409,
            f"Conflicting resource provider uuid: {P} already exists.",
            "placement.duplicate_name",
        ),
        (
            "update_provider",
            r.DuplicateProvider(None, "cn1"),
            409,
            "Conflicting resource provider cn1 already exists.",
            "placement.duplicate_name",
        ),
        # Nova parses the classes and the provider out of this one.
        (
            "set_inventories",
            r.InventoryInUse(P, ("VCPU", "DISK_GB")),
            409,
            f"update conflict: Inventory for 'VCPU, DISK_GB' on resource provider '{P}' in use.",
            "placement.inventory.inuse",
        ),
        (
            "delete_inventories",
            r.InventoryInUse(P, ("VCPU",)),
            409,
            f"Inventory for 'VCPU' on resource provider '{P}' in use.",
            "placement.inventory.inuse",
        ),
        (
            "delete_inventory",
            r.InventoryInUse(P, ("VCPU",)),
            409,
            (
                "Unable to delete inventory of class VCPU: Inventory for 'VCPU' on resource "
                f"provider '{P}' in use."
            ),
            "placement.concurrent_update",
        ),
        (
            "set_inventories",
            r.ProviderGenerationConflict(P, 5, 4),
            409,
            "resource provider generation conflict",
            "placement.concurrent_update",
        ),
        (
            "set_provider_traits",
            r.ProviderGenerationConflict(P, 5, 4),
            409,
            (
                "Resource provider's generation already changed. Please update the generation and "
                "try again."
            ),
            "placement.concurrent_update",
        ),
        (
            "reshape",
            r.ProviderGenerationConflict(P, 5, 4),
            409,
            f"resource provider generation conflict for provider {P}: actual: 5, given: 4",
            "placement.concurrent_update",
        ),
        (
            "claim",
            r.CapacityExceeded(P, "VCPU", 8, 8, 1),
            409,
            (
                "Unable to allocate inventory: Unable to create allocation for 'VCPU' on resource "
                f"provider '{P}'. The requested amount would exceed the capacity."
            ),
            "placement.undefined_code",
        ),
        (
            "claim",
            r.UnitsViolated(P, "VCPU", 3),
            409,
            (
                "Unable to allocate inventory: Unable to create allocation for 'VCPU' on resource "
                f"provider '{P}'. The requested amount would violate inventory constraints."
            ),
            "placement.undefined_code",
        ),
        (
            "claim",
            r.UnknownResourceClass("COWS"),
            400,
            f"Unable to allocate inventory for consumer {C}: No such resource class COWS.",
            "placement.undefined_code",
        ),
        (
            "claim_many",
            r.UnknownResourceClass("COWS"),
            400,
            "Unable to allocate inventory No such resource class COWS.",
            "placement.undefined_code",
        ),
        (
            "show_resource_class",
            r.UnknownResourceClass("COWS"),
            404,
            "No such resource class COWS.",
            "placement.undefined_code",
        ),
        (
            "show_inventories",
            r.UnknownProvider(P),
            404,
            f"No resource provider with uuid {P} found : No resource provider with uuid {P} found",
            "placement.undefined_code",
        ),
        (
            "delete_provider",
            r.ProviderInUse(P),
            409,
            f"Unable to delete resource provider {P}: Resource provider has allocations.",
            "placement.resource_provider.inuse",
        ),
        (
            "delete_provider",
            r.ProviderHasChildren(P),
            409,
            f"Unable to delete parent resource provider {P}: It has child resource providers.",
            "placement.resource_provider.cannot_delete_parent",
        ),
        (
            "add_inventory",
            r.InventoryCapacityInvalid(P, "VCPU", reserved_may_be_total=False),
            400,
            (
                f"Unable to create inventory for resource provider {P}: Invalid inventory for "
                f"'VCPU' on resource provider '{P}'. The reserved value is greater than or equal "
                "to total."
            ),
            "placement.undefined_code",
        ),
        (
            "list_providers",
            r.UnknownTraits(("A", "B")),
            400,
            'Invalid trait(s) in "required" parameter: No such trait(s): A, B.',
            "placement.undefined_code",
        ),
        (
            "reshape",
            r.UnknownReshapeProvider(P),
            400,
            (
                f"Resource provider {P} in inventories not found: No resource provider with "
                f"uuid {P} found"
            ),
            "placement.resource_provider.not_found",
        ),
    ],
)
def test_a_refusal_is_told_in_the_words_that_clients_know(
    route: str, refusal: Refusal, status: int, detail: str, code: str
) -> None:
    path = {"uuid": P, "consumer_uuid": C, "resource_class": "VCPU", "name": "N"}
    problem = tell_refusal(route, refusal, path)
    assert (problem.status, problem.detail, problem.code) == (status, detail, code)


def sample(refusal: type[Refusal]) -> Refusal:
    """A refusal of the type, all of its fields filled with something."""
    slots = refusal.__slots__  # type: ignore[attr-defined]
    known = {
        "resource_classes": ("ONE", "TWO"),
        "names": ("ONE", "TWO"),
        "explanation": Explanation(3, (Step("free", "{braces}", "{braces}", 3, 0),)),
    }
    return refusal(*[known.get(name, "{braces}") for name in slots])


@pytest.mark.parametrize("refusal", ANSWERS, ids=lambda refusal: refusal.__name__)
def test_every_text_can_be_filled(refusal: type[Refusal]) -> None:
    path = {"uuid": "u", "consumer_uuid": "c", "resource_class": "{braces}", "name": "n"}
    routes = [route for route, kind in OVERRIDES if kind is refusal]
    for route in ["", *routes]:
        problem = tell_refusal(route, sample(refusal), path)
        assert problem.detail
        assert 400 <= problem.status < 500
        assert problem.code.startswith("placement.")


DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


def documented() -> Iterator[tuple[str, str, str, str, str]]:
    """Route ("" for all), refusal, status, code and wording, of every row that tells a refusal."""
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        named = [re.fullmatch("`([A-Za-z_]+)`", cell) for cell in cells[:2]]
        if len(cells) == 4 and named[0] and named[0][1][0].isupper():
            yield "", named[0][1], cells[1], cells[2].strip("`"), cells[3]
        elif len(cells) == 5 and named[0] and named[1]:
            yield named[0][1], named[1][1], cells[2], cells[3].strip("`"), cells[4]


@pytest.mark.parametrize("row", documented(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_document_says_what_the_tables_say(row: tuple[str, str, str, str, str]) -> None:
    route, name, status, code, wording = row
    refusal = PolicyDenied if name == "PolicyDenied" else getattr(r, name)
    answer = find_answer(route, refusal)
    assert (status, wording) == (str(answer.status), answer.text)
    if route in {endpoint.name for endpoint in ENDPOINTS}:
        assert code == code_of(refusal)
    else:
        assert code == ("" if answer.code == UNDEFINED else answer.code.removeprefix("placement."))


def test_the_document_has_every_refusal_of_placements_api() -> None:
    own = {refusal for endpoint in ENDPOINTS for refusal in endpoint.refusals}
    told = {name for route, name, *_ in documented() if not route}
    assert told >= {refusal.__name__ for refusal in ANSWERS.keys() - own}
    placements = {route.name for route in ROUTES}
    overrides = {(route, refusal.__name__) for route, refusal in OVERRIDES if route in placements}
    assert overrides <= {(route, name) for route, name, *_ in documented() if route}
