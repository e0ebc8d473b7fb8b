"""Claims: what consumers ask to hold, and whether they may."""

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.domain.ids import ConsumerUuid, ProviderUuid


@dataclass(frozen=True, slots=True)
class ConsumerClaim:
    """One consumer's request to hold exactly these resources from now on.

    ``resources``: provider uuid -> class name -> units (at least 1); empty: hold nothing.
    ``checks_generation``: the client stated the generation it read (since 1.28), where None
    states that the consumer does not exist. ``project_id`` is None where the client's microversion
    cannot say it (before 1.8), ``consumer_type`` None where it cannot say that (before 1.38).
    """

    consumer: ConsumerUuid
    resources: Mapping[ProviderUuid, Mapping[str, int]]
    project_id: str | None
    user_id: str | None
    checks_generation: bool
    generation: int | None
    consumer_type: str | None
