"""What a search found: positions of providers and what they have in common, no copies of names.

The hot path reads ``CandidatesAnswer.runs()`` and ``summarized()``; ``candidates`` and
``summaries`` show the same as plain values.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moorage.candidates.columns import IndexArray
from moorage.candidates.snapshot import Snapshot
from moorage.domain.ids import ProviderUuid

Amounts = tuple[tuple[str, int], ...]
"""Units by class name."""


@dataclass(frozen=True, slots=True)
class Form:
    """What candidates of one kind have in common: everything but which providers they name.

    ``amounts``: for each place what its provider gives; empty where it gives nothing and stands
    in the mappings alone. ``mappings``: suffix and the places that serve this group, in the order
    of the groups. All providers of a candidate are different. Forms are equal by value, so that
    what was rendered of one may be kept under it.
    """

    amounts: tuple[Amounts, ...]
    mappings: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Candidates of one form, one after the other.

    ``providers``: positions in the snapshot, a row for each candidate, a column for each place.
    """

    form: Form
    providers: IndexArray


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the request.

    ``allocations``: provider uuid -> class name -> units. ``mappings``: suffix -> the providers
    that serve the group.
    """

    allocations: Mapping[ProviderUuid, Mapping[str, int]]
    mappings: Mapping[str, tuple[ProviderUuid, ...]]


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider of a tree that a candidate uses: class name -> (capacity, used), in units."""

    uuid: ProviderUuid
    resources: Mapping[str, tuple[int, int]]
    traits: tuple[str, ...]
    parent_uuid: ProviderUuid | None
    root_uuid: ProviderUuid


class CandidatesAnswer:
    """The candidates in order, found while they are read, and the providers around them."""

    def __init__(self, snapshot: Snapshot, runs: Iterable[Run] = (), *, nested: bool = True):
        """``nested``: the summaries are about whole trees, not just the providers in use."""
        self.snapshot = snapshot
        self._runs = iter(runs)
        self._nested = nested
        self._in_use = np.zeros(len(snapshot), dtype=np.bool_)
        self._candidates: Sequence[Candidate] | None = None

    def shown_in(self, snapshot: Snapshot) -> "CandidatesAnswer":
        """The same answer, its providers as they are in another snapshot of the same positions."""
        return CandidatesAnswer(snapshot, self.runs(), nested=self._nested)

    def runs(self) -> Iterator[Run]:
        """The candidates, to be read once; reading on finds more of them."""
        for run in self._runs:
            if all(run.form.amounts):
                self._in_use[run.providers] = True
            else:
                giving = [place for place, amounts in enumerate(run.form.amounts) if amounts]
                self._in_use[run.providers[:, giving]] = True
            yield run

    def summarized(self) -> IndexArray:
        """The positions of the providers that the summaries are about, ascending.

        Those of all trees that give resources to a candidate; before trees were known (1.29)
        just those that give resources. Candidates that were not read yet are passed over.
        """
        for _ in self.runs():
            pass
        in_use = self._in_use
        if self._nested and not self.snapshot.is_flat:
            roots = np.zeros(len(self.snapshot), dtype=np.bool_)
            roots[self.snapshot.roots[in_use]] = True
            in_use = roots[self.snapshot.roots]
        return in_use.nonzero()[0].astype(np.int32)

    @property
    def candidates(self) -> Sequence[Candidate]:
        """All candidates as plain values; instead of ``runs``."""
        if self._candidates is None:
            self._candidates = [
                candidate_of(self.snapshot, run.form, providers)
                for run in self.runs()
                for providers in run.providers.tolist()
            ]
        return self._candidates

    @property
    def summaries(self) -> Sequence[ProviderSummary]:
        """The summaries as plain values."""
        assert self.candidates is not None  # they are found while they are read, so these first
        return summarize(self.snapshot, self.summarized())


def candidate_of(snapshot: Snapshot, form: Form, providers: Sequence[int]) -> Candidate:
    """The plain value of a candidate with these providers at the form's places."""
    uuids = [ProviderUuid(snapshot.uuids[index]) for index in providers]
    return Candidate(
        allocations={
            uuid: dict(amounts)
            for uuid, amounts in zip(uuids, form.amounts, strict=True)
            if amounts
        },
        mappings={
            suffix: tuple(uuids[place] for place in places) for suffix, places in form.mappings
        },
    )


def summarize(snapshot: Snapshot, providers: IndexArray) -> Sequence[ProviderSummary]:
    """A summary of each provider, in their order, with all its resource classes and traits."""
    resources = resources_of(snapshot, providers)
    traits = traits_of(snapshot, providers)
    uuids = snapshot.uuids
    return [
        ProviderSummary(
            uuid=ProviderUuid(uuids[index]),
            resources=resources[position],
            traits=traits[position],
            parent_uuid=None if parent < 0 else ProviderUuid(uuids[parent]),
            root_uuid=ProviderUuid(uuids[root]),
        )
        for position, (index, parent, root) in enumerate(
            zip(
                providers.tolist(),
                snapshot.parents[providers].tolist(),
                snapshot.roots[providers].tolist(),
                strict=True,
            )
        )
    ]


def resources_of(snapshot: Snapshot, providers: IndexArray) -> Sequence[dict[str, tuple[int, int]]]:
    """For each provider: class name -> (capacity, used)."""
    resources: list[dict[str, tuple[int, int]]] = [{} for _ in range(providers.size)]
    places = np.arange(providers.size)
    for block, inside, offsets in snapshot.split(providers):
        here = places[inside].tolist()
        for stock in block.stocks.values():
            rows, found = stock.rows_of(offsets)
            for row, used, which in zip(
                rows.tolist(), stock.used[rows].tolist(), found.tolist(), strict=True
            ):
                resources[here[which]][stock.resource_class] = (stock.capacity_at(row), used)
    return resources


def traits_of(snapshot: Snapshot, providers: IndexArray) -> Sequence[tuple[str, ...]]:
    """For each provider: the names of its traits, in id order."""
    numbers = snapshot.trait_sets[providers].tolist()
    names = {
        number: tuple(snapshot.trait_names[label] for label in snapshot.traits.labels_of(number))
        for number in set(numbers)
    }
    return [names[number] for number in numbers]
