"""openstacksdk's placement proxy, as a program that manages a cloud uses it."""

import openstack
import pytest
from openstack import exceptions
from openstack.connection import Connection
from openstack.placement.v1.resource_provider import ResourceProvider

from tests.support.ids import new_uuid
from tests.support.servers import Server

# The server of this file is started once, not once for each worker of the run.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("sdk")]


@pytest.fixture(scope="module")
def cloud(server: Server) -> Connection:
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="admin_token",
        auth={"endpoint": server.url, "token": "admin"},
        placement_endpoint_override=server.url,
    )


def make_provider(cloud: Connection, **more: str) -> ResourceProvider:
    return cloud.placement.create_resource_provider(name=f"host-{new_uuid()}", **more)


def new_name(prefix: str) -> str:
    return f"CUSTOM_{prefix}{new_uuid().replace('-', '').upper()}"


def test_the_connection_finds_every_microversion(cloud: Connection) -> None:
    discovered = cloud.placement.get_endpoint_data()
    assert discovered.min_microversion == (1, 0)
    assert discovered.max_microversion == (1, 39)


def test_providers_are_created_found_changed_and_deleted(cloud: Connection) -> None:
    placement = cloud.placement
    root = make_provider(cloud)
    child = make_provider(cloud, parent_provider_uuid=root.id)
    assert placement.get_resource_provider(child.id).parent_provider_id == root.id
    assert placement.find_resource_provider(root.name).id == root.id
    in_tree = {provider.id for provider in placement.resource_providers(in_tree=child.id)}
    assert in_tree == {root.id, child.id}
    renamed = placement.update_resource_provider(child.id, name=f"{child.name}-b")
    assert renamed.name == f"{child.name}-b"
    with pytest.raises(exceptions.ConflictException):
        placement.delete_resource_provider(root.id)
    placement.delete_resource_provider(child.id)
    placement.delete_resource_provider(root.id)
    with pytest.raises(exceptions.NotFoundException):
        placement.get_resource_provider(root.id)
    placement.delete_resource_provider(root.id, ignore_missing=True)


def test_inventories_are_made_changed_and_deleted(cloud: Connection) -> None:
    placement = cloud.placement
    provider = make_provider(cloud)
    made = placement.create_resource_provider_inventory(provider.id, "VCPU", total=8)
    assert made.total == 8
    shown = placement.get_resource_provider_inventory("VCPU", provider.id)
    assert (shown.total, shown.reserved, shown.min_unit) == (8, 0, 1)
    generation = placement.get_resource_provider(provider.id).generation
    changed = placement.update_resource_provider_inventory(
        "VCPU", provider.id, total=16, resource_provider_generation=generation
    )
    assert changed.total == 16
    with pytest.raises(exceptions.ConflictException):
        placement.update_resource_provider_inventory(
            "VCPU", provider.id, total=32, resource_provider_generation=generation
        )
    assert [row.total for row in placement.resource_provider_inventories(provider.id)] == [16]
    placement.set_resource_provider_inventories(
        provider.id,
        inventories={"DISK_GB": {"total": 10}},
        resource_provider_generation=generation + 1,
    )
    assert [row.total for row in placement.resource_provider_inventories(provider.id)] == [10]
    placement.delete_resource_provider_inventory("DISK_GB", provider.id)
    placement.delete_resource_provider_inventories(provider.id)
    assert list(placement.resource_provider_inventories(provider.id)) == []


def test_aggregates_are_set_and_fetched(cloud: Connection) -> None:
    placement = cloud.placement
    provider, aggregate = make_provider(cloud), new_uuid()
    placement.set_resource_provider_aggregates(provider, aggregate)
    assert placement.fetch_resource_provider_aggregates(provider.id).aggregates == [aggregate]
    members = placement.resource_providers(member_of=aggregate)
    assert [member.id for member in members] == [provider.id]


def test_traits_are_created_given_and_deleted(cloud: Connection) -> None:
    placement = cloud.placement
    provider, trait = make_provider(cloud), new_name("T")
    placement.create_trait(trait)
    assert placement.get_trait(trait).id == trait
    assert [row.id for row in placement.traits(name=f"startswith:{trait}")] == [trait]
    had = placement.get_resource_provider_trait(provider.id)
    given = placement.set_resource_provider_trait(had, traits=[trait])
    assert list(given.traits) == [trait]
    assert list(placement.get_resource_provider_trait(provider.id).traits) == [trait]
    with pytest.raises(exceptions.ConflictException):
        placement.delete_trait(trait)
    placement.delete_resource_provider_trait(provider.id)
    placement.delete_trait(trait)
    with pytest.raises(exceptions.NotFoundException):
        placement.get_trait(trait)


def test_resource_classes_are_created_and_deleted(cloud: Connection) -> None:
    placement = cloud.placement
    name = new_name("C")
    placement.create_resource_class(name=name)
    assert placement.get_resource_class(name).name == name
    assert {"VCPU", name} <= {row.name for row in placement.resource_classes()}
    placement.delete_resource_class(name)
    with pytest.raises(exceptions.NotFoundException):
        placement.get_resource_class(name)


def test_a_consumer_claims_moves_and_releases(cloud: Connection) -> None:
    placement = cloud.placement
    provider = make_provider(cloud)
    resource_class = new_name("C")
    placement.create_resource_class(name=resource_class)
    placement.create_resource_provider_inventory(provider.id, resource_class, total=8)
    found = list(placement.allocation_candidates(resources=f"{resource_class}:3"))
    assert len(found) == 1
    project, user, instance, migration = (new_uuid() for _ in range(4))
    owner = {"project_id": project, "user_id": user}
    held = {provider.id: {"resources": {resource_class: 3}}}
    placement.update_allocation(
        instance, allocations=held, consumer_generation=None, consumer_type="INSTANCE", **owner
    )
    shown = placement.get_allocation(instance)
    assert shown.allocations[provider.id]["resources"] == {resource_class: 3}
    assert (shown.project_id, shown.consumer_type) == (project, "INSTANCE")
    placement.create_allocations(
        {
            instance: {
                "allocations": {},
                "consumer_generation": shown.consumer_generation,
                "consumer_type": "INSTANCE",
                **owner,
            },
            migration: {
                "allocations": held,
                "consumer_generation": None,
                "consumer_type": "MIGRATION",
                **owner,
            },
        }
    )
    usages = {row.consumer_type: row.resources for row in placement.usages(project_id=project)}
    assert usages == {"MIGRATION": {resource_class: 3}}
    of_provider = list(placement.resource_provider_allocations(provider.id))
    assert [row.id for row in of_provider] == [migration]
    used = placement.fetch_resource_provider_usages(provider.id)
    assert used.usages == {resource_class: 3}
    placement.delete_allocation(migration)
    assert not placement.get_allocation(migration).allocations
