"""The outside truth: what the compute service says about servers, hosts and migrations.

Books can only be compared with themselves; whether a server exists only its own service knows.
What that service did not say is not taken as said: each list tells whether it is complete.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

ENDED: Final = frozenset(
    ("confirmed", "reverted", "error", "failed", "completed", "cancelled", "done")
)
"""States of a migration that is over. Source: the migration states that Nova filters as ended."""

DONE: Final = "done"
"""The state of one that nobody lists any more, though it once was."""

SETTLED: Final = frozenset(
    ("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED", "RESCUE",
     "SOFT_DELETED", "ERROR")
)  # fmt: skip
"""States of a server that is on its way nowhere, if it has no task either."""

STATE_UNSEEN: Final = "UNKNOWN"
"""What a server's state reads where its cell does not answer."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server; ``host`` is its host's provider (uuid or name), None: it is on no host.

    ``resources`` are units by class as its flavor asks for them; None: not told.
    """

    uuid: str
    host: str | None
    state: str
    task: str | None = None
    resources: Mapping[str, int] | None = None
    cell: str | None = None
    project_id: str | None = None
    user_id: str | None = None

    @property
    def settled(self) -> bool:
        return self.state in SETTLED and not self.task


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration: the uuid is that of the consumer which holds the source meanwhile."""

    uuid: str
    server: str
    kind: str
    state: str

    @property
    def over(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Everything that is known from outside, as of one moment (naive UTC).

    Args:
        hosts: the cell of each host that is listed, by its provider's uuid or name; None: the
            source tells no cells.
        silent_cells: cells that did not answer.
        gone: consumers that were asked for by uuid and are no servers; None: nobody need be asked,
            the list of servers is proof enough.
        amounts_exact: what servers ask for is told, not worked out from their flavors.
    """

    taken_at: datetime
    servers: Mapping[str, Server]
    migrations: Mapping[str, Migration]
    hosts: Mapping[str, str | None]
    silent_cells: frozenset[str] = frozenset()
    servers_complete: bool = True
    migrations_complete: bool = True
    gone: frozenset[str] | None = None
    amounts_exact: bool = True
    moving: frozenset[str] = field(init=False)
    """Servers that a migration moves at this moment."""

    def __post_init__(self) -> None:
        moving = frozenset(item.server for item in self.migrations.values() if not item.over)
        object.__setattr__(self, "moving", moving)

    def sees_host(self, names: tuple[str, ...]) -> bool:
        """Whether a host is listed, under one of its names."""
        return any(name in self.hosts for name in names)

    def is_silent(self, names: tuple[str, ...]) -> bool:
        """Whether a listed host is in a cell that did not answer."""
        return any(self.hosts.get(name) in self.silent_cells for name in names)

    def in_flight(self, server: Server) -> bool:
        """Whether a server may be on its way from one host to another."""
        return not server.settled or server.uuid in self.moving

    def unseen(self, server: Server) -> bool:
        """Whether nothing is known of a server but that it exists."""
        return server.state == STATE_UNSEEN or (server.cell in self.silent_cells)
