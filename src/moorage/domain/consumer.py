"""Consumers and what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from moorage.domain.ids import ConsumerUuid, Generation, ProviderUuid


@dataclass(frozen=True, slots=True)
class ConsumerAllocations:
    """Everything one consumer holds, as a reader sees it.

    ``resources``: provider uuid -> (provider generation, class name -> units).
    ``consumer_type`` is None where the consumer was never given one.
    """

    consumer: ConsumerUuid
    generation: Generation
    project_id: str
    user_id: str
    consumer_type: str | None
    resources: Mapping[ProviderUuid, tuple[Generation, Mapping[str, int]]]
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Usage of a project by one type of consumer: class name -> units."""

    consumer_type: str
    consumer_count: int
    used: Mapping[str, int]
