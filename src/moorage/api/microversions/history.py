"""What each microversion changed, oldest first, to be read like a changelog.

A change adds; the one exception is a route that another takes the place of. Routes have the names
of api/routes.py, rules those of ``contract.Contract``.

Source: the API's published version history.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Change:
    """One microversion: what it adds to the one before.

    ``group_suffix`` is a regular expression of the suffixes that request groups may have.
    """

    version: str
    title: str
    routes: tuple[str, ...] = ()
    retired_routes: tuple[str, ...] = ()
    provider_links: tuple[str, ...] = ()
    provider_filters: tuple[str, ...] = ()
    candidate_filters: tuple[str, ...] = ()
    usage_filters: tuple[str, ...] = ()
    group_suffix: str | None = None
    rules: tuple[str, ...] = ()


HISTORY: Final = (
    Change(
        "1.0",
        "Providers with inventories and usages, and what consumers hold of them",
        routes=(
            "show_root",
            "list_providers",
            "create_provider",
            "show_provider",
            "update_provider",
            "delete_provider",
            "show_inventories",
            "add_inventory",
            "set_inventories",
            "show_inventory",
            "update_inventory",
            "delete_inventory",
            "show_usages",
            "list_provider_allocations",
            "show_allocations",
            "claim",
            "release",
        ),
        provider_links=("inventories", "usages"),
        provider_filters=("name", "uuid"),
    ),
    Change(
        "1.1",
        "Providers are associated with aggregates",
        routes=("show_aggregates", "set_aggregates"),
        provider_links=("aggregates",),
    ),
    Change(
        "1.2",
        "Operators define their own resource classes",
        routes=(
            "list_resource_classes",
            "create_resource_class",
            "show_resource_class",
            "rename_resource_class",
            "delete_resource_class",
        ),
    ),
    Change("1.3", "Providers listed by aggregate", provider_filters=("member_of",)),
    Change("1.4", "Providers listed by what they have free", provider_filters=("resources",)),
    Change(
        "1.5",
        "All inventories of a provider deleted in one request",
        routes=("delete_inventories",),
    ),
    Change(
        "1.6",
        "Traits, and the traits of providers",
        routes=(
            "list_traits",
            "show_trait",
            "ensure_trait",
            "delete_trait",
            "show_provider_traits",
            "set_provider_traits",
            "delete_provider_traits",
        ),
        provider_links=("traits",),
    ),
    Change(
        "1.7",
        "PUT of a resource class makes sure that it exists, instead of renaming it",
        routes=("ensure_resource_class",),
        retired_routes=("rename_resource_class",),
    ),
    Change("1.8", "A claim names project and user", rules=("claims_name_owner",)),
    Change(
        "1.9",
        "Usages of a project, or of a user in it",
        routes=("sum_usages",),
        usage_filters=("project_id", "user_id"),
    ),
    Change(
        "1.10",
        "The search for allocation candidates",
        routes=("find_candidates",),
        candidate_filters=("resources",),
    ),
    Change("1.11", "Providers link to the allocations on them", provider_links=("allocations",)),
    Change(
        "1.12",
        "Allocations are written as they are read: by provider, with project and user",
        rules=("allocations_keyed_by_provider", "shows_owner"),
    ),
    Change("1.13", "Claims of several consumers in one request", routes=("claim_many",)),
    Change(
        "1.14",
        "Providers form trees",
        provider_filters=("in_tree",),
        rules=("nests_providers",),
    ),
    Change(
        "1.15",
        "Answers tell when they were last modified, and are not to be cached",
        rules=("shows_modified",),
    ),
    Change("1.16", "The number of candidates is limited", candidate_filters=("limit",)),
    Change(
        "1.17",
        "Candidates searched by traits; summaries show them",
        candidate_filters=("required",),
        rules=("summaries_show_traits",),
    ),
    Change("1.18", "Providers listed by traits", provider_filters=("required",)),
    Change(
        "1.19",
        "Aggregates are read and written with the provider's generation",
        rules=("aggregates_carry_generation",),
    ),
    Change(
        "1.20",
        "Creating a provider answers with the provider",
        rules=("created_provider_is_shown",),
    ),
    Change("1.21", "Candidates searched by aggregate", candidate_filters=("member_of",)),
    Change("1.22", "Traits may be forbidden", rules=("forbids_traits",)),
    Change("1.23", "Error documents carry a code", rules=("error_codes",)),
    Change("1.24", "member_of may be repeated", rules=("repeats_member_of",)),
    Change(
        "1.25",
        "Candidates searched with several groups, numbered",
        candidate_filters=("group_policy",),
        group_suffix=r"[1-9][0-9]*",
    ),
    Change("1.26", "All of an inventory may be reserved", rules=("reserved_may_be_total",)),
    Change(
        "1.27",
        "Summaries show all classes, not only those asked for",
        rules=("summaries_show_all_classes",),
    ),
    Change(
        "1.28",
        "Allocations are read and written with the consumer's generation; PUT may empty them",
        rules=("checks_consumer_generation",),
    ),
    Change(
        "1.29",
        "Candidates use several providers of one tree; summaries show the tree",
        rules=("nested_candidates",),
    ),
    Change("1.30", "Inventories and allocations reshaped in one request", routes=("reshape",)),
    Change("1.31", "Candidates searched by tree", candidate_filters=("in_tree",)),
    Change("1.32", "Aggregates may be forbidden", rules=("forbids_aggregates",)),
    Change("1.33", "Groups have names", group_suffix=r"[a-zA-Z0-9_-]{1,64}"),
    Change(
        "1.34",
        "Candidates tell which providers serve which group, and claims may repeat it",
        rules=("maps_groups",),
    ),
    Change(
        "1.35", "Candidates searched by the root's traits", candidate_filters=("root_required",)
    ),
    Change(
        "1.36",
        "Groups kept in one subtree, some of them without resources",
        candidate_filters=("same_subtree",),
        rules=("resourceless_groups",),
    ),
    Change("1.37", "Providers change their parent, or leave it", rules=("reparents_providers",)),
    Change(
        "1.38",
        "Consumers have a type",
        usage_filters=("consumer_type",),
        rules=("types_consumers",),
    ),
    Change("1.39", "Any of several traits", rules=("any_traits",)),
)
