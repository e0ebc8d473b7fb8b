"""The documents of an answer to a search, made plainly from values: what the bytes must say."""

from typing import Any

from moorage.api.microversions.contract import Contract
from moorage.candidates.answer import Candidate, CandidatesAnswer, ProviderSummary


def candidate_document(candidate: Candidate, contract: Contract) -> dict[str, Any]:
    if not contract.allocations_keyed_by_provider:
        return {
            "allocations": [
                {"resource_provider": {"uuid": uuid}, "resources": dict(resources)}
                for uuid, resources in candidate.allocations.items()
            ]
        }
    document: dict[str, Any] = {
        "allocations": {
            uuid: {"resources": dict(resources)}
            for uuid, resources in candidate.allocations.items()
        }
    }
    if contract.maps_groups:
        document["mappings"] = {suffix: list(them) for suffix, them in candidate.mappings.items()}
    return document


def summary_document(
    summary: ProviderSummary, asked: frozenset[str], contract: Contract
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "resources": {
            name: {"capacity": capacity, "used": used}
            for name, (capacity, used) in summary.resources.items()
            if contract.summaries_show_all_classes or name in asked
        }
    }
    if contract.summaries_show_traits:
        document["traits"] = list(summary.traits)
    if contract.nested_candidates:
        document["parent_provider_uuid"] = summary.parent_uuid
        document["root_provider_uuid"] = summary.root_uuid
    return document


def answer_document(
    answer: CandidatesAnswer, asked: frozenset[str], contract: Contract
) -> dict[str, Any]:
    return {
        "allocation_requests": [candidate_document(one, contract) for one in answer.candidates],
        "provider_summaries": {
            one.uuid: summary_document(one, asked, contract) for one in answer.summaries
        },
    }
