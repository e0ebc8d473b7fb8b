"""Who may do what: Placement's rules and our own, with defaults that policy.yaml overrides.

Source: the policy reference of openstack-placement 16 and oslo.policy's of how files, new and
deprecated defaults go together.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg
from oslo_policy import opts as oslo_policy_opts
from oslo_policy import policy as oslo_policy

from moorage.api.identity import Caller
from moorage.domain.refusals import Refusal
from moorage.telemetry.log import write_error, write_event

DECISION_AGE_S_MAX: Final = 1.0
"""How long a decision is remembered, and so how soon a changed policy.yaml is obeyed."""

DECISIONS_MAX: Final = 10_000
"""Decisions remembered at a time."""

_ADMIN_OR_SERVICE: Final = "rule:admin_or_service_api"
_PROJECT: Final = ("project",)

# Name, check, and whether sites that do not enforce new defaults also let any admin pass.
_BASES: Final = (
    ("admin_api", "role:admin", False, _PROJECT),
    ("service_api", "role:service", True, _PROJECT),
    ("admin_or_service_api", "role:admin or role:service", True, _PROJECT),
    ("project_reader_api", "role:reader and project_id:%(project_id)s", True, None),
    (
        "admin_or_project_reader_or_service_api",
        "role:admin or rule:project_reader_api or role:service",
        True,
        _PROJECT,
    ),
)

PLACEMENT_RULES: Final = {
    "placement:resource_providers:list": _ADMIN_OR_SERVICE,
    "placement:resource_providers:create": _ADMIN_OR_SERVICE,
    "placement:resource_providers:show": _ADMIN_OR_SERVICE,
    "placement:resource_providers:update": _ADMIN_OR_SERVICE,
    "placement:resource_providers:delete": _ADMIN_OR_SERVICE,
    "placement:resource_providers:inventories:list": _ADMIN_OR_SERVICE,
    "placement:resource_providers:inventories:create": _ADMIN_OR_SERVICE,
    "placement:resource_providers:inventories:show": _ADMIN_OR_SERVICE,
    "placement:resource_providers:inventories:update": _ADMIN_OR_SERVICE,
    "placement:resource_providers:inventories:delete": _ADMIN_OR_SERVICE,
    "placement:resource_providers:aggregates:list": _ADMIN_OR_SERVICE,
    "placement:resource_providers:aggregates:update": _ADMIN_OR_SERVICE,
    "placement:resource_providers:traits:list": _ADMIN_OR_SERVICE,
    "placement:resource_providers:traits:update": _ADMIN_OR_SERVICE,
    "placement:resource_providers:traits:delete": _ADMIN_OR_SERVICE,
    "placement:resource_providers:usages": _ADMIN_OR_SERVICE,
    "placement:resource_providers:allocations:list": _ADMIN_OR_SERVICE,
    "placement:resource_classes:list": _ADMIN_OR_SERVICE,
    "placement:resource_classes:create": _ADMIN_OR_SERVICE,
    "placement:resource_classes:show": _ADMIN_OR_SERVICE,
    "placement:resource_classes:update": _ADMIN_OR_SERVICE,
    "placement:resource_classes:delete": _ADMIN_OR_SERVICE,
    "placement:traits:list": _ADMIN_OR_SERVICE,
    "placement:traits:show": _ADMIN_OR_SERVICE,
    "placement:traits:update": _ADMIN_OR_SERVICE,
    "placement:traits:delete": _ADMIN_OR_SERVICE,
    "placement:allocations:manage": _ADMIN_OR_SERVICE,
    "placement:allocations:list": _ADMIN_OR_SERVICE,
    "placement:allocations:update": _ADMIN_OR_SERVICE,
    "placement:allocations:delete": _ADMIN_OR_SERVICE,
    "placement:allocation_candidates:list": _ADMIN_OR_SERVICE,
    "placement:usages": "rule:admin_or_project_reader_or_service_api",
    "placement:reshaper:reshape": "rule:service_api",
}
"""Every operation of Placement's API and its default."""

OWN_RULES: Final = {
    "moorage:claims:create": _ADMIN_OR_SERVICE,
    "moorage:claims:explain": _ADMIN_OR_SERVICE,
    "moorage:claims:show": _ADMIN_OR_SERVICE,
    "moorage:leases:update": _ADMIN_OR_SERVICE,
    "moorage:leases:delete": _ADMIN_OR_SERVICE,
    "moorage:moves:create": _ADMIN_OR_SERVICE,
    "moorage:moves:list": _ADMIN_OR_SERVICE,
    "moorage:moves:show": _ADMIN_OR_SERVICE,
    "moorage:moves:update": _ADMIN_OR_SERVICE,
    "moorage:audit:show": _ADMIN_OR_SERVICE,
}
"""Every operation of Moorage's own API and its default."""

RULES: Final = PLACEMENT_RULES | OWN_RULES


@dataclass(slots=True, eq=False)
class PolicyDenied(Refusal):
    """The site's policy does not let this caller do this."""

    action: str


class PolicyInvalid(Exception):
    """The policy cannot be read; the text names its files, and tells nothing of what is in them."""


_Decisions = dict[tuple[Caller, str, str | None], bool]


class Policy:
    """The site's policy, as of at most a second ago.

    A policy file that cannot be read keeps the service from starting; one that breaks later is
    logged, and the last good one stays in force.
    """

    def __init__(
        self,
        options: cfg.ConfigOpts,
        *,
        enforce_scope: bool = True,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the policy.

        Args:
            options: where [oslo_policy] says which files to read.
            enforce_scope: False lets system- and domain-scoped tokens pass by their roles alone.
            clock_s: a monotonic clock in seconds.
        Raises:
            PolicyInvalid: a file of the policy cannot be read.
        """
        register_policy_options(options)
        self._options = options
        self._enforce_scope = enforce_scope
        self._clock_s = clock_s
        self._renewal = threading.Lock()
        self._versions = _file_versions(options)
        try:
            self._enforcer = self._read()
        except Exception as error:
            # oslo.policy has no error of its own for this: it may be any that YAML runs into.
            files = ", ".join(map(str, _policy_files(options)))
            raise PolicyInvalid(
                f"[oslo_policy]policy_file, policy_dirs: cannot read {files}{_line_told(error)}"
            ) from error
        self._decisions: _Decisions = {}
        self._decisions_end_s = clock_s() + DECISION_AGE_S_MAX

    def check(self, caller: Caller, rule: str, project_id: str | None = None) -> None:
        """Let the caller do what the rule is about, or refuse.

        Args:
            project_id: whose books are asked for; the caller's own if None.
        Raises:
            PolicyDenied: the policy does not allow it.
        """
        if not self.allows(caller, rule, project_id):
            raise PolicyDenied(action=rule)

    def allows(self, caller: Caller, rule: str, project_id: str | None = None) -> bool:
        """Whether the caller may do what the rule is about.

        Raises:
            KeyError: there is no such rule.
        """
        if self._clock_s() >= self._decisions_end_s:
            self._renew()
        decisions = self._decisions
        key = (caller, rule, project_id)
        decision = decisions.get(key)
        if decision is None:
            decision = self._decide(caller, rule, project_id)
            if len(decisions) < DECISIONS_MAX:
                decisions[key] = decision
        return decision

    def checks(self) -> dict[str, str]:
        """Every rule with the check that is in force, in oslo.policy's language."""
        return {name: str(self._enforcer.rules[name]) for name in RULES}

    def _decide(self, caller: Caller, rule: str, project_id: str | None) -> bool:
        if rule not in RULES:
            raise KeyError(rule)
        target = {
            "project_id": caller.project_id if project_id is None else project_id,
            "user_id": caller.user_id,
        }
        return bool(self._enforcer.authorize(rule, target, _credentials(caller)))

    def _renew(self) -> None:
        """Forget all decisions, and read the policy anew if its files have changed."""
        if not self._renewal.acquire(blocking=False):
            return  # another thread is at it; meanwhile the old decisions hold
        try:
            versions = _file_versions(self._options)
            if versions != self._versions:
                self._versions = versions
                self._reread()
            self._decisions = {}
            self._decisions_end_s = self._clock_s() + DECISION_AGE_S_MAX
        finally:
            self._renewal.release()

    def _reread(self) -> None:
        try:
            self._enforcer = self._read()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one holds
            write_error("the policy file cannot be read; the one before stays in force", error)
        else:
            write_event("the policy has been read anew")

    def _read(self) -> oslo_policy.Enforcer:
        enforcer = oslo_policy.Enforcer(self._options)
        enforcer.suppress_default_change_warnings = True
        enforcer.suppress_deprecation_warnings = True
        enforcer.register_defaults(_defaults(enforce_scope=self._enforce_scope))
        enforcer.load_rules(force_reload=True)
        # From here on it only decides. A changed file makes a new enforcer, so that no thread
        # ever sees one with its rules half replaced.
        enforcer.use_conf = False
        return enforcer


def register_policy_options(options: cfg.ConfigOpts) -> None:
    """Make [oslo_policy] known, with Placement's default file name."""
    oslo_policy_opts.set_defaults(options, policy_file="policy.yaml")


def _defaults(*, enforce_scope: bool) -> list[oslo_policy.RuleDefault]:
    legacy = oslo_policy.DeprecatedRule(
        name="rule:admin_api",
        check_str="role:admin",
        deprecated_reason="Placement's policies now know the roles reader and service.",
        deprecated_since="wallaby",
    )

    def default(
        name: str,
        check: str,
        *,
        deprecated: oslo_policy.DeprecatedRule | None = None,
        scopes: Sequence[str] | None = _PROJECT,
    ) -> oslo_policy.RuleDefault:
        return oslo_policy.RuleDefault(
            name,
            check,
            deprecated_rule=deprecated,
            scope_types=list(scopes) if scopes and enforce_scope else None,
        )

    bases = [
        default(name, check, deprecated=legacy if any_admin_too else None, scopes=scopes)
        for name, check, any_admin_too, scopes in _BASES
    ]
    return bases + [default(name, check) for name, check in RULES.items()]


def _credentials(caller: Caller) -> dict[str, Any]:
    """The caller as the policy language sees it."""
    return {
        "user_id": caller.user_id,
        "user_domain_id": caller.user_domain_id,
        "system_scope": caller.system_scope,
        "domain_id": caller.domain_id,
        "project_id": caller.project_id,
        "project_domain_id": caller.project_domain_id,
        "roles": list(caller.roles),
        "is_admin_project": caller.is_admin_project,
        "service_user_id": caller.service_user_id,
        "service_user_domain_id": caller.service_user_domain_id,
        "service_project_id": caller.service_project_id,
        "service_project_domain_id": caller.service_project_domain_id,
        "service_roles": list(caller.service_roles),
    }


def _file_versions(options: cfg.ConfigOpts) -> tuple[tuple[str, int, int], ...]:
    """Every policy file with the time and size it has now."""
    return tuple(
        (str(file), facts.st_mtime_ns, facts.st_size)
        for file in _policy_files(options)
        if (facts := _facts(file)) is not None
    )


def _policy_files(options: cfg.ConfigOpts) -> Iterator[Path]:
    group = options.oslo_policy
    # A policy.json is what oslo.policy falls back to where there is no policy.yaml.
    for name in (group.policy_file, "policy.json"):
        if name and (found := options.find_file(name)):
            yield Path(found)
    for name in group.policy_dirs:
        if found := options.find_file(name):
            yield from sorted(Path(found).glob("*"))


def _line_told(error: BaseException) -> str:
    """Where YAML stopped to understand a file, if that is what is wrong."""
    mark = getattr(error.__cause__ or error.__context__, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1}"


def _facts(file: Path) -> Any:
    try:
        return file.stat()
    except OSError:
        return None
