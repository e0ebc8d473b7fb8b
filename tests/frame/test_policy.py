"""Who may do what, under the legacy defaults, the new ones, and a site's own policy.yaml."""

from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from moorage.api.identity import Caller
from moorage.api.policy import (
    DECISION_AGE_S_MAX,
    OWN_RULES,
    PLACEMENT_RULES,
    Policy,
    PolicyDenied,
    PolicyInvalid,
    register_policy_options,
)
from moorage.settings import load_settings

CREATE = "placement:resource_providers:create"
RESHAPE = "placement:reshaper:reshape"
USAGES = "placement:usages"

ADMIN = Caller(user_id="root", project_id="red", roles=("admin", "member", "reader"))
SERVICE = Caller(user_id="nova", project_id="service", roles=("service",))
READER = Caller(user_id="sam", project_id="blue", roles=("reader",))
MEMBER = Caller(user_id="sam", project_id="blue", roles=("member", "reader"))
NOBODY = Caller(user_id="eve", project_id="blue")
SYSTEM = Caller(user_id="root", roles=("admin",), system_scope="all")
DOMAIN = Caller(user_id="root", roles=("admin",), domain_id="default")


class Clock:
    """Seconds that pass when told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def policy(*, new_defaults: bool = True, file: Path | None = None, **given: Any) -> Policy:
    options = cfg.ConfigOpts()
    register_policy_options(options)
    options([], default_config_files=[])
    options.set_override("enforce_new_defaults", new_defaults, group="oslo_policy")
    options.set_override("policy_file", str(file or "/nonexistent.yaml"), group="oslo_policy")
    options.set_override("policy_dirs", [], group="oslo_policy")
    return Policy(options, **given)


@pytest.fixture(scope="module")
def legacy() -> Policy:
    return policy(new_defaults=False)


@pytest.fixture(scope="module")
def secure() -> Policy:
    return policy(new_defaults=True)


@pytest.mark.parametrize(
    ("caller", "rule", "project_id", "legacy_allows", "secure_allows"),
    [
        (ADMIN, CREATE, None, True, True),
        (SERVICE, CREATE, None, True, True),
        (READER, CREATE, None, False, False),
        (MEMBER, CREATE, None, False, False),
        (NOBODY, CREATE, None, False, False),
        (SYSTEM, CREATE, None, False, False),
        (DOMAIN, CREATE, None, False, False),
        (ADMIN, RESHAPE, None, True, False),
        (SERVICE, RESHAPE, None, True, True),
        (READER, RESHAPE, None, False, False),
        (ADMIN, USAGES, "blue", True, True),
        (SERVICE, USAGES, "blue", True, True),
        (READER, USAGES, "blue", True, True),
        (READER, USAGES, "red", False, False),
        (READER, USAGES, None, True, True),
        (NOBODY, USAGES, "blue", False, False),
        (SYSTEM, USAGES, "blue", False, False),
    ],
)
def test_defaults(
    legacy: Policy,
    secure: Policy,
    caller: Caller,
    rule: str,
    project_id: str | None,
    *,
    legacy_allows: bool,
    secure_allows: bool,
) -> None:
    assert legacy.allows(caller, rule, project_id) is legacy_allows
    assert secure.allows(caller, rule, project_id) is secure_allows


@pytest.mark.parametrize("new_defaults", [True, False])
def test_every_rule_decides_as_upstreams(*, new_defaults: bool) -> None:
    from oslo_policy import policy as oslo_policy
    from placement import policies

    ours = policy(new_defaults=new_defaults)
    options = cfg.ConfigOpts()
    register_policy_options(options)
    options([], default_config_files=[])
    options.set_override("enforce_new_defaults", new_defaults, group="oslo_policy")
    options.set_override("policy_file", "/nonexistent.yaml", group="oslo_policy")
    upstream = oslo_policy.Enforcer(options)
    upstream.suppress_deprecation_warnings = True
    upstream.register_defaults(policies.list_rules())
    upstream.load_rules()
    operations = {rule.name for rule in policies.list_rules() if rule.name.startswith("placement:")}
    assert set(PLACEMENT_RULES) == operations
    checks = {name: ours.checks()[name] for name in PLACEMENT_RULES}
    assert checks == {name: str(upstream.rules[name]) for name in operations}
    for caller in (ADMIN, SERVICE, READER, MEMBER, NOBODY, SYSTEM, DOMAIN):
        for name in operations:
            target = {"project_id": "blue", "user_id": caller.user_id}
            credentials = {
                "user_id": caller.user_id,
                "project_id": caller.project_id,
                "roles": list(caller.roles),
                "system_scope": caller.system_scope,
                "domain_id": caller.domain_id,
            }
            assert ours.allows(caller, name, "blue") == upstream.authorize(
                name, target, credentials
            ), (caller, name)


def test_our_own_api_is_for_admins_and_services(legacy: Policy, secure: Policy) -> None:
    for rule in OWN_RULES:
        for site in (legacy, secure):
            allowed = [site.allows(one, rule) for one in (ADMIN, SERVICE, READER, NOBODY, SYSTEM)]
            assert allowed == [True, True, False, False, False], rule


def test_a_denial_carries_the_operation(secure: Policy) -> None:
    with pytest.raises(PolicyDenied) as denied:
        secure.check(NOBODY, CREATE)
    assert denied.value.facts() == (CREATE,)


def test_an_unknown_rule_is_a_fault_of_ours(secure: Policy) -> None:
    with pytest.raises(KeyError):
        secure.allows(ADMIN, "placement:unheard_of")


def test_without_scope_any_admin_token_will_do() -> None:
    lenient = policy(enforce_scope=False)
    assert lenient.allows(SYSTEM, CREATE)
    assert lenient.allows(DOMAIN, CREATE)


def test_a_sites_enforce_scope_is_understood() -> None:
    overrides = {("oslo_policy", "enforce_scope"): False}
    assert not load_settings(config_files=(), overrides=overrides).settings.api.enforce_scope
    assert load_settings(config_files=()).settings.api.enforce_scope


def test_a_sites_file_overrides_a_default(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f'"{CREATE}": "role:reader"\n')
    site = policy(file=file)
    assert site.allows(READER, CREATE)
    assert not site.allows(ADMIN.__class__(user_id="x", roles=("admin",)), CREATE)


def test_a_file_may_change_what_rules_refer_to(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"admin_or_service_api": "role:operator"\n')
    site = policy(file=file)
    assert site.allows(Caller(user_id="op", project_id="red", roles=("operator",)), CREATE)
    assert not site.allows(ADMIN, CREATE)


def test_a_changed_file_is_obeyed_within_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "policy.yaml", Clock()
    file.write_text(f'"{CREATE}": "role:reader"\n')
    site = policy(file=file, clock_s=clock)
    assert site.allows(READER, CREATE)
    file.write_text(f'"{CREATE}": "role:admin"\n# changed\n')
    assert site.allows(READER, CREATE)
    clock.now_s += DECISION_AGE_S_MAX
    assert not site.allows(READER, CREATE)
    assert site.allows(ADMIN, CREATE)


def test_a_file_that_appears_is_obeyed(tmp_path: Path) -> None:
    file, clock = tmp_path / "policy.yaml", Clock()
    site = policy(file=file, clock_s=clock)
    assert not site.allows(READER, CREATE)
    file.write_text(f'"{CREATE}": "role:reader"\n')
    clock.now_s += DECISION_AGE_S_MAX
    assert site.allows(READER, CREATE)


def test_a_file_that_breaks_leaves_the_last_good_one_in_force(tmp_path: Path) -> None:
    file, clock = tmp_path / "policy.yaml", Clock()
    file.write_text(f'"{CREATE}": "role:reader"\n')
    site = policy(file=file, clock_s=clock)
    file.write_text('"placement: {{{ not yaml\n')
    clock.now_s += DECISION_AGE_S_MAX
    assert site.allows(READER, CREATE)
    assert not site.allows(NOBODY, CREATE)


def test_a_file_that_is_broken_at_the_start_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"placement:usages": "@"\n"placement: {{{ not yaml\n')
    with pytest.raises(PolicyInvalid, match=f"{file}, line [23]$"):
        policy(file=file)
    file.write_text("- a list\n- of rules\n")
    with pytest.raises(PolicyInvalid, match=f"{file}$"):
        policy(file=file)
