"""Odd things to send, by name."""

import json

MEGABYTE = 1024 * 1024
PROVIDER = "aaaaaaaa-0000-4000-8000-000000000000"
LONG = b"x" * 100_000
MANY_GROUPS = b"&".join(b"resources%d=VCPU:1" % number for number in range(10_000))

# Bodies that are no JSON, or none that any route takes.
RAW_BODIES: dict[str, bytes] = {
    "open-brace": b"{",
    "half-a-word": b"nul",
    "trailing-comma": b'{"name": "a",}',
    "two-documents": b"{} {}",
    "single-quotes": b"{'name': 'a'}",
    "not-utf-8": b'{"name": "\xff\xfe"}',
    "utf-16": '{"name": "a"}'.encode("utf-16"),
    "only-spaces": b"   ",
    "nul-bytes": b"\x00\x00\x00",
    "nul-in-text": b'{"name": "a\x00b"}',
    "a-number": b"7",
    "a-huge-number": b"1" + b"0" * 400,
    "a-text": b'"text"',
    "null": b"null",
    "true": b"true",
    "an-odd-list": b"[1, [2], {}]",
    "nan": b"NaN",
    "beyond-float": b'{"name": 1e999}',
    "deep-lists": b"[" * 100_000 + b"]" * 100_000,
    "deep-objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep-and-open": b"[" * 100_000,
    "10-megabytes-of-text": b'{"name": "' + b"x" * 10 * MEGABYTE + b'"}',
    "10-megabytes-of-spaces": b" " * 10 * MEGABYTE,
    "10-megabytes-of-numbers": b"[" + b"1," * 5 * MEGABYTE + b"1]",
    "a-hundred-thousand-keys": json.dumps({f"k{n}": n for n in range(100_000)}).encode(),
}

# What takes the place of each value of a good body, as JSON text.
VALUES: dict[str, str] = {
    "huge": "1" + "0" * 400,
    "huge-negative": "-1" + "0" * 400,
    "beyond-64-bits": str(2**63),
    "beyond-32-bits": str(2**31),
    "negative": "-1",
    "half": "0.5",
    "tiny": "1e-400",
    "largest-float": "1.7e308",
    "infinite": "1e999",
    "infinity": "Infinity",
    "nan": "NaN",
    "null": "null",
    "true": "true",
    "empty-text": '""',
    "nul": '"a\\u0000b"',
    "lone-surrogate": '"\\ud800"',
    "astral": '"\\ud83d\\ude00"',
    "long-text": '"' + "x" * 100_000 + '"',
    "list": "[]",
    "object": "{}",
    "nested": '[[[{"a": [1]}]]]',
}
# What takes the place of each key.
KEYS = ["", "\x00", "\ud800", "x" * 100_000, "vcpu", "CUSTOM_" + "Y" * 300, "__proto__"]

# Targets that have to be refused.
REFUSED_TARGETS: dict[str, bytes] = {
    "long-query": b"/resource_providers?name=" + LONG,
    "long-key": b"/resource_providers?" + LONG + b"=1",
    "long-candidates": b"/allocation_candidates?resources=" + b"VCPU:1," * 15_000 + b"VCPU:1",
    "many-groups": b"/allocation_candidates?" + MANY_GROUPS + b"&group_policy=none",
    "many-traits": b"/allocation_candidates?resources=VCPU:1&required=" + b"HW_A," * 20_000,
    "many-parameters": b"/usages?" + b"&".join(b"a%d=1" % number for number in range(20_000)),
    "not-utf-8": b"/resource_providers?uuid=%ff%fe",
    "surrogate": b"/resource_providers?uuid=%ED%A0%80",
    "nul-uuid": b"/resource_providers?uuid=%00",
    "huge-negative-limit": b"/allocation_candidates?resources=VCPU:1&limit=-1" + b"0" * 400,
    "amount-of-words": b"/allocation_candidates?resources=VCPU:many",
    "amount-with-nul": b"/allocation_candidates?resources=VCPU:%00",
    "class-with-nul": b"/allocation_candidates?resources=VC%00PU:1",
    "trait-with-nul": b"/allocation_candidates?resources=VCPU:1&required=HW%00",
    "tree-of-nul": b"/allocation_candidates?resources=VCPU:1&in_tree=%00",
    "aggregate-of-nul": b"/allocation_candidates?resources=VCPU:1&member_of=%00",
    "provider-nul": b"/resource_providers/%00",
    "provider-not-utf-8": b"/resource_providers/%ff",
    "provider-long": b"/resource_providers/" + LONG,
    "class-nul": b"/resource_classes/%00",
    "class-not-utf-8": b"/resource_classes/%ff%fe",
    "trait-nul": b"/traits/%00",
    "trait-surrogate": b"/traits/%ED%A0%80",
    "trait-long": b"/traits/" + LONG,
    "inventory-nul": f"/resource_providers/{PROVIDER}/inventories/%00".encode(),
    "raw-bytes": b"/resource_providers/\xff\xfe",
    "up-and-out": b"/../../etc/passwd",
    "half-an-escape": b"/resource_providers/%",
    "nowhere": b"/nowhere",
}

# Targets that may be answered either way, but not with a failure.
TARGETS: dict[str, bytes] = {
    "name-nul": b"/resource_providers?name=%00",
    "name-not-utf-8": b"/resource_providers?name=%ff",
    "name-surrogate": b"/resource_providers?name=%ED%A0%80",
    "name-half-an-escape": b"/resource_providers?name=%",
    "name-astral": b"/resource_providers?name=%F0%9F%98%80",
    "huge-amount": b"/allocation_candidates?resources=VCPU:1" + b"0" * 400,
    "huge-amount-filter": b"/resource_providers?resources=VCPU:1" + b"0" * 400,
    "beyond-64-bits": b"/allocation_candidates?resources=VCPU:%d" % 2**63,
    "huge-limit": b"/allocation_candidates?resources=VCPU:1&limit=1" + b"0" * 400,
    "other-digits": b"/allocation_candidates?resources=VCPU:%D9%A3",
    "usages-of-nul": b"/usages?project_id=%00",
    "usages-of-not-utf-8": b"/usages?project_id=%ff",
    "usages-of-surrogate": b"/usages?project_id=%ED%A0%80",
    "traits-of-nul": b"/traits?name=startswith:%00",
    "traits-of-not-utf-8": b"/traits?name=startswith:%ff",
    "traits-with-percent": b"/traits?name=startswith:%25_",
    "consumer-nul": b"/allocations/%00",
    "consumer-not-utf-8": b"/allocations/%ff",
    "consumer-long": b"/allocations/" + LONG[:5000],
    "only-ampersands": b"/resource_providers?&&&&&&",
    "only-equals": b"/resource_providers?====",
    "semicolons": b"/resource_providers?name=a;uuid=b",
    "absolute": b"http://elsewhere/resource_providers",
    "double-slash": b"//resource_providers",
}

HEADERS: dict[str, dict[str, bytes]] = {
    "version-huge": {"OpenStack-API-Version": b"placement 1." + b"9" * 400},
    "version-vast": {"OpenStack-API-Version": b"placement 1." + b"9" * 5000},
    "version-negative": {"OpenStack-API-Version": b"placement -1.-1"},
    "version-words": {"OpenStack-API-Version": b"placement one.two"},
    "version-bytes": {"OpenStack-API-Version": b"placement \xff\xfe"},
    "version-alone": {"OpenStack-API-Version": b"1.39"},
    "version-twice": {"OpenStack-API-Version": b"placement 1.1, placement 1.2"},
    "version-other-digits": {"OpenStack-API-Version": "placement 1.٣".encode()},
    "version-long": {"OpenStack-API-Version": b"placement " + LONG[:50_000]},
    "accept-odd": {"Accept": b"*/*;q=banana"},
    "accept-bytes": {"Accept": b"\xff/\xff"},
    "accept-long": {"Accept": b",".join([b"text/x"] * 8000)},
    "accept-xml": {"Accept": b"application/xml"},
    "token-long": {"X-Auth-Token": LONG[:50_000]},
    "token-bytes": {"X-Auth-Token": b"\xff\xfe"},
    "token-colons": {"X-Auth-Token": b":::::"},
    "roles-odd": {"X-Roles": b",,,\xff,,"},
    "request-id-odd": {"X-Openstack-Request-Id": b"req-\xff" + LONG[:5000]},
    "forwarded-odd": {"Forwarded": b"for=\xff;proto=;host=%%%"},
    "origin-odd": {"Origin": b"\xff://"},
    "headers-many": {f"X-A{number}": b"1" for number in range(90)},
    "host-odd": {"Host": b"\xff:99999999"},
    "content-type-without-body": {"Content-Type": b"multipart/form-data; boundary="},
}

# Headers that do not fit the body they come with.
BODY_HEADERS: dict[str, dict[str, bytes]] = {
    "content-type-none": {"Content-Type": b""},
    "content-type-text": {"Content-Type": b"text/plain"},
    "content-type-bytes": {"Content-Type": b"\xff"},
    "content-type-long": {"Content-Type": b"application/" + LONG[:5000]},
    "length-words": {"Content-Length": b"abc"},
    "length-negative": {"Content-Length": b"-1"},
    "length-huge": {"Content-Length": b"9" * 30},
    "length-short": {"Content-Length": b"3"},
    "length-long": {"Content-Length": b"3000"},
    "chunked-badly": {"Content-Length": b"", "Transfer-Encoding": b"chunked"},
}

# What is not even HTTP.
GARBAGE: dict[str, bytes] = {
    "bytes": b"\x00\xff" * 50,
    "no-target": b"GET\r\n\r\n",
    "no-such-http": b"GET / HTTP/9.9\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00" * 20,
}
