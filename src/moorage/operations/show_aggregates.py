"""Show the aggregates of a provider."""

from collections.abc import Sequence
from typing import NamedTuple

from moorage.candidates.evidence import Evidence, about_provider
from moorage.domain.ids import Generation
from moorage.operations.look_up import look_up
from moorage.operations.services import Services


class AggregatesShown(NamedTuple):
    """A provider's generation and the aggregates it is in."""

    generation: Generation
    aggregates: Sequence[str]
    evidence: Evidence


def show_aggregates(services: Services, provider: str) -> AggregatesShown:
    """The aggregates that a provider is in.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, provider)
    return AggregatesShown(
        snapshot.generation_of(position),
        snapshot.aggregates_of(position),
        about_provider(snapshot, position),
    )
