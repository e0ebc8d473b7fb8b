"""Sets of labels (traits, or aggregates), each kept once however many providers have it."""

from collections.abc import Iterable, Sequence

import numpy as np

from moorage.candidates.columns import AmountArray, IndexArray, Mask


class LabelSets:
    """Numbered sets of labels. The columns of a snapshot name a provider's set by its number.

    Hosts of one model have the same traits, so that there are few sets, and a question about
    labels is answered for each set once. Sets are only added and keep their numbers: snapshots of
    one process share this table, and what an older one names stays what it was. Number 0 is the
    empty set.
    """

    def __init__(self) -> None:
        self._sets: list[tuple[int, ...]] = [()]
        self._numbers: dict[tuple[int, ...], int] = {(): 0}
        self._with_label: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def number_of(self, labels: Iterable[int]) -> int:
        """The number of a set, which is added where it is new; for one thread at a time."""
        key = tuple(sorted(set(labels)))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._sets)
            # In this order: who finds a number under a label finds its set too.
            self._sets.append(key)
            for label in key:
                self._with_label.setdefault(label, []).append(number)
        return number

    def labels_of(self, number: int) -> tuple[int, ...]:
        """The labels of a set, ascending."""
        return self._sets[number]

    def having_any(self, labels: Iterable[int]) -> Mask:
        """True for the numbers of the sets with at least one of these labels."""
        found = [n for label in labels for n in self._with_label.get(label, ())]
        mask = np.zeros(len(self._sets), dtype=np.bool_)
        mask[found] = True
        return mask

    def everything(self) -> Mask:
        """True for the numbers of all sets."""
        return np.ones(len(self._sets), dtype=np.bool_)

    def numbers_of(
        self, *, providers: IndexArray, labels: AmountArray, provider_count: int
    ) -> IndexArray:
        """For each provider the number of its set, from pairs in any order.

        Pairs with a negative provider are left out.
        """
        known = providers >= 0
        owners, labels = providers[known], labels[known]
        order = np.lexsort((labels, owners))
        owners, labels = owners[order], labels[order]
        numbers = np.zeros(provider_count, dtype=np.int32)
        linked, starts = np.unique(owners, return_index=True)
        ends = [*starts.tolist(), owners.size][1:]
        seen: dict[bytes, int] = {}
        for owner, start, end in zip(linked.tolist(), starts.tolist(), ends, strict=True):
            key = labels[start:end].tobytes()
            number = seen.get(key)
            if number is None:
                number = seen[key] = self.number_of(labels[start:end].tolist())
            numbers[owner] = number
        return numbers


def covering(sets: LabelSets, any_ofs: Iterable[Sequence[int]]) -> Mask:
    """True for the numbers of the sets with at least one label of each of the choices."""
    mask = sets.everything()
    for any_of in any_ofs:
        having = sets.having_any(any_of)
        # A set may have been added between two looks: the snapshot at hand does not name it.
        mask = mask[: having.size] & having[: mask.size]
    return mask
