"""The one table of routes: method, path, policy, handler, and what each checks before it.

Paths alternate between fixed words and parameters. A route without a version of its own here has
one in the history of the microversions, by its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from moorage.api.call import Call, Reply
from moorage.api.microversions.contract import CONTRACTS, Contract
from moorage.api.resources.aggregates import handle_set_aggregates, handle_show_aggregates
from moorage.api.resources.allocation_candidates import handle_find_candidates
from moorage.api.resources.allocations import (
    handle_claim,
    handle_claim_many,
    handle_list_provider_allocations,
    handle_release,
    handle_show_allocations,
)
from moorage.api.resources.inventories import (
    handle_add_inventory,
    handle_delete_inventories,
    handle_delete_inventory,
    handle_set_inventories,
    handle_show_inventories,
    handle_show_inventory,
    handle_update_inventory,
)
from moorage.api.resources.providers import (
    handle_create_provider,
    handle_delete_provider,
    handle_list_providers,
    handle_show_provider,
    handle_update_provider,
)
from moorage.api.resources.reshaper import handle_reshape
from moorage.api.resources.resource_classes import (
    handle_create_resource_class,
    handle_delete_resource_class,
    handle_ensure_resource_class,
    handle_list_resource_classes,
    handle_rename_resource_class,
    handle_show_resource_class,
)
from moorage.api.resources.root import handle_show_root
from moorage.api.resources.traits import (
    handle_delete_provider_traits,
    handle_delete_trait,
    handle_ensure_trait,
    handle_list_traits,
    handle_set_provider_traits,
    handle_show_provider_traits,
    handle_show_trait,
)
from moorage.api.resources.usages import handle_show_usages, handle_sum_usages


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that the API does.

    Args:
        name: what the history of the microversions and the table of refusals call it.
        rule: the policy's rule; None: anybody may.
        takes_json: the body must be said to be JSON (415).
        checks_accept: the client must accept JSON (406).
        negotiates_first: both of these are checked before the version, not after it.
        missing_status: the answer before the version that adds the route.
        provider_before_body: an unknown provider (404) is told rather than a bad body (400).
        targets_project: the policy is asked about the project that the query names.
    """

    name: str
    method: str
    path: str
    rule: str | None
    handler: Callable[[Call], Reply]
    takes_json: bool = False
    checks_accept: bool = False
    negotiates_first: bool = False
    missing_status: int = 404
    provider_before_body: bool = False
    targets_project: bool = False


_PROVIDER: Final = "/resource_providers/{uuid}"
_POLICY: Final = "placement:"


def _get(name: str, path: str, rule: str, handler: Callable[[Call], Reply]) -> Route:
    """A route that answers with a document."""
    return Route(name, "GET", path, _POLICY + rule, handler, checks_accept=True)


ROUTES: Final = (
    Route("show_root", "GET", "/", None, handle_show_root),
    # Resource classes.
    _get(
        "list_resource_classes",
        "/resource_classes",
        "resource_classes:list",
        handle_list_resource_classes,
    ),
    Route(
        "create_resource_class",
        "POST",
        "/resource_classes",
        "placement:resource_classes:create",
        handle_create_resource_class,
        takes_json=True,
    ),
    _get(
        "show_resource_class",
        "/resource_classes/{name}",
        "resource_classes:show",
        handle_show_resource_class,
    ),
    Route(
        "rename_resource_class",
        "PUT",
        "/resource_classes/{name}",
        "placement:resource_classes:update",
        handle_rename_resource_class,
        takes_json=True,
    ),
    Route(
        "ensure_resource_class",
        "PUT",
        "/resource_classes/{name}",
        "placement:resource_classes:update",
        handle_ensure_resource_class,
    ),
    Route(
        "delete_resource_class",
        "DELETE",
        "/resource_classes/{name}",
        "placement:resource_classes:delete",
        handle_delete_resource_class,
    ),
    # Providers.
    _get("list_providers", "/resource_providers", "resource_providers:list", handle_list_providers),
    Route(
        "create_provider",
        "POST",
        "/resource_providers",
        "placement:resource_providers:create",
        handle_create_provider,
        takes_json=True,
    ),
    _get("show_provider", _PROVIDER, "resource_providers:show", handle_show_provider),
    Route(
        "delete_provider",
        "DELETE",
        _PROVIDER,
        "placement:resource_providers:delete",
        handle_delete_provider,
    ),
    Route(
        "update_provider",
        "PUT",
        _PROVIDER,
        "placement:resource_providers:update",
        handle_update_provider,
        takes_json=True,
        provider_before_body=True,
    ),
    # Inventories.
    _get(
        "show_inventories",
        _PROVIDER + "/inventories",
        "resource_providers:inventories:list",
        handle_show_inventories,
    ),
    Route(
        "add_inventory",
        "POST",
        _PROVIDER + "/inventories",
        "placement:resource_providers:inventories:create",
        handle_add_inventory,
        takes_json=True,
        provider_before_body=True,
    ),
    Route(
        "set_inventories",
        "PUT",
        _PROVIDER + "/inventories",
        "placement:resource_providers:inventories:update",
        handle_set_inventories,
        takes_json=True,
        provider_before_body=True,
    ),
    Route(
        "delete_inventories",
        "DELETE",
        _PROVIDER + "/inventories",
        "placement:resource_providers:inventories:delete",
        handle_delete_inventories,
        missing_status=405,
    ),
    _get(
        "show_inventory",
        _PROVIDER + "/inventories/{resource_class}",
        "resource_providers:inventories:show",
        handle_show_inventory,
    ),
    Route(
        "update_inventory",
        "PUT",
        _PROVIDER + "/inventories/{resource_class}",
        "placement:resource_providers:inventories:update",
        handle_update_inventory,
        takes_json=True,
        provider_before_body=True,
    ),
    Route(
        "delete_inventory",
        "DELETE",
        _PROVIDER + "/inventories/{resource_class}",
        "placement:resource_providers:inventories:delete",
        handle_delete_inventory,
    ),
    # Usages.
    _get(
        "show_usages",
        _PROVIDER + "/usages",
        "resource_providers:usages",
        handle_show_usages,
    ),
    Route(
        "sum_usages",
        "GET",
        "/usages",
        "placement:usages",
        handle_sum_usages,
        checks_accept=True,
        targets_project=True,
    ),
    # Aggregates.
    Route(
        "show_aggregates",
        "GET",
        _PROVIDER + "/aggregates",
        "placement:resource_providers:aggregates:list",
        handle_show_aggregates,
        checks_accept=True,
        negotiates_first=True,
    ),
    Route(
        "set_aggregates",
        "PUT",
        _PROVIDER + "/aggregates",
        "placement:resource_providers:aggregates:update",
        handle_set_aggregates,
        takes_json=True,
        negotiates_first=True,
        provider_before_body=True,
    ),
    # Allocations.
    _get(
        "list_provider_allocations",
        _PROVIDER + "/allocations",
        "resource_providers:allocations:list",
        handle_list_provider_allocations,
    ),
    Route(
        "claim_many",
        "POST",
        "/allocations",
        "placement:allocations:manage",
        handle_claim_many,
        takes_json=True,
    ),
    _get(
        "show_allocations",
        "/allocations/{consumer_uuid}",
        "allocations:list",
        handle_show_allocations,
    ),
    Route(
        "claim",
        "PUT",
        "/allocations/{consumer_uuid}",
        "placement:allocations:update",
        handle_claim,
        takes_json=True,
    ),
    Route(
        "release",
        "DELETE",
        "/allocations/{consumer_uuid}",
        "placement:allocations:delete",
        handle_release,
    ),
    _get(
        "find_candidates",
        "/allocation_candidates",
        "allocation_candidates:list",
        handle_find_candidates,
    ),
    # Traits.
    _get("list_traits", "/traits", "traits:list", handle_list_traits),
    Route("show_trait", "GET", "/traits/{name}", "placement:traits:show", handle_show_trait),
    Route("ensure_trait", "PUT", "/traits/{name}", "placement:traits:update", handle_ensure_trait),
    Route(
        "delete_trait",
        "DELETE",
        "/traits/{name}",
        "placement:traits:delete",
        handle_delete_trait,
    ),
    _get(
        "show_provider_traits",
        _PROVIDER + "/traits",
        "resource_providers:traits:list",
        handle_show_provider_traits,
    ),
    Route(
        "set_provider_traits",
        "PUT",
        _PROVIDER + "/traits",
        "placement:resource_providers:traits:update",
        handle_set_provider_traits,
        takes_json=True,
    ),
    Route(
        "delete_provider_traits",
        "DELETE",
        _PROVIDER + "/traits",
        "placement:resource_providers:traits:delete",
        handle_delete_provider_traits,
    ),
    # The reshaper.
    Route(
        "reshape",
        "POST",
        "/reshaper",
        "placement:reshaper:reshape",
        handle_reshape,
        takes_json=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One path of the API at one version.

    ``routes`` has every method that the path has at any version; ``missing`` are those of them
    that this version does not have.
    """

    template: str
    parameters: tuple[str, ...]
    allow: str
    routes: Mapping[str, Route]
    missing: frozenset[str]


PlaceKey = tuple[int, str, str | None]
Places = Mapping[PlaceKey, Place]


def _key(parts: list[str]) -> PlaceKey:
    """What identifies a path: how many parts it has, and its fixed words."""
    return len(parts), parts[1], parts[3] if len(parts) > 3 else None


def _make_place(template: str, contract: Contract) -> Place:
    routes: dict[str, Route] = {}
    missing = set()
    for route in ROUTES:
        if route.path != template:
            continue
        if route.name in contract.routes:
            routes[route.method] = route
            missing.discard(route.method)
        elif route.method not in routes:
            routes[route.method] = route
            missing.add(route.method)
    parts = template.split("/")
    return Place(
        template=template,
        parameters=tuple(part.strip("{}") for part in parts[2::2]),
        allow=", ".join(routes),
        routes=MappingProxyType(routes),
        missing=frozenset(missing),
    )


def _make_places(contract: Contract) -> Places:
    templates = dict.fromkeys(route.path for route in ROUTES)
    return {_key(template.split("/")): _make_place(template, contract) for template in templates}


PLACES: Final[Mapping[Contract, Places]] = {
    contract: _make_places(contract) for contract in CONTRACTS.values()
}


def find_place(path: str, contract: Contract) -> tuple[Place, dict[str, str]] | None:
    """The place that the path leads to, with the values of its parameters; None: nowhere."""
    parts = path.split("/")
    if len(parts) < 2 or parts[0]:
        return None
    place = PLACES[contract].get(_key(parts))
    if place is None:
        return None
    values = parts[2::2]
    if "" in values:
        return None
    return place, dict(zip(place.parameters, values, strict=True))
