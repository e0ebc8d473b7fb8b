"""The ways to serve slots that are alike: all of them at once, as nobody behind them misses out."""

from collections.abc import Iterator, Sequence
from itertools import islice, permutations, product
from typing import Final

KEPT_MAX: Final = 128
"""Arrangements that are made once and put behind each of those before them."""

Arrangement = tuple[int, ...]
"""For each of the slots its provider."""

Rooms = Sequence[tuple[int, int]]
"""Providers, each with the number of slots that it can serve, at least 1."""


def combined(runs: Sequence[tuple[Rooms, int]]) -> Iterator[Arrangement]:
    """Every way to serve all of several runs of slots, one run behind the other.

    Within a run slots are alike, and no two runs have a provider in common. The order is that of
    ``arrangements``; the last run changes first.
    """
    before = list(runs)
    endings: list[Arrangement] = [()]
    while before:
        some = list(islice(arrangements(*before[-1]), KEPT_MAX // len(endings) + 1))
        if len(some) * len(endings) > KEPT_MAX:
            break
        endings = [arrangement + ending for arrangement in some for ending in endings]
        if not endings:
            return
        before.pop()
    if all(next(arrangements(*run), None) is not None for run in before):
        for served in _one_after_another(before):
            yield from [served + ending for ending in endings]


def _one_after_another(runs: Sequence[tuple[Rooms, int]]) -> Iterator[Arrangement]:
    if not runs:
        yield ()
        return
    for served in _one_after_another(runs[:-1]):
        yield from (served + arrangement for arrangement in arrangements(*runs[-1]))


def arrangements(rooms: Rooms, count: int) -> Iterator[Arrangement]:
    """Every way to serve so many slots, once, made as they are read.

    They ascend in the order in which ``rooms`` has the providers.
    """
    if sum([min(room, count) for _, room in rooms]) < count:
        return
    waiting: list[Iterator[tuple[Arrangement, Rooms]]] = [iter([((), rooms)])]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        served, left = found
        endings = _at_once(left, count - len(served))
        if endings is None:
            waiting.append(_one_served(served, left))
        else:
            yield from (served + ending for ending in endings)


def _at_once(rooms: Rooms, count: int) -> Iterator[Arrangement] | None:
    """The arrangements where all providers can serve one, or all of them as many as there are."""
    providers = [provider for provider, _ in rooms]
    if all(room >= count for _, room in rooms):
        return product(providers, repeat=count)
    if all(room == 1 for _, room in rooms):
        return permutations(providers, count)
    return None


def _one_served(served: Arrangement, rooms: Rooms) -> Iterator[tuple[Arrangement, Rooms]]:
    """What is left once the next slot is served, by each provider in turn."""
    for at, (provider, room) in enumerate(rooms):
        still = [(provider, room - 1)] if room > 1 else []
        yield (*served, provider), [*rooms[:at], *still, *rooms[at + 1 :]]
