"""Quick proofs that choices cannot be completed, without trying them."""

from collections.abc import Sequence


def can_isolate(options: Sequence[Sequence[int]]) -> bool:
    """Whether each place can have a provider of its own (a bipartite matching that covers all).

    Args:
        options: the providers that may serve each place.
    """
    served_by: dict[int, int] = {}

    def serve(place: int, tried: set[int]) -> bool:
        for provider in options[place]:
            if provider in tried:
                continue
            tried.add(provider)
            if provider not in served_by or serve(served_by[provider], tried):
                served_by[provider] = place
                return True
        return False

    return all(serve(place, set()) for place in range(len(options)))


def can_pack(amounts: Sequence[int], rooms: Sequence[int]) -> bool:
    """Whether the amounts may fit into the rooms; False is certain, True is not.

    Two necessary conditions: there is enough room in all, and enough rooms for that many portions
    of the smallest amount.
    """
    if not amounts:
        return True
    if sum(amounts) > sum(rooms):
        return False
    smallest = min(amounts)
    return sum(room // smallest for room in rooms) >= len(amounts)
