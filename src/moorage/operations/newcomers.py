"""What this process knows of the providers that it has just made: that they have nothing.

A compute node that registers itself makes a provider and then says what it has, in three more
requests. That there was nothing before need not be read each time: whoever gives a provider
inventories or traits raises its generation, by which the database finds out when the change is
written (``raise_generations``). Aggregates may be given without that, so that they are looked at.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

from moorage.domain.ids import Generation, ProviderId, ProviderUuid
from moorage.operations.provider_changes import ChangeRequest, Part
from moorage.store.providers import LockedProvider

NEWCOMERS_MAX: Final = 10_000
"""Providers that are remembered at a time; past that the older half is forgotten."""


class _Newcomer(NamedTuple):
    """A provider as this process has left it, and which parts nothing was ever given of."""

    provider: LockedProvider
    empty: frozenset[Part]


class Newcomers:
    """The providers that one process has made and not yet given all parts. Not for several threads.

    What is remembered may be outdated: whoever writes by it has it checked.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Newcomer] = {}

    def find(self, request: ChangeRequest) -> LockedProvider | None:
        """The provider of a request that gives it the first of a part; None if that is not known.

        The request has to say the generation that is known here: without one, nothing would be
        checked.
        """
        known = self._known.get(request.provider)
        if known is None or request.part not in known.empty:
            return None
        return known.provider if request.generation == known.provider.generation else None

    def add(self, uuid: str, key: ProviderId) -> None:
        """A provider has been made."""
        if len(self._known) >= NEWCOMERS_MAX:
            for old in list(islice(self._known, NEWCOMERS_MAX // 2)):
                del self._known[old]
        provider = LockedProvider(key, ProviderUuid(uuid), Generation(0))
        self._known[uuid] = _Newcomer(provider, frozenset(Part))

    def note(self, request: ChangeRequest) -> None:
        """A newcomer has got what a request asked for, and its generation has risen."""
        known = self._known.pop(request.provider, None)
        if known is None:
            return
        key, uuid, generation = known.provider.id, known.provider.uuid, known.provider.generation
        if left := known.empty - {request.part}:
            provider = LockedProvider(key, uuid, Generation(generation + 1))
            self._known[request.provider] = _Newcomer(provider, left)

    def forget(self, providers: Iterable[str]) -> None:
        """Others may have changed these providers, or what is known of them was found untrue."""
        for provider in providers:
            self._known.pop(provider, None)
