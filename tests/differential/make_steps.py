"""Hypothesis strategies that make up requests: mostly sensible, often not quite.

Names and uuids come from small pools, so that requests meet one another. A body fits its
microversion unless it is spoiled on purpose.
"""

from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.differential.steps import ConsumerGeneration, ProviderGeneration, Spoiling, Step

Draw = st.DrawFn

PROVIDERS = [f"aaaaaaaa-0000-4000-8000-00000000000{number}" for number in range(7)]
CONSUMERS = [f"cccccccc-0000-4000-8000-00000000000{number}" for number in range(4)]
AGGREGATES = [f"eeeeeeee-0000-4000-8000-00000000000{number}" for number in range(3)]
PROJECTS = ["11111111-0000-4000-8000-000000000000", "project b"]
USERS = ["22222222-0000-4000-8000-000000000000", "üser"]
CLASSES = ["VCPU", "MEMORY_MB", "DISK_GB", "VGPU", "CUSTOM_GOLD"]
# What most providers of a world have, so that claims often meet it.
COMMON_CLASSES = ["VCPU", "VCPU", "MEMORY_MB"]
COMMON_PROVIDERS = PROVIDERS[:3]
TRAITS = ["HW_CPU_X86_AVX", "HW_NUMA_ROOT", "CUSTOM_FAST", "CUSTOM_SLOW"]
SHARING = "MISC_SHARES_VIA_AGGREGATE"
CUSTOM_CLASSES = ["CUSTOM_GOLD", "CUSTOM_SILVER"]
CUSTOM_TRAITS = ["CUSTOM_FAST", "CUSTOM_SLOW"]
TYPES = ["INSTANCE", "MIGRATION", "V2_X"]
ODD_NAMES = [
    "", " ", "a/b", "ü☃", "x" * 200, "x" * 201, "it's \"quoted\" %s {0}", "<b>", "new\nline", "é",
]  # fmt: skip
ODD_WORDS = [
    "", "vcpu", "custom_gold", "CUSTOM_", "GOLD", "CUSTOM_gold", "CUSTOM_" + "X" * 248,
    "CUSTOM_" + "X" * 249, "CUSTOM_NOBODY", "VCPU,", "A B",
]  # fmt: skip
ODD_UUIDS = [
    "not-a-uuid", "aaaaaaaa00004000800000000000000a", "AAAAAAAA-0000-4000-8000-000000000000",
    "ffffffff-ffff-4fff-8fff-ffffffffffff", "{aaaaaaaa-0000-4000-8000-000000000001}", "",
]  # fmt: skip
ODD_RESOURCES = ["VCPU", "VCPU:", ":1", "VCPU:x", "VCPU:1:2", "", "VCPU:+1", "VCPU:01"]
ODD_VALUES = [
    None, True, "7", "", -1, 0, 1.5, 2147483648, 9223372036854775808, 10**30, [], {}, "x" * 300,
    [1, 2], {"a": 1}, 1e300,
]  # fmt: skip
BOUNDARIES = [
    "1.1", "1.3", "1.7", "1.8", "1.12", "1.14", "1.18", "1.19", "1.20", "1.22", "1.24", "1.25",
    "1.28", "1.29", "1.32", "1.33", "1.34", "1.36", "1.37", "1.38",
]  # fmt: skip
ODD_VERSIONS = ["latest", "1.40", "2.0", "0.9", "banana", "1", "1.1000", "-1.3", "1.039"]


def rarely(draw: Draw, of: int = 12) -> bool:
    """True once in ``of``; shrinks to False."""
    return draw(st.integers(0, of - 1)) == of - 1


def pick(draw: Draw, usual: list[Any], odd: list[Any] | None = None, of: int = 20) -> Any:
    """One of the usual ones, rarely an odd one."""
    if odd and rarely(draw, of):
        return draw(st.sampled_from(odd))
    return draw(st.sampled_from(usual))


def draw_version(draw: Draw, least: int = 0) -> str | None:
    """A microversion: mostly the newest, often a boundary, now and then nonsense."""
    kind = draw(st.integers(0, 19))
    if kind < 9:
        return "1.39"
    if kind < 14:
        return str(draw(st.sampled_from([one for one in BOUNDARIES if minor_of(one) >= least])))
    if kind < 18:
        return f"1.{draw(st.integers(least, 39))}"
    if kind == 18:
        return None
    return str(draw(st.sampled_from(ODD_VERSIONS)))


def minor_of(version: str | None) -> int:
    """The minor number that a version means for the shape of a body."""
    if version is None:
        return 0
    if version == "latest":
        return 39
    try:
        return int(version.partition(".")[2])
    except ValueError:
        return 39


def pick_provider(draw: Draw) -> str:
    return str(pick(draw, [*PROVIDERS, *COMMON_PROVIDERS, *COMMON_PROVIDERS], ODD_UUIDS, 25))


def pick_consumer(draw: Draw) -> str:
    return str(pick(draw, CONSUMERS, ODD_UUIDS, 25))


def pick_class(draw: Draw) -> str:
    return str(pick(draw, [*CLASSES, *COMMON_CLASSES, *COMMON_CLASSES], ODD_WORDS, 40))


def pick_trait(draw: Draw) -> str:
    return str(pick(draw, [*TRAITS, SHARING], ODD_WORDS, 25))


def draw_amount(draw: Draw) -> Any:
    return pick(draw, [1, 1, 2, 2, 3, 4, 8], [0, -1, 9, 100, 2**31 - 1, 2**31, 10**20], 30)


def draw_provider_generation(draw: Draw, provider: str) -> ProviderGeneration:
    return ProviderGeneration(provider, pick(draw, [0], [1, -1], 12))


def create_provider(draw: Draw) -> Step:
    version = draw_version(draw)
    body: dict[str, Any] = {
        "name": pick(draw, [f"host{number}" for number in range(7)], ODD_NAMES, 12)
    }
    if not rarely(draw, 40):
        body["uuid"] = pick_provider(draw)
    if minor_of(version) >= 14 and draw(st.booleans()):
        body["parent_provider_uuid"] = pick(draw, [*PROVIDERS, None], ODD_UUIDS, 15)
    return Step("POST", "/resource_providers", version, body)


def update_provider(draw: Draw) -> Step:
    version = draw_version(draw)
    body: dict[str, Any] = {
        "name": pick(draw, [f"host{number}" for number in range(9)], ODD_NAMES, 8)
    }
    if minor_of(version) >= 14 and draw(st.booleans()):
        body["parent_provider_uuid"] = pick(draw, [*PROVIDERS, None], ODD_UUIDS, 15)
    return Step("PUT", f"/resource_providers/{quote(pick_provider(draw))}", version, body)


def draw_inventory(draw: Draw, *, plain: bool = False) -> dict[str, Any]:
    inventory: dict[str, Any] = {"total": pick(draw, [8, 4, 10, 16, 1], [0, -1, 2147483648], 30)}
    if plain or draw(st.booleans()):
        return inventory
    for name, usual, odd in (
        ("reserved", [0, 1], [-1, 4, 10, 16, 2147483648]),
        ("min_unit", [1, 2], [0, -1]),
        ("max_unit", [1, 4, 8, 2147483647], [0, 2147483648]),
        ("step_size", [1, 2, 3], [0]),
        ("allocation_ratio", [1.0, 1.5, 16, 0.5], [0, -1.0, 3.5e38, 1e300, "1.0"]),
    ):
        if draw(st.booleans()):
            inventory[name] = pick(draw, usual, odd, 30)
    return inventory


def add_inventory(draw: Draw) -> Step:
    body = {"resource_class": pick_class(draw), **draw_inventory(draw)}
    if rarely(draw, 6):
        body["resource_provider_generation"] = draw(st.integers(0, 3))
    target = f"/resource_providers/{quote(pick_provider(draw))}/inventories"
    return Step("POST", target, draw_version(draw), body)


def set_inventories(draw: Draw, provider: str | None = None, *, plain: bool = False) -> Step:
    provider = provider or pick_provider(draw)
    names = draw(st.lists(st.sampled_from(CLASSES), unique=True, max_size=3))
    if plain:
        names = list(dict.fromkeys([*COMMON_CLASSES, *names]))
    elif rarely(draw, 20):
        names.append(draw(st.sampled_from(ODD_WORDS)))
    body = {
        "resource_provider_generation": draw_provider_generation(draw, provider),
        "inventories": {name: draw_inventory(draw, plain=plain) for name in names},
    }
    version = "1.39" if plain else draw_version(draw)
    return Step("PUT", f"/resource_providers/{quote(provider)}/inventories", version, body)


def update_inventory(draw: Draw) -> Step:
    provider = pick_provider(draw)
    body = {
        "resource_provider_generation": draw_provider_generation(draw, provider),
        **draw_inventory(draw),
    }
    target = f"/resource_providers/{quote(provider)}/inventories/{quote(pick_class(draw), safe='')}"
    return Step("PUT", target, draw_version(draw), body)


def set_aggregates(draw: Draw, provider: str | None = None) -> Step:
    provider = provider or pick_provider(draw)
    version = draw_version(draw, 1)
    aggregates = draw(st.lists(st.sampled_from(AGGREGATES), unique=True, max_size=2))
    if rarely(draw, 15):
        aggregates.append(draw(st.sampled_from([*ODD_UUIDS, *AGGREGATES])))
    body: Any = aggregates
    if minor_of(version) >= 19:
        body = {
            "aggregates": aggregates,
            "resource_provider_generation": draw_provider_generation(draw, provider),
        }
    return Step("PUT", f"/resource_providers/{quote(provider)}/aggregates", version, body)


def set_provider_traits(draw: Draw, provider: str | None = None) -> Step:
    provider = provider or pick_provider(draw)
    traits = draw(st.lists(st.sampled_from([*TRAITS, SHARING]), unique=True, max_size=3))
    if rarely(draw, 15):
        traits.append(draw(st.sampled_from([*ODD_WORDS, *TRAITS])))
    body = {
        "resource_provider_generation": draw_provider_generation(draw, provider),
        "traits": traits,
    }
    target = f"/resource_providers/{quote(provider)}/traits"
    return Step("PUT", target, draw_version(draw, 6), body)


def draw_claim(draw: Draw, consumer: str, minor: int, *, may_empty: bool) -> dict[str, Any]:
    """What a consumer is to hold, in the shape of the microversion."""
    least = 0 if may_empty and rarely(draw, 5) else 1
    providers = draw(
        st.lists(
            st.sampled_from([*COMMON_PROVIDERS, *COMMON_PROVIDERS, *PROVIDERS]),
            unique=True,
            min_size=least,
            max_size=2,
        )
    )
    if rarely(draw, 25):
        providers.append(draw(st.sampled_from(ODD_UUIDS)))
    resources = {
        provider: {pick_class(draw): draw_amount(draw) for _ in range(draw(st.integers(1, 2)))}
        for provider in providers
    }
    body: dict[str, Any] = {}
    if minor < 12:
        body["allocations"] = [
            {"resource_provider": {"uuid": provider}, "resources": amounts}
            for provider, amounts in resources.items()
        ]
    else:
        body["allocations"] = {
            provider: {"resources": amounts} for provider, amounts in resources.items()
        }
        if body["allocations"] and rarely(draw, 8):
            body["allocations"][providers[0]]["generation"] = draw(st.integers(0, 3))
    if minor >= 8:
        body["project_id"] = pick(draw, PROJECTS, ["", "x" * 255, "x" * 256], 50)
        body["user_id"] = pick(draw, USERS, ["", "x" * 255, "x" * 256], 50)
    if minor >= 28:
        body["consumer_generation"] = ConsumerGeneration(consumer, pick(draw, [0], [1, -1], 12))
    if minor >= 34 and rarely(draw, 5):
        body["mappings"] = draw(
            st.dictionaries(
                st.sampled_from(["", "1", "_a", "b c", "x" * 65]),
                st.lists(st.sampled_from([*PROVIDERS, *ODD_UUIDS]), max_size=2),
                max_size=2,
            )
        )
    if minor >= 38:
        body["consumer_type"] = pick(draw, TYPES, ["instance", "", "unknown", "X" * 256], 50)
    return body


def claim(draw: Draw) -> Step:
    version, consumer = draw_version(draw), pick_consumer(draw)
    minor = minor_of(version)
    body = draw_claim(draw, consumer, minor, may_empty=minor >= 28)
    return Step("PUT", f"/allocations/{quote(consumer)}", version, body)


def claim_many(draw: Draw) -> Step:
    version = draw_version(draw, 13)
    consumers = draw(st.lists(st.sampled_from(CONSUMERS), unique=True, min_size=1, max_size=3))
    minor = max(minor_of(version), 12)
    body = {consumer: draw_claim(draw, consumer, minor, may_empty=True) for consumer in consumers}
    return Step("POST", "/allocations", version, body)


def reshape(draw: Draw) -> Step:
    version = draw_version(draw, 30)
    minor = max(minor_of(version), 30)
    providers = draw(st.lists(st.sampled_from(PROVIDERS), unique=True, min_size=1, max_size=3))
    consumers = draw(st.lists(st.sampled_from(CONSUMERS), unique=True, max_size=2))
    body = {
        "inventories": {
            provider: {
                "resource_provider_generation": draw_provider_generation(draw, provider),
                "inventories": {
                    name: draw_inventory(draw)
                    for name in draw(st.lists(st.sampled_from(CLASSES), unique=True, max_size=3))
                },
            }
            for provider in providers
        },
        "allocations": {
            consumer: draw_claim(draw, consumer, minor, may_empty=True) for consumer in consumers
        },
    }
    # The legacy default asks for the service role, so most come with it.
    roles = pick(draw, ["admin,service"], ["admin", "service", ""], 12)
    return Step("POST", "/reshaper", version, body, headers={"X-Roles": roles})


def change_resource_class(draw: Draw) -> Step:
    version = draw_version(draw, 2)
    name = quote(str(pick(draw, [*CUSTOM_CLASSES, "VCPU"], ODD_WORDS, 8)), safe="")
    method = draw(st.sampled_from(["PUT", "PUT", "POST", "DELETE"]))
    if method == "POST":
        body = {"name": pick(draw, [*CUSTOM_CLASSES, "VCPU"], ODD_WORDS, 8)}
        return Step("POST", "/resource_classes", version, body)
    renamed = {"name": pick(draw, CUSTOM_CLASSES, ODD_WORDS, 8)}
    body = renamed if method == "PUT" and minor_of(version) < 7 else None
    return Step(method, f"/resource_classes/{name}", version, body)


def change_trait(draw: Draw) -> Step:
    name = quote(str(pick(draw, [*CUSTOM_TRAITS, "HW_NUMA_ROOT"], ODD_WORDS, 8)), safe="")
    method = draw(st.sampled_from(["PUT", "PUT", "DELETE"]))
    return Step(method, f"/traits/{name}", draw_version(draw, 6))


def delete_something(draw: Draw) -> Step:
    provider = quote(pick_provider(draw))
    target = draw(
        st.sampled_from(
            [
                f"/resource_providers/{provider}",
                f"/resource_providers/{provider}/inventories",
                f"/resource_providers/{provider}/inventories/{quote(pick_class(draw), safe='')}",
                f"/resource_providers/{provider}/traits",
                f"/allocations/{quote(pick_consumer(draw))}",
            ]
        )
    )
    return Step("DELETE", target, draw_version(draw))


def read_something(draw: Draw) -> Step:
    provider = quote(pick_provider(draw))
    target = draw(
        st.sampled_from(
            [
                "/", "", "/resource_providers", f"/resource_providers/{provider}",
                f"/resource_providers/{provider}/inventories",
                f"/resource_providers/{provider}/inventories/{quote(pick_class(draw), safe='')}",
                f"/resource_providers/{provider}/usages",
                f"/resource_providers/{provider}/aggregates",
                f"/resource_providers/{provider}/traits",
                f"/resource_providers/{provider}/allocations",
                f"/allocations/{quote(pick_consumer(draw))}",
                "/traits?name=startswith:CUSTOM", "/traits?associated=true",
                "/traits?name=in:CUSTOM_FAST,CUSTOM_NOBODY&associated=False",
                "/traits?name=CUSTOM_FAST", "/traits?associated=perhaps", "/traits?name=in:",
                "/resource_classes", f"/resource_classes/{quote(pick_class(draw), safe='')}",
                f"/traits/{quote(pick_trait(draw), safe='')}",
            ]
        )
    )  # fmt: skip
    return Step("GET", target, draw_version(draw))


def read_usages(draw: Draw) -> Step:
    version = draw_version(draw, 9)
    pairs = []
    if not rarely(draw, 15):
        pairs.append(("project_id", pick(draw, PROJECTS, ["", "nobody"], 10)))
    if draw(st.booleans()):
        pairs.append(("user_id", pick(draw, USERS, ["", "nobody"], 10)))
    if minor_of(version) >= 38 and draw(st.booleans()):
        pairs.append(
            ("consumer_type", pick(draw, [*TYPES, "all", "unknown"], ["", "All", "instance"], 8))
        )
    return Step("GET", "/usages" + encode_query(pairs), version)


def draw_resources(draw: Draw) -> str:
    names = draw(st.lists(st.sampled_from(CLASSES), unique=True, min_size=1, max_size=2))
    if rarely(draw, 25):
        names.append(draw(st.sampled_from(ODD_WORDS)))
    parts = [f"{name}:{draw_amount(draw)}" for name in names]
    if rarely(draw, 40):
        parts.append(
            draw(st.sampled_from(["VCPU", "VCPU:", ":1", "VCPU:x", "VCPU:1:2", "", "VCPU:+1"]))
        )
    return ",".join(parts)


def draw_required(draw: Draw, minor: int) -> str:
    parts = []
    for trait in draw(st.lists(st.sampled_from(TRAITS), unique=True, min_size=1, max_size=2)):
        forbidden = minor >= 22 and draw(st.booleans()) and draw(st.booleans())
        parts.append(f"!{trait}" if forbidden else trait)
    if rarely(draw, 30):
        parts.append(draw(st.sampled_from([*ODD_WORDS, "!!CUSTOM_FAST", "!"])))
    if minor >= 39 and rarely(draw, 4):
        return "in:" + ",".join(part.lstrip("!") for part in parts)
    return ",".join(parts)


def draw_member_of(draw: Draw, minor: int) -> str:
    chosen = draw(st.lists(st.sampled_from(AGGREGATES), unique=True, min_size=1, max_size=2))
    if rarely(draw, 25):
        chosen.append(draw(st.sampled_from(ODD_UUIDS)))
    forbidden = "!" if minor >= 32 and rarely(draw, 4) else ""
    if len(chosen) > 1 or rarely(draw, 4):
        return f"{forbidden}in:" + ",".join(chosen)
    return forbidden + chosen[0]


def list_providers(draw: Draw) -> Step:
    version = draw_version(draw)
    minor = minor_of(version)
    # Rarely asks for more than the version has.
    known = 39 if rarely(draw, 20) else minor
    pairs: list[tuple[str, str]] = []
    if rarely(draw, 6):
        pairs.append(("name", pick(draw, ["host0", "host1"], ODD_NAMES, 4)))
    if rarely(draw, 6):
        pairs.append(("uuid", pick_provider(draw)))
    if known >= 3 and rarely(draw, 3):
        pairs.append(("member_of", draw_member_of(draw, known)))
        if known >= 24 and rarely(draw, 4):
            pairs.append(("member_of", draw_member_of(draw, known)))
    if known >= 4 and rarely(draw, 3):
        pairs.append(("resources", draw_resources(draw)))
    if known >= 14 and rarely(draw, 4):
        pairs.append(("in_tree", pick_provider(draw)))
    if known >= 18 and rarely(draw, 3):
        pairs.append(("required", draw_required(draw, known)))
        if known >= 39 and rarely(draw, 4):
            pairs.append(("required", draw_required(draw, known)))
    if rarely(draw, 30):
        pairs.append(("surprise", "1"))
    return Step("GET", "/resource_providers" + encode_query(pairs), version)


def draw_group(draw: Draw, suffix: str, minor: int) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    if not (suffix and minor >= 36 and rarely(draw, 6)):
        pairs.append((f"resources{suffix}", draw_resources(draw)))
    if minor >= 17 and rarely(draw, 3):
        pairs.append((f"required{suffix}", draw_required(draw, minor)))
        if minor >= 39 and rarely(draw, 5):
            pairs.append((f"required{suffix}", draw_required(draw, minor)))
    if minor >= 21 and rarely(draw, 4):
        pairs.append((f"member_of{suffix}", draw_member_of(draw, minor)))
        if minor >= 24 and rarely(draw, 4):
            pairs.append((f"member_of{suffix}", draw_member_of(draw, minor)))
    if minor >= 31 and rarely(draw, 6):
        pairs.append((f"in_tree{suffix}", pick_provider(draw)))
    return pairs


def find_candidates(draw: Draw) -> Step:
    version = draw_version(draw, 10)
    minor = minor_of(version)
    known = 39 if rarely(draw, 25) else minor
    pairs: list[tuple[str, str]] = []
    suffixes: list[str] = []
    if known >= 25:
        choice = ["1", "2", "3", "_a", "-B2"] if known >= 33 else ["1", "2", "3"]
        suffixes = draw(st.lists(st.sampled_from(choice), unique=True, max_size=3))
    if not suffixes or draw(st.booleans()):
        pairs += draw_group(draw, "", known)
    for suffix in suffixes:
        pairs += draw_group(draw, suffix, known)
    if (len(suffixes) > 1 and not rarely(draw, 15)) or (known >= 25 and rarely(draw, 8)):
        pairs.append(("group_policy", pick(draw, ["none", "isolate"], ["", "perhaps"], 20)))
    if known >= 16 and rarely(draw, 5):
        pairs.append(("limit", str(pick(draw, [1, 2, 5], [0, -1, "", "x", "+2", 10**12], 8))))
    if known >= 35 and rarely(draw, 6):
        pairs.append(("root_required", draw_required(draw, 38)))
    if known >= 36 and len(suffixes) > 1 and rarely(draw, 3):
        chosen = draw(st.lists(st.sampled_from(suffixes), unique=True, min_size=1))
        pairs.append(("same_subtree", ",".join(chosen)))
    if rarely(draw, 40):
        pairs.append(draw(st.sampled_from([("surprise", "1"), ("resources", "VCPU:1")])))
    return Step("GET", "/allocation_candidates" + encode_query(pairs), version)


def do_nonsense(draw: Draw) -> Step:
    """Wrong methods, unknown paths, wrong or no content types, no body, no token, odd Accept."""
    target = draw(
        st.sampled_from(
            [
                "/resource_providers", f"/resource_providers/{PROVIDERS[0]}",
                f"/resource_providers/{PROVIDERS[0]}/inventories/VCPU", "/allocations", "/usages",
                f"/allocations/{CONSUMERS[0]}", "/traits", "/traits/CUSTOM_FAST", "/reshaper",
                "/resource_classes", "/resource_classes/CUSTOM_GOLD", "/allocation_candidates",
                f"/resource_providers/{PROVIDERS[0]}/aggregates", "/nowhere",
                f"/resource_providers/{PROVIDERS[0]}/inventories/", "/Traits", "//", "/traits/",
                "/resource_providers/",
            ]
        )
    )  # fmt: skip
    method = draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"]))
    headers: dict[str, str] = {}
    for name, texts in (
        ("Accept", ["text/html", "text/plain", "*/*", "application/xml", "", "text/*;q=0.5"]),
        ("Content-Type", ["text/plain", "", "application/json; charset=utf-8", "application/xml"]),
        ("X-Auth-Token", ["", "someone", "someone:project", "admin:project"]),
    ):
        if draw(st.booleans()):
            headers[name] = draw(st.sampled_from(texts))
    raw = draw(
        st.sampled_from(
            [None, b"{}", b"{", b"[]", b"null", b'"text"', b"\xff", b"{} {}", b'{"name": "a", }']
        )
    )
    if method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        raw = None
    return Step(method, target, draw_version(draw), raw=raw, headers=headers)


MAKERS = [
    (create_provider, 3), (update_provider, 3), (add_inventory, 3), (set_inventories, 4),
    (update_inventory, 3), (set_aggregates, 3), (set_provider_traits, 3), (claim, 9),
    (claim_many, 5), (reshape, 3), (change_resource_class, 2), (change_trait, 2),
    (delete_something, 3), (read_something, 7), (read_usages, 2), (list_providers, 5),
    (find_candidates, 10), (do_nonsense, 2),
]  # fmt: skip
WEIGHTED = [maker for maker, weight in MAKERS for _ in range(weight)]


@st.composite
def steps(draw: Draw) -> Step:
    """One request, rarely with a body that is spoiled."""
    step = draw(st.sampled_from(WEIGHTED))(draw)
    if step.body is not None and rarely(draw, 14):
        spoiling = Spoiling(
            draw(st.sampled_from(["drop", "add", "rename", "replace", "replace"])),
            draw(st.integers(0, 11)),
            draw(st.sampled_from(ODD_VALUES)),
        )
        return Step(
            step.method, step.target, step.microversion, step.body, None, step.headers, spoiling
        )
    return step


@st.composite
def worlds(draw: Draw) -> list[Step]:
    """The making of a small forest with sharing providers, and what its providers have."""
    made = [Step("PUT", f"/traits/{name}", "1.39") for name in CUSTOM_TRAITS] + [
        Step("PUT", "/resource_classes/CUSTOM_GOLD", "1.39")
    ]
    count = draw(st.integers(1, len(PROVIDERS))) if rarely(draw, 4) else len(PROVIDERS)
    for number in range(count):
        body: dict[str, Any] = {"name": f"host{number}", "uuid": PROVIDERS[number]}
        if number and draw(st.booleans()):
            body["parent_provider_uuid"] = PROVIDERS[draw(st.integers(0, number - 1))]
        made.append(Step("POST", "/resource_providers", "1.39", body))
    for provider in PROVIDERS[:count]:
        made.append(set_inventories(draw, provider, plain=not rarely(draw, 5)))
        if draw(st.booleans()):
            made.append(set_aggregates(draw, provider))
        if draw(st.booleans()):
            made.append(set_provider_traits(draw, provider))
    return made


@st.composite
def searches(draw: Draw, longest: int) -> list[Step]:
    """A forest in good order, with sharing providers and holds, and then only searches in it."""
    made = [Step("PUT", f"/traits/{name}", "1.39") for name in CUSTOM_TRAITS]
    made.append(Step("PUT", "/resource_classes/CUSTOM_GOLD", "1.39"))
    for number, provider in enumerate(PROVIDERS):
        body: dict[str, Any] = {"name": f"host{number}", "uuid": provider}
        if number and draw(st.booleans()):
            body["parent_provider_uuid"] = PROVIDERS[draw(st.integers(0, number - 1))]
        made.append(Step("POST", "/resource_providers", "1.39", body))
        made += furnish(draw, provider)
    for consumer in CONSUMERS[: draw(st.integers(0, 3))]:
        held = {draw(st.sampled_from(PROVIDERS)): {"resources": {"VCPU": draw(st.integers(1, 3))}}}
        claimed = {
            "allocations": held,
            "project_id": PROJECTS[0],
            "user_id": USERS[0],
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        made.append(Step("PUT", f"/allocations/{consumer}", "1.39", claimed))
    makers = [find_candidates, find_candidates, find_candidates, list_providers]
    count = draw(st.integers(1, longest))
    return made + [draw(st.sampled_from(makers))(draw) for _ in range(count)]


def furnish(draw: Draw, provider: str) -> list[Step]:
    """What a provider of a forest in good order has."""
    target = f"/resource_providers/{provider}"
    now = ProviderGeneration(provider)
    classes = draw(st.lists(st.sampled_from(CLASSES), unique=True, max_size=3))
    if not rarely(draw, 4):
        classes = list(dict.fromkeys(["VCPU", *classes]))
    traits = draw(st.lists(st.sampled_from(TRAITS), unique=True, max_size=2))
    # A sharing provider below another is a failure upstream, which is known, so it is rarer.
    if rarely(draw, 4):
        traits.append(SHARING)
    aggregates = draw(st.lists(st.sampled_from(AGGREGATES), unique=True, max_size=2))
    inventories = {name: draw_inventory(draw, plain=not rarely(draw, 3)) for name in classes}
    return [
        Step("PUT", f"{target}/{what}", "1.39", {"resource_provider_generation": now, what: part})
        for what, part in (
            ("inventories", inventories),
            ("traits", traits),
            ("aggregates", aggregates),
        )
        if part
    ]


@st.composite
def sequences(draw: Draw, longest: int) -> list[Step]:
    """A world, and what happens in it."""
    made = draw(worlds())
    # Counted before it is drawn: a plain list of up to ``longest`` would be short most of the time.
    return made + [draw(steps()) for _ in range(draw(st.integers(1, longest)))]


def encode_query(pairs: list[tuple[str, str]]) -> str:
    """A query string, percent-encoded as a browser would, but for the grammar's own signs."""
    if not pairs:
        return ""
    return "?" + "&".join(
        f"{quote(name, safe='')}={quote(text, safe=':,!')}" for name, text in pairs
    )
