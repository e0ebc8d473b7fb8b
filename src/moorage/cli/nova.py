"""``--nova``: the outside truth as Nova's API tells it, through openstacksdk.

Servers, migrations and hypervisors are listed page by page. A cell that does not answer is missing
from the pages of servers and migrations without a word, and leaves no list of hypervisors at all:
then the hosts are those that the listed servers are on, and others are unseen. As lists may also
leave out what exists (soft-deleted servers, say), whoever would be an orphan is asked for by its
uuid, and only a 404 counts.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from moorage.domain.outside import Migration, Outside, Server

Entry: TypeAlias = Mapping[str, Any]

SERVERS_MICROVERSION: Final = "2.71"
"""From 2.47 a server shows its flavor's amounts; from 2.69 one of a silent cell is shown, bare, to
who asks for it by its uuid (a list that goes page by page leaves it out)."""

MIGRATIONS_MICROVERSION: Final = "2.59"
"""The first that shows a migration's uuid, and goes page by page."""

HYPERVISORS_MICROVERSION: Final = "2.53"
"""The first that shows a hypervisor by the uuid that its provider has."""

PAGE: Final = 1_000
ASKED_MAX: Final = 5_000
"""Suspects that are asked for by uuid; the others stay unknown."""

_MIB_A_GIB: Final = 1_024
_HYPERVISOR: Final = "OS-EXT-SRV-ATTR:hypervisor_hostname"
_VOLUME_BACKED: Final = ("", None)
_OVERRIDE: Final = "resources:"


class NovaUnavailable(Exception):
    """Nova cannot be asked; the text says what was asked, and tells no secret."""


class NovaFailed(NovaUnavailable):
    """Nova has answered that something is wrong with itself."""


class NovaTruth:
    """One cloud's Nova."""

    def __init__(self, connection: Any) -> None:
        self._compute = connection.compute

    @classmethod
    def connect(cls, cloud: str | None) -> "NovaTruth":
        """The cloud of this name in clouds.yaml, or that of the environment's OS_ variables.

        Raises:
            NovaUnavailable: openstacksdk is not installed, or knows no such cloud.
        """
        try:
            import openstack  # noqa: PLC0415 - only sites that ask Nova need it
        except ImportError:
            raise NovaUnavailable(
                "--nova needs openstacksdk: pip install 'moorage[nova]'"
            ) from None
        from openstack import exceptions  # noqa: PLC0415

        try:
            return cls(openstack.connect(cloud=cloud or os.environ.get("OS_CLOUD")))
        except exceptions.SDKException as error:
            raise NovaUnavailable(f"no cloud to ask: {type(error).__name__}") from None

    def read(self) -> Outside:
        """All that Nova tells by itself.

        Raises:
            NovaUnavailable: a list could not be read to its end.
        """
        # What comes up while the lists are read is younger than this, and so left alone.
        taken_at = datetime.now(UTC).replace(tzinfo=None)
        before = self._listed_hosts() or _hosts_of(self._servers())
        # Migrations before servers: one that ends in between shows a server that is settled and
        # a migration that is still under way, and not the other way round.
        migrations = list(
            self._pages("/os-migrations", "migrations", "uuid", MIGRATIONS_MICROVERSION)
        )
        servers = self._servers()
        after = self._listed_hosts() or _hosts_of(servers)
        # A cell that was away in between has left its servers or migrations out of their lists.
        names = {name: before[name] for name in before if name in after}
        return Outside(
            taken_at=taken_at,
            servers={one["id"]: _server(one, names) for one in servers},
            migrations={one["uuid"]: _migration(one) for one in migrations},
            hosts=dict.fromkeys([*names, *names.values()]),
            gone=frozenset(),
            amounts_exact=False,
        )

    def ask(self, uuids: Sequence[str]) -> Set[str]:
        """Those of these consumers that are certainly no servers."""
        return {uuid for uuid in uuids[:ASKED_MAX] if self._is_gone(uuid)}

    def _servers(self) -> Sequence[Entry]:
        return list(
            self._pages("/servers/detail?all_tenants=1", "servers", "id", SERVERS_MICROVERSION)
        )

    def _listed_hosts(self) -> Mapping[str, str] | None:
        """The uuids of all hypervisors by name; None: there is no list, as a cell is silent."""
        try:
            listed = list(
                self._pages("/os-hypervisors", "hypervisors", "id", HYPERVISORS_MICROVERSION)
            )
        except NovaFailed:
            return None
        return {one["hypervisor_hostname"]: one["id"] for one in listed}

    def _is_gone(self, uuid: str) -> bool:
        from keystoneauth1 import exceptions  # noqa: PLC0415

        try:
            answer = self._compute.get(f"/servers/{uuid}", microversion=SERVERS_MICROVERSION)
        except exceptions.ClientException:
            return False
        return int(answer.status_code) == NOT_FOUND

    def _pages(self, path: str, what: str, key: str, microversion: str) -> Iterator[Entry]:
        """The entries of a list, however many pages it has.

        Nova leaves out of a page what it does not show (a hypervisor without its service, a hidden
        migration), and links no next one to a page that is short: only an empty page is the last.
        """
        joint = "&" if "?" in path else "?"
        target = f"{path}{joint}limit={PAGE}"
        seen: set[str] = set()
        page = self._page(target, what, microversion)
        while page:
            yield from page
            marker = page[-1][key]
            if marker in seen:
                raise NovaUnavailable(f"Nova's list of {what} goes round in circles")
            seen.add(marker)
            page = self._page(f"{target}&marker={marker}", what, microversion)

    def _page(self, target: str, what: str, microversion: str) -> Sequence[Entry]:
        from keystoneauth1 import exceptions  # noqa: PLC0415

        try:
            answer = self._compute.get(target, microversion=microversion)
        except exceptions.ClientException as error:
            raise NovaUnavailable(
                f"Nova's list of {what} cannot be read: {type(error).__name__}"
            ) from None
        if answer.status_code != OK:
            failure = NovaFailed if answer.status_code >= SERVER_ERROR else NovaUnavailable
            raise failure(f"Nova's list of {what} cannot be read: it answered {answer.status_code}")
        page: Sequence[Entry] = answer.json()[what]
        return page


OK: Final = 200
NOT_FOUND: Final = 404
SERVER_ERROR: Final = 500


def _hosts_of(servers: Iterable[Entry]) -> Mapping[str, str]:
    """The hosts that these servers are on, by name; their uuids are not told."""
    names = (one.get(_HYPERVISOR) for one in servers)
    return {name: name for name in names if name}


def _migration(entry: Entry) -> Migration:
    return Migration(
        entry["uuid"], entry["instance_uuid"], entry["migration_type"] or "", entry["status"]
    )


def _server(entry: Entry, hosts: Mapping[str, str]) -> Server:
    """A server; one of a silent cell has its uuid and little else."""
    name = entry.get(_HYPERVISOR)
    return Server(
        uuid=entry["id"],
        host=name and hosts.get(name, name),
        state=entry["status"],
        task=entry.get("OS-EXT-STS:task_state"),
        resources=flavor_resources(entry),
        project_id=entry.get("tenant_id"),
        user_id=entry.get("user_id"),
    )


def flavor_resources(entry: Entry) -> Mapping[str, int] | None:
    """Units by class that a server's flavor asks for; None where it is not shown.

    Source: Nova's flavor reference. What ports and devices add is not the flavor's, and classes
    that it does not name are not compared.
    """
    flavor = entry.get("flavor")
    if not isinstance(flavor, Mapping) or "vcpus" not in flavor:
        return None
    extra: Mapping[str, str] = flavor.get("extra_specs") or {}
    root = 0 if entry.get("image") in _VOLUME_BACKED else int(flavor["disk"])
    swap = -(-int(flavor.get("swap") or 0) // _MIB_A_GIB)
    cpus = "PCPU" if extra.get("hw:cpu_policy") == "dedicated" else "VCPU"
    resources = {
        cpus: int(flavor["vcpus"]),
        "MEMORY_MB": int(flavor["ram"]),
        "DISK_GB": root + int(flavor.get("ephemeral") or 0) + swap,
    }
    for name, amount in extra.items():
        if name.startswith(_OVERRIDE) and amount.isdecimal():
            resources[name.removeprefix(_OVERRIDE)] = int(amount)
    return resources
