"""``moorage audit``, ``moorage heal`` and ``moorage undo`` as an operator runs them."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from moorage.cli.audit import FOUND, REFUSED
from moorage.cli.instances_file import InstancesInvalid, read_instances
from moorage.cli.main import app
from moorage.domain.findings import Kind
from tests.audit.cloud import FLAVOR, Cloud
from tests.audit.faults import (
    credit_of_no_move,
    leftovers_of_an_evacuation,
    orphan,
    overdue_and_never_started,
    overdue_and_started,
    total_too_high,
)
from tests.frame.test_command_line import ENVIRONMENT
from tests.support.books import new_uuid, now


@pytest.fixture
def cloud(sqlite_cloud: Cloud) -> Cloud:
    return sqlite_cloud


@pytest.fixture
def run(sqlite_url: str, tmp_path: Path) -> Callable[..., Result]:
    environment = {
        "OS_PLACEMENT_DATABASE__CONNECTION": sqlite_url,
        "OS_PLACEMENT_CONFIG_DIR": str(tmp_path),
        "COLUMNS": "200",
    }
    (tmp_path / "placement.conf").write_text("")

    def call(*words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), env=environment, input=answer)

    return call


def instances(cloud: Cloud, file: Path, **first: Any) -> str:
    """The cloud's truth as a file."""
    lines: list[dict[str, Any]] = [
        {
            "is": "truth",
            "taken_at": now().isoformat() + "Z",
            "servers_complete": True,
            "migrations_complete": True,
            **first,
        },
        {"is": "cell", "name": "cell1", "answers": True},
        *({"is": "host", "provider": host, "cell": "cell1"} for host in cloud.hosts),
        *(
            {
                "is": "server",
                "uuid": one.uuid,
                "host": one.host,
                "state": one.state,
                "task_state": one.task,
                "resources": FLAVOR,
                "cell": "cell1",
            }
            for one in cloud.servers.values()
        ),
        *(
            {"is": "migration", "uuid": one.uuid, "server": one.server, "state": one.state}
            for one in cloud.migrations.values()
        ),
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return str(file)


def test_books_that_are_right_end_with_zero(cloud: Cloud, run: Callable[..., Result]) -> None:
    outcome = run("audit")
    assert outcome.exit_code == 0
    assert "5 providers, 1 consumers, 3 allocations" in outcome.output


def test_a_finding_ends_with_a_code_of_its_own(
    cloud: Cloud, run: Callable[..., Result], tmp_path: Path
) -> None:
    host = total_too_high(cloud).subject
    outcome = run("audit", "--details")
    assert outcome.exit_code == FOUND
    assert f"total-wrong/{host}" in outcome.output
    assert f"total {host.replace('/', ' ')} 519" in outcome.output
    assert run("audit", "--kind", "orphan").exit_code == 0
    assert run("audit", "--severity", "error").exit_code == FOUND


def test_what_is_unknown_fails_only_who_asks_for_that(
    cloud: Cloud, run: Callable[..., Result], tmp_path: Path
) -> None:
    orphan(cloud)
    file = instances(cloud, tmp_path / "truth", servers_complete=False)
    outcome = run("audit", "--instances", file)
    assert outcome.exit_code == 0
    assert "unseen/" in outcome.output
    assert run("audit", "--instances", file, "--fail-on", "unknown").exit_code == FOUND
    assert run("audit", "--instances", file, "--confidence", "likely").exit_code == 0


def test_a_program_reads_one_document(
    cloud: Cloud, run: Callable[..., Result], tmp_path: Path
) -> None:
    uuid = leftovers_of_an_evacuation(cloud).subject
    outcome = run("audit", "--json", "--instances", instances(cloud, tmp_path / "truth"))
    assert outcome.exit_code == FOUND
    document = json.loads(outcome.output)
    assert document["counts"] == {"consumer-on-two-trees": 1}
    (finding,) = document["findings"]
    assert finding["finding"] == f"consumer-on-two-trees/{uuid}"
    assert finding["confidence"] == "certain"
    assert finding["evidence"]["host"] == cloud.hosts[1]
    assert {one["after"] for one in finding["remedy"]["allocations"]} == {0}


def test_a_finding_is_shown_healed_and_undone(
    cloud: Cloud, run: Callable[..., Result], tmp_path: Path
) -> None:
    uuid = orphan(cloud).subject
    file = instances(cloud, tmp_path / "truth")
    before = cloud.dump()
    asked = run("heal", f"orphan/{uuid}", "--instances", file, answer="n\n")
    assert f"- allocation {uuid} {cloud.pools[0]} DISK_GB 20" in asked.output
    assert cloud.dump() == before
    healed = run("heal", f"orphan/{uuid}", "--instances", file, "--yes")
    assert healed.exit_code == 0
    assert "healed: orphan" in healed.output
    assert cloud.dump() != before
    assert run("audit", "--instances", file).exit_code == 0
    assert f"orphan/{uuid}" in run("undo").output
    undone = run("undo", "1")
    assert undone.exit_code == 0
    assert cloud.dump() == before
    again = run("undo", "1")
    assert again.exit_code == REFUSED
    assert "it was undone at" in again.output


def test_a_class_is_healed_as_far_as_it_is_certain(
    cloud: Cloud, run: Callable[..., Result], tmp_path: Path
) -> None:
    orphans = [orphan(cloud).subject for _ in range(2)]
    cloud.hold(new_uuid(), 0, at=now())
    file = instances(cloud, tmp_path / "truth")
    outcome = run("heal", "--kind", "orphan", "--kind", "unseen", "--yes", "--instances", file)
    assert outcome.exit_code == 0
    assert outcome.output.count("healed: ") == len(orphans)
    left = {one.kind for one in cloud.audit(cloud.outside()).findings}
    assert left == {Kind.UNSEEN}


def test_all_of_one_consumer_is_healed(cloud: Cloud, run: Callable[..., Result]) -> None:
    uuid = cloud.place(1)
    cloud.sql("DELETE FROM consumers WHERE uuid = :uuid", uuid=uuid)
    assert run("heal", "--consumer", uuid, "--yes").exit_code == 0
    assert cloud.audit().findings == ()
    assert "nothing that can be healed" in run("heal", "--consumer", uuid, "--yes").output


def test_a_heal_has_to_be_told_what(cloud: Cloud, run: Callable[..., Result]) -> None:
    assert run("heal").exit_code == 2
    assert run("heal", "orphan/x", "--kind", "orphan").exit_code == 2
    file = run("audit", "--instances", "/nowhere")
    assert file.exit_code == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there must be one line"),
        ('{"is": "truth", "taken_at": "2026-11-23T10:00:00"}', "time zone"),
        ('{"is": "server"}', "line 1: Object missing required field `uuid`"),
        ('{"is": "truth", "taken_at": "2026-11-23T10:00:00Z"}\n\nnonsense', "line 3: "),
        ('{"is": "server", "uuid": "x", "state": "ACTIVE", "hots": "h"}', "line 1: "),
    ],
)
def test_a_file_that_is_no_truth_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "truth"
    file.write_text(text)
    with pytest.raises(InstancesInvalid, match=re.escape(told)):
        read_instances(file)


def test_what_is_wrong_with_a_file_is_told_in_one_line(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "truth"
    file.write_text("nonsense")
    outcome = subprocess.run(
        [sys.executable, "-m", "moorage", "audit", "--instances", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT | {"OS_PLACEMENT_DATABASE__CONNECTION": sqlite_url},
    )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("moorage: line 1: ")
    assert outcome.stderr.count("\n") == 1


def test_a_named_finding_without_a_remedy_is_told_why(
    cloud: Cloud, run: Callable[..., Result]
) -> None:
    uuid = overdue_and_started(cloud).subject
    refused = run("heal", f"move-overdue/{uuid}", "--yes")
    assert refused.exit_code == REFUSED
    assert "somebody has started it" in refused.output
    gone = run("heal", f"move-overdue/{new_uuid()}", "--yes")
    assert (gone.exit_code, gone.output.strip()) == (0, "nothing that can be healed")


def test_a_move_and_a_credit_are_told_before_they_are_healed(
    cloud: Cloud, run: Callable[..., Result]
) -> None:
    move, credit = overdue_and_never_started(cloud).subject, credit_of_no_move(cloud).subject
    told = run("audit", "--details").output
    assert f"- move {move} claimed\n  + move {move} reverted" in told
    assert f"- credit {credit} {cloud.pools[0]} DISK_GB 5" in told
    assert run("heal", "--kind", "move-overdue", "--kind", "credit-wrong", "--yes").exit_code == 0
    assert cloud.audit().findings == ()


def test_books_that_nobody_has_served_are_not_called_right(tmp_path: Path) -> None:
    (tmp_path / "placement.conf").write_text(f"[moorage]\nstate_dir = {tmp_path}/state\n")
    outcome = subprocess.run(
        [sys.executable, "-m", "moorage", "audit"],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT | {"OS_PLACEMENT_CONFIG_DIR": str(tmp_path)},
    )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("moorage: nothing has been served from ")
    assert not (tmp_path / "state").exists()
