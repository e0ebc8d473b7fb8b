"""Resource classes: the list of all, and each by name."""

import re
from typing import Any, Final

from msgspec import Struct

from moorage.api.bodies import BodyParser
from moorage.api.call import NO_CONTENT, Call, Reply, reply_json
from moorage.api.errors import Problem
from moorage.api.judge import BODY_FORMATS, Judge
from moorage.api.wire import CUSTOM_NAME, CUSTOM_NAME_PATTERN, CustomName, an_object
from moorage.operations.create_resource_class import create_resource_class
from moorage.operations.delete_resource_class import delete_resource_class
from moorage.operations.ensure_resource_class import ensure_resource_class
from moorage.operations.list_resource_classes import list_resource_classes
from moorage.operations.rename_resource_class import rename_resource_class
from moorage.operations.show_resource_class import show_resource_class


class NamedClass(Struct, kw_only=True, forbid_unknown_fields=True):
    """A custom resource class."""

    name: CustomName


_NAMED_CLASS_SCHEMA: Final = an_object({"name": CUSTOM_NAME}, "name")
NAMED_CLASS: Final = BodyParser(NamedClass, _NAMED_CLASS_SCHEMA)
_JUDGE: Final = Judge(_NAMED_CLASS_SCHEMA, BODY_FORMATS)
_CUSTOM_CLASS: Final = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")


def check_custom_class(name: str) -> None:
    """Raises:
    Problem: a client cannot define a resource class of this name.
    """
    if _CUSTOM_CLASS.fullmatch(name):
        return
    # The pattern of the schema forgives a newline at the end, which no name can have.
    reason = _JUDGE.explain({"name": name}) or f"{name!r} does not match '{CUSTOM_NAME_PATTERN}'"
    raise Problem(400, f"JSON does not validate: {reason}")


def _class_document(name: str, call: Call) -> dict[str, Any]:
    href = f"{call.mount}/resource_classes/{name}"
    return {"name": name, "links": [{"rel": "self", "href": href}]}


def _location(name: str, call: Call) -> tuple[str, str]:
    return call.location(f"/resource_classes/{name}")


def _parse_name(body: bytes) -> str:
    name = NAMED_CLASS.parse(body).name
    check_custom_class(name)
    return name


def handle_list_resource_classes(call: Call) -> Reply:
    """All resource classes."""
    names, modified_at = list_resource_classes(call.services)
    document = {"resource_classes": [_class_document(name, call) for name in names]}
    return reply_json(document, call.modified(modified_at or call.origin.at))


def handle_show_resource_class(call: Call) -> Reply:
    """One resource class."""
    name = call.path["name"]
    modified_at = show_resource_class(call.services, name)
    return reply_json(_class_document(name, call), call.modified(modified_at or call.origin.at))


def handle_create_resource_class(call: Call) -> Reply:
    """A new custom resource class."""
    name = _parse_name(call.body)
    create_resource_class(call.services, name=name, origin=call.origin)
    return Reply(201, headers=(_location(name, call),))


def handle_rename_resource_class(call: Call) -> Reply:
    """A custom resource class under another name."""
    new_name = _parse_name(call.body)
    rename_resource_class(
        call.services, name=call.path["name"], new_name=new_name, origin=call.origin
    )
    return reply_json(_class_document(new_name, call))


def handle_ensure_resource_class(call: Call) -> Reply:
    """A custom resource class, new or not."""
    name = call.path["name"]
    check_custom_class(name)
    created = ensure_resource_class(call.services, name=name, origin=call.origin)
    return Reply(201 if created else 204, headers=(_location(name, call),))


def handle_delete_resource_class(call: Call) -> Reply:
    """The end of a custom resource class that no inventory has."""
    delete_resource_class(call.services, name=call.path["name"], origin=call.origin)
    return NO_CONTENT
