"""The provider trees by their shape, so that what holds for one of a shape is asked of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moorage.candidates.columns import IndexArray, Mask, frozen

Parents = tuple[int, ...]
"""For each member of a tree its parent among the members; the root comes first and has -1."""

DEPTH_BITS_MAX: Final = 32
"""Steps of pointer doubling after which every provider outside of a loop has found its root."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """All trees whose members hang below each other in the same way.

    ``members``: a row for each tree, ascending by root, with the positions of its members, level
    by level from the root; the members of a level in the order of their parents.
    """

    parents: Parents
    members: IndexArray

    @property
    def roots(self) -> IndexArray:
        roots: IndexArray = self.members[:, 0]
        return roots


def shapes_of(providers: IndexArray, *, parents: IndexArray, roots: IndexArray) -> Sequence[Shape]:
    """The shapes of whole trees with these members.

    Args:
        parents, roots: for every position of the snapshot.
    """
    ranks = rank_members(providers, parents=parents, roots=roots)
    order = np.lexsort((ranks[providers], roots[providers]))
    members = providers[order]
    _, starts, sizes = np.unique(roots[members], return_index=True, return_counts=True)
    local = np.where(parents[members] < 0, -1, ranks[parents[members]]).astype(np.int32)
    shapes: list[Shape] = []
    for size in np.unique(sizes).tolist():
        rows = starts[sizes == size][:, None] + np.arange(size)
        shapes += split_by_parents(local[rows], members[rows])
    return shapes


def split_by_parents(local: IndexArray, members: IndexArray) -> Sequence[Shape]:
    """The shapes among trees of one size; a row of ``local`` for each tree."""
    rows: dict[bytes, list[int]] = {}
    for row, key in enumerate(row_keys(local)):
        rows.setdefault(key, []).append(row)
    return [
        Shape(tuple(local[of_shape[0]].tolist()), frozen(members[of_shape]))
        for of_shape in rows.values()
    ]


def row_keys(matrix: NDArray[Any]) -> list[bytes]:
    """A value for each row of a matrix; equal rows have equal ones."""
    whole = np.ascontiguousarray(matrix)
    width = whole.shape[1] * whole.itemsize
    if not width:
        return [b""] * whole.shape[0]
    keys: list[bytes] = whole.view(f"V{width}").ravel().tolist()
    return keys


def tell_rows_apart(matrix: NDArray[Any]) -> tuple[Sequence[bytes], NDArray[np.intp]]:
    """The values of ``row_keys`` that are different, and for each row the number of its own."""
    if len(matrix) and (matrix == matrix[0]).all():
        return row_keys(matrix[:1]), np.zeros(len(matrix), dtype=np.intp)
    keys = row_keys(matrix)
    places = dict(zip(dict.fromkeys(keys), range(len(keys)), strict=False))
    return list(places), np.fromiter(map(places.__getitem__, keys), dtype=np.intp, count=len(keys))


def rank_members(providers: IndexArray, *, parents: IndexArray, roots: IndexArray) -> IndexArray:
    """The rank of each of these providers within its tree, by position."""
    ranks = np.zeros(parents.size, dtype=np.int32)
    placed = np.zeros(parents.size, dtype=np.int32)
    is_above = np.zeros(parents.size, dtype=np.bool_)
    level = providers[parents[providers] < 0]
    rest = providers[parents[providers] >= 0]
    while level.size:
        above = np.where(parents[level] < 0, 0, ranks[parents[level]])
        level = level[np.lexsort((level, above, roots[level]))]
        trees, starts, counts = np.unique(roots[level], return_index=True, return_counts=True)
        within = np.arange(level.size) - np.repeat(starts, counts)
        ranks[level] = np.repeat(placed[trees], counts) + within
        placed[trees] += counts.astype(np.int32)
        is_above[level] = True
        hangs = is_above[parents[rest]]
        level, rest = rest[hangs], rest[~hangs]
    return ranks


def roots_of(parents: IndexArray) -> tuple[IndexArray, IndexArray]:
    """The parents without loops, and the root of every position.

    The links between providers say which tree one is in, not the root that is written beside
    them. In a loop, which no operation makes, every provider counts as a root.
    """
    own = np.arange(parents.size, dtype=np.int32)
    roots = np.where(parents < 0, own, parents)
    for _ in range(DEPTH_BITS_MAX):
        above = roots[roots]
        if (above == roots).all():
            break
        roots = above
    looped = parents[roots] >= 0
    if looped.any():
        return roots_of(np.where(looped, -1, parents).astype(np.int32))
    return parents, roots


def with_trees(
    shapes: Sequence[Shape], *, leaving: Mask, coming: Sequence[Shape]
) -> Sequence[Shape]:
    """The shapes without the trees of some roots, a mask over positions, and with other trees."""
    by_parents: dict[Parents, Shape] = {}
    for shape in shapes:
        keep = ~leaving[shape.roots]
        if keep.all():
            by_parents[shape.parents] = shape
        elif keep.any():
            by_parents[shape.parents] = Shape(shape.parents, frozen(shape.members[keep]))
    for shape in coming:
        known = by_parents.get(shape.parents)
        members = shape.members if known is None else merged(known.members, shape.members)
        by_parents[shape.parents] = Shape(shape.parents, frozen(members))
    return tuple(by_parents.values())


def merged(some: IndexArray, others: IndexArray) -> IndexArray:
    """The trees of two matrices in the order of their roots."""
    both = np.concatenate([some, others])
    if some[-1, 0] < others[0, 0]:
        return both
    return both[np.argsort(both[:, 0], kind="stable")]


def paths_of(parents: Parents) -> Sequence[frozenset[int]]:
    """For each member itself and all that it hangs below."""
    paths: list[frozenset[int]] = []
    for member, parent in enumerate(parents):
        above: frozenset[int] = paths[parent] if parent >= 0 else frozenset()
        paths.append(above | {member})
    return paths
