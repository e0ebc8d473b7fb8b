"""Whether both contestants say the same about the same fleet, before any of it is timed."""

import http.client
from collections.abc import Sequence
from typing import Any

import orjson

from bench.fleets import Fleet
from bench.load import Address
from bench.servers import Contestant
from bench.wire import MICROVERSION

_HEADERS = {
    "Accept": "application/json",
    "X-Auth-Token": "admin",
    "OpenStack-API-Version": f"placement {MICROVERSION}",
    "Connection": "close",
}


class AnswersDiffer(Exception):
    """The contestants do not describe the same fleet, so no figure would mean anything."""


def check_agreement(fleet: Fleet, contestants: Sequence[Contestant]) -> None:
    """Ask all contestants every probe of the fleet.

    Raises:
        AnswersDiffer: naming the first probe with more than one answer.
    """
    for probes, tell in ((fleet.probes, normalise), (fleet.counted_probes, count_candidates)):
        for probe in probes:
            told = [tell(fetch(contestant.address, probe)) for contestant in contestants]
            if any(other != told[0] for other in told):
                shown = " / ".join(str(answer)[:500] for answer in told)
                raise AnswersDiffer(f"GET {probe}: {shown}")


def fetch(address: Address, target: str) -> Any:
    """The JSON of a GET, which has to succeed."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=300)
    try:
        connection.request("GET", target, headers=_HEADERS)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise AnswersDiffer(f"GET {target}: {answer.status} {content[:500]!r}")
    return orjson.loads(content)


def normalise(answer: Any) -> Any:
    """The answer without the order of its lists, of which the API promises none."""
    if isinstance(answer, dict):
        return {name: normalise(part) for name, part in answer.items()}
    if isinstance(answer, list):
        return sorted(map(normalise, answer), key=_in_order)
    return answer


def count_candidates(answer: Any) -> int:
    return len(answer["allocation_requests"])


def _in_order(part: Any) -> bytes:
    return orjson.dumps(part, option=orjson.OPT_SORT_KEYS)
