"""One configuration, two programs: the same placement.conf runs Moorage or upstream's service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import yaml

Option = str | int | bool


class Subject(Enum):
    """Whom a suite talks to: Moorage, or the peer that proves the suite itself."""

    MOORAGE = "moorage"
    PEER = "peer"


def choose_subject() -> Subject:
    """MOORAGE_TEST_PEER=1 sends a suite to upstream's service instead of Moorage."""
    return Subject.PEER if os.environ.get("MOORAGE_TEST_PEER") == "1" else Subject.MOORAGE


@dataclass(frozen=True)
class Deployment:
    """A configuration directory and a database, as an operator would write them.

    ``options``: group -> option -> value, over what every test deployment has. ``policy``: rule
    name -> check, the whole policy file.
    """

    directory: Path
    database_url: str
    options: Mapping[str, Mapping[str, Option]] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)

    def write(self, subject: Subject) -> Path:
        """Write placement.conf and policy.yaml; return the path of placement.conf."""
        self.directory.mkdir(parents=True, exist_ok=True)
        policy_path = self.directory / "policy.yaml"
        policy_path.write_text(yaml.safe_dump(dict(self.policy)))
        groups: dict[str, dict[str, Option]] = {
            "placement_database": {
                # oslo.config substitutes $name; a URL has none.
                "connection": self._choose_url(subject),
                "sync_on_startup": True,
            },
            "api": {"auth_strategy": "noauth2"},
            "oslo_policy": {"policy_file": str(policy_path), "enforce_new_defaults": False},
        }
        for group, options in self.options.items():
            groups.setdefault(group, {}).update(options)
        lines: list[str] = []
        for group, options in groups.items():
            lines.append(f"[{group}]")
            lines += [f"{name} = {value}" for name, value in options.items()]
        path = self.directory / "placement.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _choose_url(self, subject: Subject) -> str:
        # Upstream reads the cursor's lastrowid, which psycopg 3 does not have.
        if subject is Subject.PEER:
            return self.database_url.replace("+psycopg:", "+psycopg2:")
        return self.database_url
