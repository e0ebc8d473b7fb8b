"""The one table of refusals: status, code and wording of each, per route where they differ.

Clients match on codes and on wording, so both are part of the API. Texts are templates over the
refusal's fields and the path's parameters (``{path[uuid]}``).

Source: the wording is the API's, as Placement answers it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from moorage.api.policy import PolicyDenied
from moorage.domain import refusals

UNDEFINED: Final = "placement.undefined_code"
CONCURRENT_UPDATE: Final = "placement.concurrent_update"
DUPLICATE_NAME: Final = "placement.duplicate_name"
INVENTORY_IN_USE: Final = "placement.inventory.inuse"
PROVIDER_IN_USE: Final = "placement.resource_provider.inuse"
PROVIDER_HAS_CHILDREN: Final = "placement.resource_provider.cannot_delete_parent"
PROVIDER_NOT_FOUND: Final = "placement.resource_provider.not_found"
QUERY_DUPLICATE_KEY: Final = "placement.query.duplicate_key"
QUERY_BAD_VALUE: Final = "placement.query.bad_value"
QUERY_MISSING_VALUE: Final = "placement.query.missing_value"


class Problem(Exception):
    """Ends a request with an error document; ``facts`` are further members of it in JSON."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        code: str = UNDEFINED,
        headers: tuple[tuple[str, str], ...] = (),
        facts: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = headers
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Answer:
    """How a refusal is answered."""

    status: int
    text: str
    code: str = UNDEFINED


_NO_PROVIDER: Final = "No resource provider with uuid {uuid} found"
_NO_CLASS: Final = "No such resource class {name}."
_NO_TRAITS: Final = "No such trait(s): {names}."
_IN_USE: Final = "Inventory for '{resource_classes}' on resource provider '{provider}' in use."
_CAPACITY: Final = (
    "Invalid inventory for '{resource_class}' on resource provider '{provider}'. {relation}"
)
_STALE: Final = (
    "Resource provider's generation already changed. Please update the generation and try again."
)
_UNABLE: Final = "Unable to allocate inventory: "
_UNABLE_TO_CREATE: Final = (
    _UNABLE + "Unable to create allocation for '{resource_class}' on resource provider "
    "'{provider}'. The requested amount would "
)
_CREATING: Final = (
    'Unable to create resource provider "{name}", {uuid}: Object action create failed because: '
)
_SAVING: Final = "Unable to save resource provider {path[uuid]}: Object action "

ANSWERS: Final[Mapping[type[refusals.Refusal], Answer]] = {
    PolicyDenied: Answer(403, "Policy does not allow {action} to be performed."),
    refusals.UnknownProvider: Answer(404, _NO_PROVIDER),
    refusals.UnknownResourceClass: Answer(404, _NO_CLASS),
    refusals.UnknownTrait: Answer(404, "No such trait(s): {name}."),
    refusals.UnknownTraits: Answer(400, _NO_TRAITS),
    refusals.UnknownConsumer: Answer(404, "No allocations for consumer '{uuid}'"),
    refusals.UnknownInventory: Answer(404, "No inventory of class {resource_class} for {provider}"),
    refusals.UnknownAllocationProvider: Answer(
        400, "Allocation for resource provider '{uuid}' that does not exist."
    ),
    refusals.UnknownReshapeProvider: Answer(
        400,
        "Resource provider {uuid} in inventories not found: " + _NO_PROVIDER,
        PROVIDER_NOT_FOUND,
    ),
    refusals.ProviderNameMissing: Answer(400, _CREATING + "name is required"),
    refusals.ParentIsSelf: Answer(
        400,
        _CREATING + "parent provider UUID cannot be same as UUID. Please set parent provider "
        "UUID to None if there is no parent.",
    ),
    refusals.UnknownParent: Answer(400, _CREATING + "parent provider UUID does not exist."),
    refusals.ReparentingNotAllowed: Answer(
        400, _SAVING + "update failed because: re-parenting a provider is not currently allowed."
    ),
    refusals.UnparentingNotAllowed: Answer(
        400, _SAVING + "update failed because: un-parenting a provider is not currently allowed."
    ),
    refusals.ProviderLoop: Answer(
        400,
        _SAVING + "update failed because: creating loop in the provider tree is not allowed.",
    ),
    refusals.DuplicateProvider: Answer(
        409, "Conflicting resource provider {duplicates} already exists.", DUPLICATE_NAME
    ),
    refusals.ProviderInUse: Answer(
        409,
        "Unable to delete resource provider {uuid}: Resource provider has allocations.",
        PROVIDER_IN_USE,
    ),
    refusals.ProviderHasChildren: Answer(
        409,
        "Unable to delete parent resource provider {uuid}: It has child resource providers.",
        PROVIDER_HAS_CHILDREN,
    ),
    refusals.ProviderGenerationConflict: Answer(
        409, "resource provider generation conflict", CONCURRENT_UPDATE
    ),
    refusals.ConsumerGenerationConflict: Answer(
        409,
        "consumer generation conflict - expected {expected_or_null} but got {given}",
        CONCURRENT_UPDATE,
    ),
    refusals.ConsumerNamedTwice: Answer(
        400,
        "Consumers {consumer} and {other} are the same to the database of this site: name it once.",
    ),
    refusals.InventoryExists: Answer(
        409,
        "Update conflict: resource provider {provider} already has an inventory of class "
        "{resource_class}.",
        CONCURRENT_UPDATE,
    ),
    refusals.InventoryInUse: Answer(409, "update conflict: " + _IN_USE, INVENTORY_IN_USE),
    refusals.InventoryCapacityInvalid: Answer(
        400, "Unable to update inventory for resource provider {provider}: " + _CAPACITY
    ),
    refusals.InventoryMissing: Answer(
        409,
        _UNABLE + "Inventory for '{resource_classes}' on resource provider '{provider}' invalid.",
    ),
    refusals.UnitsViolated: Answer(409, _UNABLE_TO_CREATE + "violate inventory constraints."),
    refusals.CapacityExceeded: Answer(409, _UNABLE_TO_CREATE + "exceed the capacity."),
    refusals.ResourceClassExists: Answer(409, "Conflicting resource class already exists: {name}"),
    refusals.ResourceClassIsStandard: Answer(
        400, "Error in delete resource class: Cannot delete standard resource class {name}."
    ),
    refusals.ResourceClassInUse: Answer(
        409,
        "Error in delete resource class: Cannot delete resource class {name}. Class is in use "
        "in inventory.",
    ),
    refusals.TraitIsStandard: Answer(400, "Cannot delete standard trait {name}."),
    refusals.TraitInUse: Answer(409, "The trait {name} is in use by a resource provider."),
    refusals.NothingFits: Answer(
        409, "Nothing fits for consumer {consumer}: of {roots} roots {narrowing}."
    ),
    refusals.ConsumerHolds: Answer(
        409,
        "Consumer {consumer} holds allocations already (generation {generation}), and not by this "
        "claim.",
    ),
    refusals.UnknownLease: Answer(404, "Consumer {consumer} has no lease."),
    refusals.UnknownMove: Answer(404, "There is no move {uuid}."),
    refusals.MoveExists: Answer(409, "Move {uuid} exists, and was ordered otherwise."),
    refusals.ConsumerInMove: Answer(409, "Consumer {consumer} is in move {move}, which is open."),
    refusals.NothingToMove: Answer(
        409, "Consumer {consumer} holds nothing that it could be moved from."
    ),
    refusals.MoveIsObserved: Answer(
        409, "Move {uuid} was not ordered here: it ends as it began, through allocations."
    ),
    refusals.MoveGenerationConflict: Answer(
        409, "Move {uuid} is at generation {generation} ({state}), not at {given}."
    ),
    refusals.StepImpossible: Answer(
        409, "Move {uuid} is {state}: no step {step} from there. Possible: {possible}."
    ),
    refusals.SourceGone: Answer(
        409, "A provider or an inventory is gone that move {uuid} would go back to."
    ),
    refusals.DestinationGone: Answer(
        409, "A provider or an inventory is gone that move {uuid} has as its destination."
    ),
    refusals.TextNotStorable: Answer(
        400, "The database of this site cannot store a character of a name or an id."
    ),
    refusals.LimitExceeded: Answer(
        400, "The request exceeds the limit {limit}: {given} given, at most {maximum} allowed."
    ),
    refusals.SearchTooHard: Answer(
        400,
        "Whether the groups fit together is not known after {steps_max} steps of search"
        ": ask for fewer groups, or for equal ones.",
    ),
}

_UNKNOWN_CLASS_ASKED: Final = Answer(
    400, "Invalid resource class in resources parameter: " + _NO_CLASS
)

OVERRIDES: Final[Mapping[tuple[str, type[refusals.Refusal]], Answer]] = {
    # An unknown provider is told in five ways.
    ("delete_provider", refusals.UnknownProvider): Answer(404, _NO_PROVIDER + " for delete"),
    ("show_inventories", refusals.UnknownProvider): Answer(
        404, _NO_PROVIDER + " : " + _NO_PROVIDER
    ),
    ("show_inventory", refusals.UnknownProvider): Answer(404, _NO_PROVIDER + " : " + _NO_PROVIDER),
    ("show_provider_traits", refusals.UnknownProvider): Answer(
        404, _NO_PROVIDER + ": " + _NO_PROVIDER
    ),
    ("show_usages", refusals.UnknownProvider): Answer(404, _NO_PROVIDER + ": " + _NO_PROVIDER),
    ("list_provider_allocations", refusals.UnknownProvider): Answer(
        404, "Resource provider '{uuid}' not found: " + _NO_PROVIDER
    ),
    # An unknown class is the client's mistake where it stands in a body or a query.
    ("add_inventory", refusals.UnknownResourceClass): Answer(
        400, "Unable to create inventory for resource provider {path[uuid]}: " + _NO_CLASS
    ),
    ("set_inventories", refusals.UnknownResourceClass): Answer(
        400, "Unknown resource class in inventory for resource provider {path[uuid]}: " + _NO_CLASS
    ),
    ("delete_inventory", refusals.UnknownResourceClass): Answer(
        404, "No inventory of class {name} found for delete: " + _NO_CLASS
    ),
    ("list_providers", refusals.UnknownResourceClass): _UNKNOWN_CLASS_ASKED,
    ("find_candidates", refusals.UnknownResourceClass): _UNKNOWN_CLASS_ASKED,
    ("make_claims", refusals.UnknownResourceClass): _UNKNOWN_CLASS_ASKED,
    ("explain_search", refusals.UnknownResourceClass): _UNKNOWN_CLASS_ASKED,
    ("open_move", refusals.UnknownResourceClass): _UNKNOWN_CLASS_ASKED,
    ("reschedule_move", refusals.UnknownResourceClass): _UNKNOWN_CLASS_ASKED,
    ("list_moves", refusals.UnknownMove): Answer(400, "The marker {uuid} is no move."),
    ("claim", refusals.UnknownResourceClass): Answer(
        400,
        "Unable to allocate inventory for consumer {path[consumer_uuid]}: " + _NO_CLASS,
    ),
    ("claim_many", refusals.UnknownResourceClass): Answer(
        400, "Unable to allocate inventory " + _NO_CLASS
    ),
    ("reshape", refusals.UnknownResourceClass): Answer(
        400, "malformed reshaper data: " + _NO_CLASS
    ),
    # Traits.
    ("list_providers", refusals.UnknownTraits): Answer(
        400, 'Invalid trait(s) in "required" parameter: ' + _NO_TRAITS
    ),
    ("set_provider_traits", refusals.UnknownTraits): Answer(400, "No such trait {names}"),
    # Providers.
    ("update_provider", refusals.DuplicateProvider): Answer(
        409, "Conflicting resource provider {name} already exists.", DUPLICATE_NAME
    ),
    # Upstream says "create" here although it updates; so do we, for those who match on it.
    ("update_provider", refusals.UnknownParent): Answer(
        400, _SAVING + "create failed because: parent provider UUID does not exist."
    ),
    # Generations.
    ("set_provider_traits", refusals.ProviderGenerationConflict): Answer(
        409, _STALE, CONCURRENT_UPDATE
    ),
    ("set_aggregates", refusals.ProviderGenerationConflict): Answer(409, _STALE, CONCURRENT_UPDATE),
    ("reshape", refusals.ProviderGenerationConflict): Answer(
        409,
        "resource provider generation conflict for provider {provider}: actual: {expected}, "
        "given: {given}",
        CONCURRENT_UPDATE,
    ),
    # Inventories.
    ("update_inventory", refusals.UnknownInventory): Answer(
        400,
        "No inventory record with resource class for resource provider {provider}: No inventory "
        "of class {resource_class} found.",
    ),
    ("delete_inventory", refusals.UnknownInventory): Answer(
        404,
        "No inventory of class {resource_class} found for delete: No inventory of class "
        "{resource_class} found for delete",
    ),
    ("delete_inventories", refusals.InventoryInUse): Answer(409, _IN_USE, INVENTORY_IN_USE),
    # This one route has the other code.
    ("delete_inventory", refusals.InventoryInUse): Answer(
        409,
        "Unable to delete inventory of class {path[resource_class]}: " + _IN_USE,
        CONCURRENT_UPDATE,
    ),
    ("add_inventory", refusals.InventoryCapacityInvalid): Answer(
        400, "Unable to create inventory for resource provider {provider}: " + _CAPACITY
    ),
    # Resource classes.
    ("rename_resource_class", refusals.ResourceClassExists): Answer(
        409, "Resource class already exists: {name}"
    ),
    ("rename_resource_class", refusals.ResourceClassIsStandard): Answer(
        400, "Cannot update standard resource class {name}"
    ),
}


def find_answer(route: str, refusal: type[refusals.Refusal]) -> Answer:
    """How the route answers the refusal; 400 for a type that the table does not know."""
    return OVERRIDES.get((route, refusal)) or ANSWERS.get(refusal) or Answer(400, "Refused.")


def tell_refusal(route: str, refusal: refusals.Refusal, path: Mapping[str, str]) -> Problem:
    """The problem that answers a refusal on a route with these path parameters."""
    answer = find_answer(route, type(refusal))
    detail = answer.text.format_map({**_words(refusal), "path": path})
    return Problem(answer.status, detail, code=answer.code)


def _words(refusal: refusals.Refusal) -> dict[str, object]:
    """The refusal's fields as the texts need them: names joined, two of them in words."""
    names = getattr(refusal, "__slots__", ())
    words: dict[str, object] = {
        name: ", ".join(value) if isinstance(value, tuple) else value
        for name, value in zip(names, refusal.facts(), strict=True)
    }
    match refusal:
        case refusals.StepImpossible(possible=()):
            words["possible"] = "none"
        case refusals.ConsumerGenerationConflict(expected=expected):
            words["expected_or_null"] = "null" if expected is None else expected
        case refusals.InventoryCapacityInvalid(reserved_may_be_total=may_be_total):
            words["relation"] = (
                "The reserved value is greater than total."
                if may_be_total
                else "The reserved value is greater than or equal to total."
            )
        case refusals.NothingFits(explanation=explanation, gave_up=gave_up):
            words["roots"] = explanation.roots
            told = [
                f"{step.constraint} {step.asked} leaves {step.left}"
                for step in explanation.steps
                if step.eliminated
            ]
            if gave_up:
                told.append("not every combination was tried")
            words["narrowing"] = ", ".join(told) or "none is left"
        case refusals.DuplicateProvider(uuid=uuid, name=name):
            # Where both are taken, the uuid: clients look whether it is the name alone.
            words["duplicates"] = f"name: {name}" if uuid is None else f"uuid: {uuid}"
    return words
