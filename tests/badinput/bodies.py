"""A good body for every route that takes one, and ways to make it odd at one place."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.badinput.odd import PROVIDER
from tests.support.client import Client
from tests.support.ids import new_uuid

CONSUMER = "cccccccc-0000-4000-8000-000000000000"
AGGREGATE = "eeeeeeee-0000-4000-8000-000000000000"
AT_PROVIDER = f"/resource_providers/{PROVIDER}"
PLACE = '"HERE"'


@dataclass(frozen=True)
class Route:
    """A route that takes a body, and how to make a good one as the books stand."""

    method: str
    target: str
    make_body: Callable[[Client], dict[str, Any]]
    microversion: str = "1.39"


def _generation(client: Client) -> int:
    generation: int = client.get(AT_PROVIDER).json["generation"]
    return generation


def _inventory() -> dict[str, Any]:
    return {
        "total": 8,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 8,
        "step_size": 1,
        "allocation_ratio": 1.0,
    }


def _inventories(client: Client) -> dict[str, Any]:
    return {
        "resource_provider_generation": _generation(client),
        "inventories": {"VCPU": _inventory()},
    }


def _claim(client: Client) -> dict[str, Any]:
    shown = client.get(f"/allocations/{CONSUMER}").json
    return {
        "allocations": {PROVIDER: {"resources": {"VCPU": 1}}},
        "project_id": "project",
        "user_id": "user",
        "consumer_generation": shown.get("consumer_generation"),
        "consumer_type": "INSTANCE",
        "mappings": {"": [PROVIDER]},
    }


def _new_name() -> str:
    return f"CUSTOM_{new_uuid().replace('-', '').upper()}"


ROUTES: dict[str, Route] = {
    "create-provider": Route(
        "POST",
        "/resource_providers",
        lambda client: {
            "name": f"host-{new_uuid()}",
            "uuid": new_uuid(),
            "parent_provider_uuid": PROVIDER,
        },
    ),
    "update-provider": Route("PUT", AT_PROVIDER, lambda client: {"name": "host"}),
    "set-inventories": Route("PUT", f"{AT_PROVIDER}/inventories", _inventories),
    "add-inventory": Route(
        "POST", f"{AT_PROVIDER}/inventories", lambda client: {"resource_class": "VGPU", "total": 8}
    ),
    "update-inventory": Route(
        "PUT",
        f"{AT_PROVIDER}/inventories/VCPU",
        lambda client: {"resource_provider_generation": _generation(client), **_inventory()},
    ),
    "set-aggregates": Route(
        "PUT",
        f"{AT_PROVIDER}/aggregates",
        lambda client: {
            "resource_provider_generation": _generation(client),
            "aggregates": [AGGREGATE],
        },
    ),
    "set-traits": Route(
        "PUT",
        f"{AT_PROVIDER}/traits",
        lambda client: {
            "resource_provider_generation": _generation(client),
            "traits": ["HW_CPU_X86_AVX"],
        },
    ),
    "create-class": Route("POST", "/resource_classes", lambda client: {"name": _new_name()}),
    "rename-class": Route(
        "PUT", "/resource_classes/CUSTOM_GOLD", lambda client: {"name": "CUSTOM_GOLD"}, "1.6"
    ),
    "claim": Route("PUT", f"/allocations/{CONSUMER}", _claim),
    "claim-many": Route("POST", "/allocations", lambda client: {CONSUMER: _claim(client)}),
    "reshape": Route(
        "POST",
        "/reshaper",
        lambda client: {
            "inventories": {PROVIDER: _inventories(client)},
            "allocations": {CONSUMER: _claim(client)},
        },
    ),
}


def list_places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key of a body, outermost first."""
    items = part.items() if isinstance(part, dict) else enumerate(part)
    for key, inner in list(items):
        yield part, key
        if isinstance(inner, dict | list):
            yield from list_places(inner)


def replace_value(body: dict[str, Any], place: int, text: str) -> bytes:
    """The body as bytes with JSON text, which need not be a value that Python has, at one place."""
    changed = copy.deepcopy(body)
    container, key = list(list_places(changed))[place]
    container[key] = json.loads(PLACE)
    return json.dumps(changed).replace(PLACE, text).encode()


def replace_key(body: dict[str, Any], place: int, key: str) -> bytes:
    """The body as bytes with another key at one place; a list gets one more item instead."""
    changed = copy.deepcopy(body)
    container, known = list(list_places(changed))[place]
    if isinstance(container, dict):
        container[key] = container.pop(known)
    else:
        container.append(key)
    return json.dumps(changed).encode()
