"""Which sharing providers lend their inventory to which trees."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from moorage.candidates.columns import IndexArray, frozen
from moorage.candidates.labels import LabelSets


@dataclass(frozen=True, slots=True, eq=False)
class LenderSets:
    """The sharing providers that serve each root, as numbered sets; number 0 is the empty one.

    ``numbers``: for each position the set that serves it where it is a root.
    """

    numbers: IndexArray
    lenders: Sequence[tuple[int, ...]]


class Lending:
    """Worked out when it is first asked for; snapshots of the same places and aggregates share it.

    A sharing provider lends to the other trees that have a provider, root or not, in one of its
    own aggregates.
    """

    def __init__(
        self,
        sharing: IndexArray,
        *,
        roots: IndexArray,
        aggregates: LabelSets,
        aggregate_sets: IndexArray,
    ) -> None:
        self.sharing = sharing
        self._roots = roots
        self._aggregates = aggregates
        self._aggregate_sets = aggregate_sets
        self._sets: LenderSets | None = None

    def sets(self) -> LenderSets:
        """The lenders of every root."""
        if self._sets is None:
            self._sets = self._find_sets()
        return self._sets

    def _find_sets(self) -> LenderSets:
        """Split the roots by one lender after the other: those that it serves from the others."""
        numbers = np.zeros(self._roots.size, dtype=np.int32)
        lenders: list[tuple[int, ...]] = [()]
        for lender, anchors in self._served():
            before, which = np.unique(numbers[anchors], return_inverse=True)
            numbers[anchors] = len(lenders) + which
            lenders += [(*lenders[number], lender) for number in before.tolist()]
        return LenderSets(frozen(numbers), lenders)

    def _served(self) -> Iterable[tuple[int, IndexArray]]:
        """Each lender with the roots of the trees that it lends to."""
        order = np.argsort(self._aggregate_sets, kind="stable")
        starts = np.searchsorted(
            self._aggregate_sets[order], np.arange(len(self._aggregates) + 1)
        ).tolist()
        anchors_by_set: dict[int, IndexArray] = {}
        for lender in self.sharing.tolist():
            own_set = int(self._aggregate_sets[lender])
            if own_set not in anchors_by_set:
                labels = self._aggregates.labels_of(own_set)
                having = np.flatnonzero(self._aggregates.having_any(labels)[: len(starts) - 1])
                members = [order[starts[n] : starts[n + 1]] for n in having.tolist()]
                found = np.concatenate(members) if members else order[:0]
                anchors_by_set[own_set] = np.unique(self._roots[found])
            anchors = anchors_by_set[own_set]
            yield lender, anchors[anchors != self._roots[lender]]
