"""Places for all who compete for them: a bipartite matching that is kept while choices change."""

from collections.abc import Iterator, Mapping, Sequence


def bits_of(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Matching:
    """Gives each slot one of its providers, and no provider more slots than it takes.

    The proof that the slots which are still to be chosen can all be served, as far as this kind
    of competition goes. Choosing differently needs a few rearrangements, not a new proof; and
    what was rearranged for a choice stays valid when the choice is taken back.
    """

    def __init__(
        self, options: Mapping[int, int], takes: Sequence[int], fixed: Sequence[int]
    ) -> None:
        """
        Args:
            options: the providers of each slot, as bits.
            takes: how many slots each provider can serve.
            fixed: for every slot the provider chosen, -1 while there is none; read on each move.
        """
        self._options = options
        self._takes = takes
        self._fixed = fixed
        self._mate: dict[int, int] = {}
        self._served: list[list[int]] = [[] for _ in takes]
        self._free = sum(1 << provider for provider, count in enumerate(takes) if count > 0)
        """The providers that can serve one more."""

    def complete(self) -> bool:
        """Serve every slot; False: that cannot be done."""
        return all(self._rearrange(slot, [0]) for slot in self._options)

    def move(self, slot: int, provider: int) -> bool:
        """Serve the slot from this provider; False: another slot could not be served then."""
        if slot not in self._mate:
            return True
        before = self._mate[slot]
        if before == provider:
            return True
        self._leave(slot, before)
        if not self._free >> provider & 1 and not self._displace(provider, before):
            self._join(slot, before)
            return False
        self._join(slot, provider)
        return True

    def _displace(self, provider: int, free: int) -> bool:
        """Find another provider for one of those that this one serves."""
        for other in self._served[provider]:
            if self._fixed[other] < 0 and self._options[other] >> free & 1:
                self._serve(other, free)
                return True
        tried = [1 << provider]
        return any(
            self._rearrange(other, tried)
            for other in list(self._served[provider])
            if self._fixed[other] < 0
        )

    def _rearrange(self, slot: int, tried: list[int]) -> bool:
        """Serve a slot from a provider not tried yet, others moving on where they must."""
        free = self._options[slot] & self._free & ~tried[0]
        if free:
            self._serve(slot, (free & -free).bit_length() - 1)
            return True
        for provider in bits_of(self._options[slot]):
            if tried[0] >> provider & 1:
                continue
            tried[0] |= 1 << provider
            for other in list(self._served[provider]):
                if self._fixed[other] < 0 and self._rearrange(other, tried):
                    self._serve(slot, provider)
                    return True
        return False

    def _serve(self, slot: int, provider: int) -> None:
        before = self._mate.get(slot)
        if before is not None:
            self._leave(slot, before)
        self._join(slot, provider)

    def _leave(self, slot: int, provider: int) -> None:
        self._served[provider].remove(slot)
        self._free |= 1 << provider

    def _join(self, slot: int, provider: int) -> None:
        served = self._served[provider]
        served.append(slot)
        self._mate[slot] = provider
        if len(served) >= self._takes[provider]:
            self._free &= ~(1 << provider)
