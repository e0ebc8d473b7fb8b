"""Folds the history once into one frozen contract per microversion, and finds the one asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache, reduce
from types import MappingProxyType
from typing import Final

from moorage.api.microversions.history import HISTORY, Change

SERVICE: Final = "placement"
VERSION_HEADER: Final = "openstack-api-version"


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """What the API is at one microversion. Compared by identity: there is one per version.

    ``group_suffix``: what request groups may be called, None where there is one group only.
    The rest are the named rules, False until a change of the history turns them on.
    """

    version: str = ""
    routes: frozenset[str] = frozenset()
    provider_links: tuple[str, ...] = ()
    provider_filters: tuple[str, ...] = ()
    candidate_filters: tuple[str, ...] = ()
    usage_filters: tuple[str, ...] = ()
    group_suffix: str | None = None

    claims_name_owner: bool = False
    allocations_keyed_by_provider: bool = False
    shows_owner: bool = False
    nests_providers: bool = False
    shows_modified: bool = False
    summaries_show_traits: bool = False
    aggregates_carry_generation: bool = False
    created_provider_is_shown: bool = False
    forbids_traits: bool = False
    error_codes: bool = False
    repeats_member_of: bool = False
    reserved_may_be_total: bool = False
    summaries_show_all_classes: bool = False
    checks_consumer_generation: bool = False
    nested_candidates: bool = False
    forbids_aggregates: bool = False
    maps_groups: bool = False
    resourceless_groups: bool = False
    reparents_providers: bool = False
    types_consumers: bool = False
    any_traits: bool = False


RULES: Final = tuple(field.name for field in fields(Contract) if field.type in (bool, "bool"))


def fold(contract: Contract, change: Change) -> Contract:
    """The contract after the change.

    Raises:
        ValueError: the change adds what is there already, retires what is not, or names a rule
            that no contract has.
    """
    for added, present in (
        (change.routes, contract.routes),
        (change.provider_links, contract.provider_links),
        (change.provider_filters, contract.provider_filters),
        (change.candidate_filters, contract.candidate_filters),
        (change.usage_filters, contract.usage_filters),
    ):
        if set(added) & set(present):
            raise ValueError(f"{change.version} adds twice: {sorted(set(added) & set(present))}")
    if not set(change.retired_routes) <= contract.routes:
        raise ValueError(f"{change.version} retires an unknown route")
    for rule in change.rules:
        if rule not in RULES or getattr(contract, rule):
            raise ValueError(f"{change.version} turns on {rule}: unknown, or on already")
    return replace(
        contract,
        version=change.version,
        routes=(contract.routes | set(change.routes)) - set(change.retired_routes),
        provider_links=contract.provider_links + change.provider_links,
        provider_filters=contract.provider_filters + change.provider_filters,
        candidate_filters=contract.candidate_filters + change.candidate_filters,
        usage_filters=contract.usage_filters + change.usage_filters,
        group_suffix=change.group_suffix or contract.group_suffix,
        **dict.fromkeys(change.rules, True),
    )


def fold_history(history: tuple[Change, ...]) -> Mapping[str, Contract]:
    """One contract for each version of the history, oldest first."""
    contracts: list[Contract] = reduce(
        lambda folded, change: [*folded, fold(folded[-1] if folded else Contract(), change)],
        history,
        list[Contract](),
    )
    return MappingProxyType({contract.version: contract for contract in contracts})


CONTRACTS: Final = fold_history(HISTORY)
OLDEST: Final = CONTRACTS[HISTORY[0].version]
NEWEST: Final = CONTRACTS[HISTORY[-1].version]


class BadVersion(Exception):
    """The version header names no version at all, or (``unacceptable``) none that we speak."""

    def __init__(self, text: str, *, unacceptable: bool) -> None:
        super().__init__(text)
        self.unacceptable = unacceptable


@lru_cache(maxsize=512)
def find_contract(header: str | None) -> Contract:
    """The contract that the version header asks for, the oldest without one.

    The header may hold several services, joined by commas; the last entry for ours counts.

    Raises:
        BadVersion: there is no such version.
    """
    version = _stated_version(header or "")
    if not version:
        return OLDEST
    if version == "latest":
        return NEWEST
    try:
        # Numbers are read as numbers: "1.07" is 1.7.
        major, minor = (int(part) for part in version.split(".", 1))
    except ValueError as problem:
        raise BadVersion(
            f"invalid version string: {version}; {problem}", unacceptable=False
        ) from None
    contract = CONTRACTS.get(f"{major}.{minor}")
    if contract is None:
        raise BadVersion(f"Unacceptable version header: {version}", unacceptable=True)
    return contract


def _stated_version(header: str) -> str:
    for entry in reversed(header.split(",")):
        words = entry.strip().split(None, 1)
        if len(words) == 2 and words[0].lower() == SERVICE:
            return words[1].strip()
    return ""


def since(rule: str) -> str:
    """The version that turned the rule on, for error texts that name it."""
    return next(version for version, contract in CONTRACTS.items() if getattr(contract, rule))
