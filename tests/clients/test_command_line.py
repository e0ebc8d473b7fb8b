"""Every `openstack resource ...`, `openstack trait ...` and candidate command of osc-placement."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.clients.command_line import CommandLine, make_environment
from tests.support.ids import new_uuid
from tests.support.processes import COMMAND_S_MAX
from tests.support.servers import Server

# The server of this file is started once, not once for each worker of the run.
pytestmark = pytest.mark.xdist_group("command-line")

NEWEST = "1.39"


def create_provider(openstack: CommandLine, name: str, *words: str, microversion: str) -> str:
    created = openstack.ask("resource provider create", name, *words, microversion=microversion)
    assert created["name"] == name
    return str(created["uuid"])


def test_the_program_itself_talks_to_the_service(server: Server) -> None:
    program = Path(sys.executable).with_name("openstack")
    finished = subprocess.run(
        [program, "resource", "class", "list", "-f", "value"],
        capture_output=True,
        text=True,
        env=make_environment(server.url),
        check=True,
        timeout=COMMAND_S_MAX,
    )
    assert "VCPU" in finished.stdout.split()


@pytest.mark.parametrize("microversion", ["1.0", "1.13", "1.14", NEWEST])
def test_providers_are_created_shown_renamed_and_deleted(
    openstack: CommandLine, microversion: str
) -> None:
    name, uuid = f"host-{new_uuid()}", new_uuid()
    created = openstack.ask(
        "resource provider create", name, "--uuid", uuid, microversion=microversion
    )
    assert (created["uuid"], created["name"], created["generation"]) == (uuid, name, 0)
    listed = openstack.ask("resource provider list", microversion=microversion)
    assert uuid in {provider["uuid"] for provider in listed}
    found = openstack.ask("resource provider list --name", name, microversion=microversion)
    assert [provider["uuid"] for provider in found] == [uuid]
    found = openstack.ask("resource provider list --uuid", uuid, microversion=microversion)
    assert [provider["name"] for provider in found] == [name]
    openstack.do("resource provider set", uuid, "--name", f"{name}-b", microversion=microversion)
    shown = openstack.ask("resource provider show", uuid, microversion=microversion)
    assert shown["name"] == f"{name}-b"
    shown = openstack.ask("resource provider show --allocations", uuid, microversion=microversion)
    assert shown["allocations"] == {}
    openstack.do("resource provider delete", uuid, microversion=microversion)
    said = openstack.refuse("resource provider show", uuid, microversion=microversion)
    assert f"No resource provider with uuid {uuid} found" in said


def test_trees_are_built_listed_and_moved(openstack: CommandLine) -> None:
    root = create_provider(openstack, new_uuid(), microversion=NEWEST)
    child = create_provider(openstack, new_uuid(), "--parent-provider", root, microversion=NEWEST)
    tree = openstack.ask("resource provider list --in-tree", child, microversion=NEWEST)
    assert {provider["uuid"]: provider["parent_provider_uuid"] for provider in tree} == {
        root: None,
        child: root,
    }
    said = openstack.refuse("resource provider delete", root, microversion=NEWEST)
    assert "has children" in said or "child" in said
    other = create_provider(openstack, new_uuid(), microversion=NEWEST)
    moved = openstack.ask(
        "resource provider set", child, "--name", new_uuid(), "--parent-provider", other,
        microversion=NEWEST,
    )  # fmt: skip
    assert moved["parent_provider_uuid"] == other
    assert moved["root_provider_uuid"] == other


@pytest.mark.parametrize("microversion", ["1.0", "1.5", "1.25", NEWEST])
def test_inventories_are_set_shown_listed_and_deleted(
    openstack: CommandLine, microversion: str
) -> None:
    provider = create_provider(openstack, new_uuid(), microversion=microversion)
    openstack.do(
        "resource provider inventory set", provider, "--resource", "VCPU=16", "--resource",
        "MEMORY_MB=1024", "--resource", "MEMORY_MB:max_unit=512", microversion=microversion,
    )  # fmt: skip
    listed = openstack.ask("resource provider inventory list", provider, microversion=microversion)
    assert {row["resource_class"]: (row["total"], row["max_unit"]) for row in listed} == {
        "VCPU": (16, 2147483647),
        "MEMORY_MB": (1024, 512),
    }
    openstack.do(
        "resource provider inventory class set", provider, "VCPU", "--total", "8", "--reserved",
        "1", "--allocation_ratio", "2.5", "--min_unit", "1", "--max_unit", "4", "--step_size", "1",
        microversion=microversion,
    )  # fmt: skip
    shown = openstack.ask(
        "resource provider inventory show", provider, "VCPU", microversion=microversion
    )
    assert shown == {
        "total": 8, "reserved": 1, "allocation_ratio": 2.5, "min_unit": 1, "max_unit": 4,
        "step_size": 1, "used": 0,
    } or shown == {
        "total": 8, "reserved": 1, "allocation_ratio": 2.5, "min_unit": 1, "max_unit": 4,
        "step_size": 1,
    }  # fmt: skip
    usages = openstack.ask("resource provider usage show", provider, microversion=microversion)
    assert {row["resource_class"]: row["usage"] for row in usages} == {"VCPU": 0, "MEMORY_MB": 0}
    openstack.do(
        "resource provider inventory delete", provider, "--resource-class", "VCPU",
        microversion=microversion,
    )  # fmt: skip
    said = openstack.refuse(
        "resource provider inventory show", provider, "VCPU", microversion=microversion
    )
    assert "No inventory of class VCPU" in said


def test_inventories_are_amended_and_all_deleted(openstack: CommandLine) -> None:
    provider = create_provider(openstack, new_uuid(), microversion=NEWEST)
    set_inventory = "resource provider inventory set"
    openstack.do(set_inventory, provider, "--resource", "VCPU=16", microversion=NEWEST)
    openstack.do(
        set_inventory, provider, "--amend", "--resource", "VCPU:allocation_ratio=4.0",
        "--resource", "DISK_GB=9", microversion=NEWEST,
    )  # fmt: skip
    listed = openstack.ask("resource provider inventory list", provider, microversion=NEWEST)
    assert {row["resource_class"]: (row["total"], row["allocation_ratio"]) for row in listed} == {
        "VCPU": (16, 4.0),
        "DISK_GB": (9, 1.0),
    }
    openstack.do("resource provider inventory delete", provider, microversion=NEWEST)
    assert openstack.ask("resource provider inventory list", provider, microversion=NEWEST) == []


@pytest.mark.parametrize("microversion", ["1.1", "1.18", "1.19", NEWEST])
def test_aggregates_are_set_listed_and_filled(openstack: CommandLine, microversion: str) -> None:
    provider, aggregate = (
        create_provider(openstack, new_uuid(), microversion=microversion),
        new_uuid(),
    )
    generation = ["--generation", "0"] if microversion in ("1.19", NEWEST) else []
    openstack.do(
        "resource provider aggregate set", provider, "--aggregate", aggregate, *generation,
        microversion=microversion,
    )  # fmt: skip
    listed = openstack.ask("resource provider aggregate list", provider, microversion=microversion)
    assert [row["uuid"] for row in listed] == [aggregate]
    openstack.do(
        "resource provider inventory set", aggregate, "--aggregate", "--resource", "DISK_GB=5",
        microversion="1.3" if microversion == "1.1" else microversion,
    )  # fmt: skip
    members = openstack.ask(
        "resource provider list --member-of", aggregate,
        microversion="1.3" if microversion == "1.1" else microversion,
    )  # fmt: skip
    assert [row["uuid"] for row in members] == [provider]


@pytest.mark.parametrize("microversion", ["1.6", NEWEST])
def test_traits_are_created_listed_given_and_deleted(
    openstack: CommandLine, microversion: str
) -> None:
    trait = f"CUSTOM_T{new_uuid().replace('-', '').upper()}"
    openstack.do("trait create", trait, microversion=microversion)
    assert openstack.ask("trait show", trait, microversion=microversion) == {"name": trait}
    provider = create_provider(openstack, new_uuid(), microversion=microversion)
    openstack.do(
        "resource provider trait set", provider, "--trait", trait, "--trait", "HW_CPU_X86_AVX",
        microversion=microversion,
    )  # fmt: skip
    given = openstack.ask("resource provider trait list", provider, microversion=microversion)
    assert {row["name"] for row in given} == {trait, "HW_CPU_X86_AVX"}
    associated = openstack.ask("trait list --associated", microversion=microversion)
    assert {trait, "HW_CPU_X86_AVX"} <= {row["name"] for row in associated}
    named = openstack.ask("trait list --name", f"startswith:{trait}", microversion=microversion)
    assert [row["name"] for row in named] == [trait]
    assert "in use" in openstack.refuse("trait delete", trait, microversion=microversion)
    openstack.do("resource provider trait delete", provider, microversion=microversion)
    openstack.do("trait delete", trait, microversion=microversion)
    assert "No such trait" in openstack.refuse("trait show", trait, microversion=microversion)


@pytest.mark.parametrize("microversion", ["1.2", "1.7", NEWEST])
def test_resource_classes_are_created_listed_shown_and_deleted(
    openstack: CommandLine, microversion: str
) -> None:
    name = f"CUSTOM_C{new_uuid().replace('-', '').upper()}"
    verb = "create" if microversion == "1.2" else "set"
    openstack.do(f"resource class {verb}", name, microversion=microversion)
    assert openstack.ask("resource class show", name, microversion=microversion) == {"name": name}
    listed = openstack.ask("resource class list", microversion=microversion)
    assert {name, "VCPU"} <= {row["name"] for row in listed}
    openstack.do("resource class delete", name, microversion=microversion)
    said = openstack.refuse("resource class show", name, microversion=microversion)
    assert "No such resource class" in said


@pytest.mark.parametrize("microversion", ["1.8", "1.12", "1.28", "1.38", NEWEST])
def test_allocations_are_set_shown_and_deleted(openstack: CommandLine, microversion: str) -> None:
    hosts = [create_provider(openstack, new_uuid(), microversion=NEWEST) for _ in range(2)]
    for host in hosts:
        openstack.do(
            "resource provider inventory set", host, "--resource", "VCPU=8", "--resource",
            "MEMORY_MB=1024", microversion=NEWEST,
        )  # fmt: skip
    consumer, project, user = new_uuid(), new_uuid(), new_uuid()
    owner = ["--project-id", project, "--user-id", user]
    typed = ["--consumer-type", "INSTANCE"] if microversion in ("1.38", NEWEST) else []
    openstack.do(
        "resource provider allocation set", consumer, *owner, *typed,
        "--allocation", f"rp={hosts[0]},VCPU=2", "--allocation", f"rp={hosts[0]},MEMORY_MB=512",
        "--allocation", f"rp={hosts[1]},VCPU=1", microversion=microversion,
    )  # fmt: skip
    shown = openstack.ask("resource provider allocation show", consumer, microversion=microversion)
    assert {row["resource_provider"]: row["resources"] for row in shown} == {
        hosts[0]: {"VCPU": 2, "MEMORY_MB": 512},
        hosts[1]: {"VCPU": 1},
    }
    if microversion != "1.8":
        assert {(row["project_id"], row["user_id"]) for row in shown} == {(project, user)}
        openstack.do(
            "resource provider allocation unset", consumer, "--provider", hosts[1],
            microversion=microversion,
        )  # fmt: skip
        openstack.do(
            "resource provider allocation unset", consumer, "--resource-class", "MEMORY_MB",
            microversion=microversion,
        )  # fmt: skip
        shown = openstack.ask(
            "resource provider allocation show", consumer, microversion=microversion
        )
        assert {row["resource_provider"]: row["resources"] for row in shown} == {
            hosts[0]: {"VCPU": 2}
        }
    usages = openstack.ask("resource provider usage show", hosts[0], microversion=microversion)
    assert {row["resource_class"]: row["usage"] for row in usages}["VCPU"] == 2
    said = openstack.refuse("resource provider delete", hosts[0], microversion=microversion)
    assert "has allocations" in said
    openstack.do("resource provider allocation delete", consumer, microversion=microversion)
    gone = openstack.ask("resource provider allocation show", consumer, microversion=microversion)
    assert gone == []


@pytest.mark.parametrize("microversion", ["1.9", "1.38", NEWEST])
def test_usages_of_a_project_are_shown(openstack: CommandLine, microversion: str) -> None:
    host = create_provider(openstack, new_uuid(), microversion=NEWEST)
    openstack.do(
        "resource provider inventory set", host, "--resource", "VCPU=8", microversion=NEWEST
    )
    project, user = new_uuid(), new_uuid()
    openstack.do(
        "resource provider allocation set", new_uuid(), "--project-id", project, "--user-id",
        user, "--allocation", f"rp={host},VCPU=3", microversion="1.28",
    )  # fmt: skip
    rows = openstack.ask("resource usage show", project, microversion=microversion)
    told = {row["resource_class"]: row["usage"] for row in rows if "resource_class" in row}
    assert told.get("VCPU") == 3 or "3" in str(rows)
    rows = openstack.ask(
        "resource usage show", project, "--user-id", user, microversion=microversion
    )
    assert "3" in str(rows)
    elsewhere = openstack.ask("resource usage show", new_uuid(), microversion=microversion)
    assert "VCPU" not in str(elsewhere)


@pytest.mark.parametrize("microversion", ["1.10", "1.12", "1.29", NEWEST])
def test_allocation_candidates_are_listed(openstack: CommandLine, microversion: str) -> None:
    trait = f"CUSTOM_T{new_uuid().replace('-', '').upper()}"
    resource_class = f"CUSTOM_C{new_uuid().replace('-', '').upper()}"
    openstack.do("trait create", trait, microversion=NEWEST)
    openstack.do("resource class set", resource_class, microversion=NEWEST)
    host = create_provider(openstack, new_uuid(), microversion=NEWEST)
    openstack.do(
        "resource provider inventory set", host, "--resource", f"{resource_class}=8",
        microversion=NEWEST,
    )  # fmt: skip
    openstack.do("resource provider trait set", host, "--trait", trait, microversion=NEWEST)
    wanted = ["--resource", f"{resource_class}=2"]
    if microversion in ("1.29", NEWEST):
        wanted += ["--required", trait, "--limit", "10"]
    rows = openstack.ask("allocation candidate list", *wanted, microversion=microversion)
    assert [row["resource provider"] for row in rows] == [host]
    assert f"{resource_class}=2" in str(rows[0]["allocation"])
    none = openstack.ask(
        "allocation candidate list", "--resource", f"{resource_class}=9", microversion=microversion
    )
    assert none == []


def test_candidates_of_groups_and_of_any_trait_are_listed(openstack: CommandLine) -> None:
    trait = f"CUSTOM_T{new_uuid().replace('-', '').upper()}"
    openstack.do("trait create", trait, microversion=NEWEST)
    root = create_provider(openstack, new_uuid(), microversion=NEWEST)
    for amount in (4, 8):
        child = create_provider(
            openstack, new_uuid(), "--parent-provider", root, microversion=NEWEST
        )
        openstack.do(
            "resource provider inventory set", child, "--resource", f"FPGA={amount}",
            microversion=NEWEST,
        )  # fmt: skip
        openstack.do("resource provider trait set", child, "--trait", trait, microversion=NEWEST)
    rows = openstack.ask(
        "allocation candidate list", "--group", "1", "--resource", "FPGA=3", "--required",
        f"{trait},HW_CPU_X86_AVX", "--group", "2", "--resource", "FPGA=5", "--group-policy",
        "isolate", microversion=NEWEST,
    )  # fmt: skip
    assert {row["allocation"] for row in rows} == {"FPGA=3", "FPGA=5"}


def test_no_command_of_the_command_line_is_left_out() -> None:
    source = Path(__file__).read_text()
    commands = [
        point.name.replace("_", " ") for point in entry_points(group="openstack.placement.v1")
    ]
    # "create" and "set" of a class are asked for by one test under both names.
    unasked = [
        command
        for command in commands
        if f'"{command}' not in source
        and command not in ("resource class create", "resource class set")
    ]
    assert commands
    assert unasked == []
