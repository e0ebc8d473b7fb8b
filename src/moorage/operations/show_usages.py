"""Show what is in use on a provider."""

from typing import NamedTuple

from moorage.candidates.evidence import Evidence, about_provider
from moorage.domain.ids import Generation
from moorage.operations.look_up import look_up
from moorage.operations.services import Services


class UsagesShown(NamedTuple):
    """A provider's generation, and units in use by class name for each of its inventories."""

    generation: Generation
    used: dict[str, int]
    evidence: Evidence


def show_usages(services: Services, provider: str) -> UsagesShown:
    """What is in use on a provider.

    Raises:
        UnknownProvider
    """
    snapshot, position = look_up(services, provider)
    used = {name: used for name, (_, used) in snapshot.resources_of(position).items()}
    evidence = about_provider(snapshot, position)
    return UsagesShown(snapshot.generation_of(position), used, evidence)
