"""Fills Nova's databases: run as a program, since Nova has one configuration for a process.

Its words are the path of nova.conf and that of a JSON document with what there is to be.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Nova's command decides how it does things at a time, before anything else of Nova is loaded.
from nova.cmd import manage  # isort: skip
from nova import config, context, objects
from nova.network.model import NetworkInfo

Entry = Mapping[str, Any]


class Site:
    """One Nova with its cells."""

    def __init__(self, project_id: str, user_id: str) -> None:
        self._owner = {"project_id": project_id, "user_id": user_id}
        self._context = context.RequestContext(user_id, project_id, is_admin=True)
        self._cells: dict[str, Any] = {}
        self._nodes: dict[str, Any] = {}

    def create_tables(self, cell0_url: str, cells: Mapping[str, str]) -> None:
        """As an operator does with nova-manage; the first cell is the one of nova.conf."""
        assert manage.ApiDbCommands().sync() is None
        assert manage.CellV2Commands().map_cell0(cell0_url) == 0
        assert manage.DbCommands().sync() is None
        commands = manage.CellV2Commands()
        for name, url in cells.items():
            assert commands.create_cell(name, url, f"fake:///{name}") == 0
        for cell in objects.CellMappingList.get_all(self._context):
            self._cells[cell.name] = cell
            with context.target_cell(self._context, cell) as inside:
                manage.migration.db_sync(context=inside)

    def add_host(self, entry: Entry) -> None:
        """A compute service with its one node, whose provider has the node's uuid and name."""
        cell = self._cells[entry["cell"]]
        with context.target_cell(self._context, cell) as inside:
            host = entry["host"]
            service = objects.Service(
                inside, host=host, binary="nova-compute", topic="compute", report_count=1
            )
            service.create()
            node = objects.ComputeNode(
                inside,
                uuid=entry["uuid"],
                host=host,
                hypervisor_hostname=entry["name"],
                service_id=service.id,
                vcpus=64,
                memory_mb=65_536,
                local_gb=1_000,
                vcpus_used=0,
                memory_mb_used=0,
                local_gb_used=0,
                hypervisor_type="QEMU",
                hypervisor_version=1,
                cpu_info="{}",
            )
            node.create()
        objects.HostMapping(self._context, host=host, cell_mapping=cell).create()
        self._nodes[host] = node
        if entry["service_deleted"]:
            service.destroy()

    def add_server(self, entry: Entry) -> None:
        """An instance, in its cell's database and in the map of all instances."""
        cell = self._cells[entry["cell"]]
        flavor = _flavor(entry["flavor"])
        node = self._nodes.get(entry["host"])
        placed = {}
        if node is not None:
            placed = {
                "host": node.host,
                "node": node.hypervisor_hostname,
                "compute_id": node.id,
                "launched_on": node.host,
            }
        mapping = objects.InstanceMapping(
            self._context, instance_uuid=entry["uuid"], cell_mapping=cell, **self._owner
        )
        mapping.create()
        objects.RequestSpec(
            self._context,
            instance_uuid=entry["uuid"],
            flavor=flavor,
            image=objects.ImageMeta(id=entry["image"]) if entry["image"] else None,
            availability_zone=None,
            num_instances=1,
            **self._owner,
        ).create()
        with context.target_cell(self._context, cell) as inside:
            instance = objects.Instance(
                inside,
                uuid=entry["uuid"],
                display_name=entry["uuid"],
                vm_state=entry["vm_state"],
                task_state=entry["task_state"],
                power_state=1,
                image_ref=entry["image"],
                flavor=flavor,
                instance_type_id=flavor.id,
                vcpus=flavor.vcpus,
                memory_mb=flavor.memory_mb,
                root_gb=flavor.root_gb,
                ephemeral_gb=flavor.ephemeral_gb,
                system_metadata={},
                metadata={},
                info_cache=objects.InstanceInfoCache(network_info=NetworkInfo()),
                **placed,
                **self._owner,
            )
            instance.create()
            if entry["deleted"]:
                instance.destroy()
        if entry["deleted"]:
            mapping.queued_for_delete = True
            mapping.save()

    def add_migration(self, entry: Entry) -> None:
        cell = self._cells[entry["cell"]]
        with context.target_cell(self._context, cell) as inside:
            objects.Migration(
                inside,
                uuid=entry["uuid"],
                instance_uuid=entry["server"],
                migration_type=entry["kind"],
                status=entry["status"],
                hidden=entry["hidden"],
                source_compute=entry["source"],
                source_node=self._nodes[entry["source"]].hypervisor_hostname,
                dest_compute=entry["destination"],
                dest_node=self._nodes[entry["destination"]].hypervisor_hostname,
                dest_compute_id=self._nodes[entry["destination"]].id,
                **self._owner,
            ).create()


def _flavor(entry: Entry) -> Any:
    return objects.Flavor(
        id=1,
        flavorid="1",
        name="small",
        disabled=False,
        is_public=True,
        projects=[],
        rxtx_factor=1.0,
        vcpu_weight=0,
        description=None,
        **entry,
    )


def main(conf_path: str, document_path: str) -> None:
    config.parse_args(["nova-manage"], default_config_files=[conf_path])
    objects.register_all()
    wanted = json.loads(Path(document_path).read_text())
    site = Site(wanted["project_id"], wanted["user_id"])
    site.create_tables(wanted["cell0"], wanted["cells"])
    for host in wanted["hosts"]:
        site.add_host(host)
    for server in wanted["servers"]:
        site.add_server(server)
    for migration in wanted["migrations"]:
        site.add_migration(migration)


if __name__ == "__main__":
    main(*sys.argv[1:])
