"""``--instances FILE``: the outside truth as JSON lines (docs/operations/audit.md)."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from moorage.domain.outside import Migration, Outside, Server


class InstancesInvalid(Exception):
    """The file cannot be read; the text names the line, and what is wrong with it."""


class Taken(msgspec.Struct, frozen=True, tag="truth", tag_field="is", forbid_unknown_fields=True):
    """The first line: when the rest was so, and which lists are complete."""

    taken_at: datetime
    servers_complete: bool = False
    migrations_complete: bool = False


class CellLine(msgspec.Struct, frozen=True, tag="cell", tag_field="is", forbid_unknown_fields=True):
    """A cell, and whether it answered."""

    name: str
    answers: bool


class HostLine(msgspec.Struct, frozen=True, tag="host", tag_field="is", forbid_unknown_fields=True):
    """A host whose servers are all listed, if its cell answered."""

    provider: str
    cell: str | None = None


class ServerLine(
    msgspec.Struct, frozen=True, tag="server", tag_field="is", forbid_unknown_fields=True
):
    """A server; ``host`` is the uuid or the name of its host's provider."""

    uuid: str
    state: str
    host: str | None = None
    task_state: str | None = None
    resources: dict[str, int] | None = None
    cell: str | None = None
    project_id: str | None = None
    user_id: str | None = None


class MigrationLine(
    msgspec.Struct, frozen=True, tag="migration", tag_field="is", forbid_unknown_fields=True
):
    """A migration, over or not; ``uuid`` is the consumer that holds its source."""

    uuid: str
    server: str
    state: str
    type: str = "migration"


Line = Taken | CellLine | HostLine | ServerLine | MigrationLine
_decode: Final = msgspec.json.Decoder(Line).decode


def read_instances(file: Path) -> Outside:
    """The truth that a file tells.

    Raises:
        InstancesInvalid: it is no such file.
    """
    with file.open("rb") as lines:
        return outside_of(_lines(lines))


def _lines(raw: Iterable[bytes]) -> Iterator[Line]:
    for number, text in enumerate(raw, start=1):
        if not text.strip():
            continue
        try:
            yield _decode(text)
        except msgspec.DecodeError as error:
            raise InstancesInvalid(f"line {number}: {error}") from None


def outside_of(lines: Iterable[Line]) -> Outside:
    """The truth that these lines tell.

    Raises:
        InstancesInvalid: they do not say when they were so, or not in which zone that is.
    """
    told: dict[type[Any], list[Any]] = {}
    for line in lines:
        told.setdefault(type(line), []).append(line)
    if len(told.get(Taken, ())) != 1:
        raise InstancesInvalid('there must be one line {"is": "truth", "taken_at": ...}')
    taken: Taken = told[Taken][0]
    if taken.taken_at.tzinfo is None:
        raise InstancesInvalid("taken_at must name its time zone, as in 2026-11-23T10:00:00Z")
    return Outside(
        taken_at=taken.taken_at.astimezone(UTC).replace(tzinfo=None),
        servers={one.uuid: _server(one) for one in told.get(ServerLine, ())},
        migrations={
            one.uuid: Migration(one.uuid, one.server, one.type, one.state)
            for one in told.get(MigrationLine, ())
        },
        hosts={one.provider: one.cell for one in told.get(HostLine, ())},
        silent_cells=frozenset(one.name for one in told.get(CellLine, ()) if not one.answers),
        servers_complete=taken.servers_complete,
        migrations_complete=taken.migrations_complete,
    )


def _server(line: ServerLine) -> Server:
    return Server(
        uuid=line.uuid,
        host=line.host,
        state=line.state,
        task=line.task_state,
        resources=line.resources,
        cell=line.cell,
        project_id=line.project_id,
        user_id=line.user_id,
    )
