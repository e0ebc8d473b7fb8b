"""Usages: what is held on a provider, and by a project."""

from functools import cache
from typing import Any, Final, NamedTuple

import orjson

from moorage.api.call import Call, Reply
from moorage.api.microversions.contract import Contract
from moorage.api.query import QueryJudge, parse_query, remembered
from moorage.api.wire import CONSUMER_TYPE, NAME_PATTERN, OWNER_ID, an_object
from moorage.operations.show_usages import show_usages
from moorage.operations.sum_usages import sum_usages
from moorage.operations.sum_usages_by_type import sum_usages_by_type

_CONSUMER_TYPE_ASKED: Final = {**CONSUMER_TYPE, "pattern": f"{NAME_PATTERN}|^all|^unknown$"}


@cache
def usage_query_judge(contract: Contract) -> QueryJudge:
    known = {"project_id": OWNER_ID, "user_id": OWNER_ID, "consumer_type": _CONSUMER_TYPE_ASKED}
    return QueryJudge(
        an_object({name: known[name] for name in contract.usage_filters}, "project_id")
    )


class ConsumersAsked(NamedTuple):
    """Whose usages are asked for."""

    project_id: str
    user_id: str | None
    consumer_type: str | None


@remembered
def read_consumers_asked(query_text: str, contract: Contract) -> ConsumersAsked:
    """What a query says.

    Raises:
        Problem: it says what the contract does not know, or not in the way it should.
    """
    query = parse_query(query_text)
    usage_query_judge(contract).check(query)
    return ConsumersAsked(
        dict(query.pairs)["project_id"], query.last("user_id"), query.last("consumer_type")
    )


def handle_show_usages(call: Call) -> Reply:
    """What is held on a provider, by resource class."""
    generation, used, evidence = show_usages(call.services, call.path["uuid"])
    document = {"resource_provider_generation": generation, "usages": used}
    # When the usages of a provider last changed is not recorded.
    return call.lasting(orjson.dumps(document), evidence, None)


def handle_sum_usages(call: Call) -> Reply:
    """What a project holds, or one user in it, by resource class (and type of consumer)."""
    project_id, user_id, consumer_type = read_consumers_asked(call.query_text, call.contract)
    # From before the sums are read, so that it is never younger than they are.
    evidence = call.services.sums.evidence_of(project_id)
    usages: dict[str, Any]
    if call.contract.types_consumers:
        groups = sum_usages_by_type(
            call.services,
            project_id=project_id,
            user_id=user_id,
            consumer_type=consumer_type,
        )
        usages = {
            group.consumer_type: {**group.used, "consumer_count": group.consumer_count}
            for group in groups
        }
    else:
        usages = dict(sum_usages(call.services, project_id=project_id, user_id=user_id))
    # When the usages of a project last changed is not recorded.
    return call.lasting(orjson.dumps({"usages": usages}), evidence, None)
