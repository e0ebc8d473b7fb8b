"""Every way in which a request can be refused.

A refusal is expected and typed: it carries facts, never wording or a status. The edge has the one
table that turns each type into an answer (api/errors.py).
"""

from dataclasses import dataclass

from moorage.domain.explanation import Explanation


class Refusal(Exception):
    """Base of all expected refusals; nothing has been changed when one is raised."""

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.facts()))})"

    def facts(self) -> tuple[object, ...]:
        """The fields of the refusal in their order."""
        return tuple(getattr(self, name) for name in getattr(self, "__slots__", ()))


@dataclass(slots=True, eq=False)
class UnknownProvider(Refusal):
    """No provider has this uuid."""

    uuid: str


@dataclass(slots=True, eq=False)
class UnknownAllocationProvider(Refusal):
    """A claim names a provider that does not exist."""

    uuid: str


@dataclass(slots=True, eq=False)
class UnknownReshapeProvider(Refusal):
    """A reshape gives inventories to a provider that does not exist."""

    uuid: str


@dataclass(slots=True, eq=False)
class UnknownResourceClass(Refusal):
    """No resource class has this name."""

    name: str


@dataclass(slots=True, eq=False)
class UnknownTraits(Refusal):
    """None of these names is a trait (all that are unknown, in the order asked)."""

    names: tuple[str, ...]


@dataclass(slots=True, eq=False)
class UnknownInventory(Refusal):
    """The provider has no inventory of this class."""

    provider: str
    resource_class: str


@dataclass(slots=True, eq=False)
class UnknownConsumer(Refusal):
    """The consumer holds nothing."""

    uuid: str


@dataclass(slots=True, eq=False)
class ProviderNameMissing(Refusal):
    """A provider cannot be created with an empty name."""

    uuid: str
    name: str


@dataclass(slots=True, eq=False)
class DuplicateProvider(Refusal):
    """Another provider has this uuid, this name, or both."""

    uuid: str | None
    name: str | None


@dataclass(slots=True, eq=False)
class ParentIsSelf(Refusal):
    """A new provider cannot be its own parent."""

    uuid: str
    name: str


@dataclass(slots=True, eq=False)
class UnknownParent(Refusal):
    """The parent that the request names does not exist."""

    uuid: str
    name: str
    creating: bool


@dataclass(slots=True, eq=False)
class ReparentingNotAllowed(Refusal):
    """Before microversion 1.37 a provider keeps the parent it has."""

    uuid: str


@dataclass(slots=True, eq=False)
class UnparentingNotAllowed(Refusal):
    """Before microversion 1.37 a provider cannot be made a root again."""

    uuid: str


@dataclass(slots=True, eq=False)
class ProviderLoop(Refusal):
    """The new parent lies below the provider."""

    uuid: str


@dataclass(slots=True, eq=False)
class ProviderInUse(Refusal):
    """A provider with allocations cannot be deleted."""

    uuid: str


@dataclass(slots=True, eq=False)
class ProviderHasChildren(Refusal):
    """A provider with children cannot be deleted."""

    uuid: str


@dataclass(slots=True, eq=False)
class ProviderGenerationConflict(Refusal):
    """The provider has changed since the client read it."""

    provider: str
    expected: int
    given: int


@dataclass(slots=True, eq=False)
class ConsumerGenerationConflict(Refusal):
    """The consumer has changed since the client read it; None: it does not exist."""

    consumer: str
    expected: int | None
    given: int | None


@dataclass(slots=True, eq=False)
class ConsumerNamedTwice(Refusal):
    """A request names a consumer in two spellings, which are one consumer to the database."""

    consumer: str
    other: str


@dataclass(slots=True, eq=False)
class InventoryExists(Refusal):
    """The provider already has an inventory of this class."""

    provider: str
    resource_class: str


@dataclass(slots=True, eq=False)
class InventoryInUse(Refusal):
    """Inventories with allocations cannot be removed (all such classes)."""

    provider: str
    resource_classes: tuple[str, ...]


@dataclass(slots=True, eq=False)
class InventoryCapacityInvalid(Refusal):
    """More is reserved than there is (or, before 1.26, as much)."""

    provider: str
    resource_class: str
    reserved_may_be_total: bool


@dataclass(slots=True, eq=False)
class InventoryMissing(Refusal):
    """A claim asks for classes that the provider has no inventory of."""

    provider: str
    resource_classes: tuple[str, ...]


@dataclass(slots=True, eq=False)
class UnitsViolated(Refusal):
    """The amount is not a portion that the inventory gives out."""

    provider: str
    resource_class: str
    amount: int


@dataclass(slots=True, eq=False)
class CapacityExceeded(Refusal):
    """The claim would overfill the inventory, or overfill it further."""

    provider: str
    resource_class: str
    capacity: int
    used: int
    amount: int


@dataclass(slots=True, eq=False)
class ResourceClassExists(Refusal):
    """A resource class has this name already."""

    name: str


@dataclass(slots=True, eq=False)
class ResourceClassIsStandard(Refusal):
    """Standard resource classes can be neither deleted nor renamed."""

    name: str


@dataclass(slots=True, eq=False)
class ResourceClassInUse(Refusal):
    """A resource class with inventories cannot be deleted."""

    name: str


@dataclass(slots=True, eq=False)
class UnknownTrait(Refusal):
    """No trait has this name."""

    name: str


@dataclass(slots=True, eq=False)
class TraitIsStandard(Refusal):
    """Standard traits cannot be deleted."""

    name: str


@dataclass(slots=True, eq=False)
class TraitInUse(Refusal):
    """A trait that providers have cannot be deleted."""

    name: str


@dataclass(slots=True, eq=False)
class NothingFits(Refusal):
    """No place was found for this consumer, beside the other consumers of its request.

    ``gave_up``: there may be one; the search ended after a bounded number of steps.
    """

    consumer: str
    explanation: Explanation
    gave_up: bool


@dataclass(slots=True, eq=False)
class ConsumerHolds(Refusal):
    """A claim is made for a consumer that holds something else already."""

    consumer: str
    generation: int


@dataclass(slots=True, eq=False)
class UnknownLease(Refusal):
    """The consumer has no lease: never had, made it permanent, let it expire, or was changed."""

    consumer: str


@dataclass(slots=True, eq=False)
class UnknownMove(Refusal):
    """No move has this uuid."""

    uuid: str


@dataclass(slots=True, eq=False)
class MoveExists(Refusal):
    """Another order has made a move with this uuid."""

    uuid: str


@dataclass(slots=True, eq=False)
class ConsumerInMove(Refusal):
    """The consumer is in a move that is open, as the one that moves or as its hold."""

    consumer: str
    move: str


@dataclass(slots=True, eq=False)
class NothingToMove(Refusal):
    """The consumer holds nothing that it could be moved from."""

    consumer: str


@dataclass(slots=True, eq=False)
class MoveIsObserved(Refusal):
    """The move was not ordered: whoever makes it ends it through the API of allocations."""

    uuid: str


@dataclass(slots=True, eq=False)
class MoveGenerationConflict(Refusal):
    """The move has changed since the client read it."""

    uuid: str
    state: str
    generation: int
    given: int


@dataclass(slots=True, eq=False)
class StepImpossible(Refusal):
    """A step that the move's state does not allow; ``possible`` are those that it does."""

    uuid: str
    step: str
    state: str
    possible: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class SourceGone(Refusal):
    """Nobody can go back to a source of which a provider or an inventory is gone."""

    uuid: str


@dataclass(slots=True, eq=False)
class DestinationGone(Refusal):
    """Nobody can have arrived where a provider or an inventory is gone."""

    uuid: str


@dataclass(slots=True, eq=False)
class LimitExceeded(Refusal):
    """The request is larger than a named limit allows."""

    limit: str
    maximum: int
    given: int


@dataclass(slots=True, eq=False)
class SearchTooHard(Refusal):
    """Whether more fits is not known after as many steps of search as one request may cost."""

    steps_max: int


@dataclass(slots=True, eq=False)
class TextNotStorable(Refusal):
    """The site's database cannot hold a character of a name or an id."""


class StoreUnavailable(Exception):
    """The database cannot be used now; nothing was changed, and the request may be sent again."""

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__("the database is unavailable")
        self.retry_after_s = retry_after_s
