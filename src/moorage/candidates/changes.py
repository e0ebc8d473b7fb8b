"""From a snapshot to the one that follows, at the cost of what has changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moorage.candidates.blocks import (
    BLOCK_BITS,
    BLOCK_SIZE,
    Block,
    by_block,
    replaced,
    split_rows,
    stocks_of,
)
from moorage.candidates.columns import IndexArray, Mask, extended, frozen, table, whole
from moorage.candidates.lending import Lending
from moorage.candidates.rows import ProviderRow, Rows
from moorage.candidates.snapshot import (
    Snapshot,
    block_of,
    label_aggregates,
    next_stamp,
    sharing_among,
)
from moorage.candidates.trees import Shape, roots_of, shapes_of, with_trees
from moorage.domain.ids import ResourceClassId, TraitId


def with_changes(snapshot: Snapshot, touched: Iterable[int], rows: Rows) -> Snapshot:
    """The snapshot with these providers as the rows tell, all else unchanged.

    Args:
        touched: ids of the providers that may have changed, come or gone.
        rows: everything about those that exist, all of one moment; and all names.
    """
    named = with_names(snapshot, rows)
    cast = assign(named, sorted(set(touched)), list(rows.providers))
    if not cast.changed:
        return named
    grown = with_places(named, cast)
    labelled = with_labels(grown, cast, rows)
    blocked = replace(labelled, blocks=changed_blocks(labelled, cast, rows))
    return with_lending(named, blocked)


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """Who a change is about.

    ``present``: position -> the row that it has now. ``gone``: the positions of those that were
    deleted. New providers have the positions from ``first_new`` on, in id order.
    """

    present: Mapping[int, ProviderRow]
    gone: Sequence[int]
    first_new: int

    @property
    def changed(self) -> Sequence[int]:
        return [*self.present, *self.gone]

    @property
    def newcomers(self) -> Sequence[ProviderRow]:
        return [row for at, row in self.present.items() if at >= self.first_new]


def assign(snapshot: Snapshot, touched: Sequence[int], rows: Iterable[ProviderRow]) -> Cast:
    """Give new providers their positions."""
    by_id = {row.id: row for row in rows}
    present: dict[int, ProviderRow] = {}
    gone = []
    new = []
    for key in sorted({*touched, *by_id}):
        at, row = snapshot.positions_by_id.get(key), by_id.get(key)
        # SQLite gives the id of the youngest provider, once deleted, to the next one.
        same = at is not None and row is not None and snapshot.uuids[at] == row.uuid
        if at is not None and row is not None and same:
            present[at] = row
            continue
        if at is not None:
            gone.append(at)
        if row is not None:
            new.append(row)
    first_new = len(snapshot)
    present.update({first_new + order: row for order, row in enumerate(new)})
    return Cast(present, gone, first_new)


def with_names(snapshot: Snapshot, rows: Rows) -> Snapshot:
    """The snapshot with the classes and traits that exist now."""
    named = snapshot
    if rows.class_names != snapshot.class_names or rows.class_ages != snapshot.class_ages:
        stamp = next_stamp()
        named = replace(
            named,
            class_names=rows.class_names,
            class_ids={name: ResourceClassId(key) for key, name in rows.class_names.items()},
            class_ages=rows.class_ages,
            blocks=tuple(block.with_class_names(rows.class_names, stamp) for block in named.blocks),
        )
    if rows.trait_names != snapshot.trait_names or rows.trait_ages != snapshot.trait_ages:
        named = replace(
            named,
            trait_names=rows.trait_names,
            trait_ids={name: TraitId(key) for key, name in rows.trait_names.items()},
            trait_ages=rows.trait_ages,
        )
    return named


def with_places(snapshot: Snapshot, cast: Cast) -> Snapshot:
    """The snapshot with the providers themselves: who exists, their names and their trees."""
    newcomers = cast.newcomers
    if not newcomers and not cast.gone:
        return with_links(snapshot, replace(snapshot, names=renamed(snapshot, cast)), cast)
    alive = extended(snapshot.alive, len(newcomers), True)
    alive[cast.gone] = False
    positions = snapshot.positions.with_changes(
        {row.uuid: cast.first_new + order for order, row in enumerate(newcomers)},
        [snapshot.uuids[at] for at in cast.gone],
    )
    by_id = snapshot.positions_by_id.with_changes(
        {row.id: cast.first_new + order for order, row in enumerate(newcomers)},
        [int(snapshot.ids[at]) for at in cast.gone],
    )
    ids = extended(snapshot.ids, len(newcomers), 0)
    ids[cast.first_new :] = [row.id for row in newcomers]
    placed = replace(
        snapshot,
        uuids=grown(snapshot.uuids, cast.first_new, [row.uuid for row in newcomers]),
        names=renamed(snapshot, cast),
        ids=frozen(ids),
        alive=frozen(alive),
        alive_count=snapshot.alive_count + len(newcomers) - len(cast.gone),
        positions=positions,
        positions_by_id=by_id,
    )
    return with_links(snapshot, placed, cast)


def grown(names: Sequence[str], size: int, added: Sequence[str]) -> Sequence[str]:
    """The list with more names behind the ``size`` that are its own.

    All snapshots that follow from one another share one list; but from one snapshot two may
    follow, and only the first of them can write on.
    """
    assert isinstance(names, list)
    if len(names) != size:
        names = names[:size]
    names.extend(added)
    return names


def renamed(snapshot: Snapshot, cast: Cast) -> Sequence[str]:
    """The names by position."""
    names = grown(snapshot.names, cast.first_new, [row.name for row in cast.newcomers])
    others = {
        at: row.name
        for at, row in cast.present.items()
        if at < cast.first_new and names[at] != row.name
    }
    if not others:
        return names
    copied = list(names)
    for at, name in others.items():
        copied[at] = name
    return copied


def with_links(before: Snapshot, placed: Snapshot, cast: Cast) -> Snapshot:
    """The snapshot with the parents, roots and shapes of the trees that have changed."""
    count = len(placed) - cast.first_new
    parents = extended(before.parents, count, -1)
    parents[cast.gone] = -1
    above = positions_by_ids(
        placed, [-1 if row.parent_id is None else row.parent_id for row in cast.present.values()]
    )
    parents[list(cast.present)] = above
    if not count and not cast.gone and np.array_equal(parents, before.parents):
        return placed
    linked, roots = rooted(before, parents, is_calm=not cast.gone)
    # Who has come, gone or got another parent; with the roots before and after: their trees.
    moved = np.ones(len(placed), dtype=np.bool_)
    moved[: cast.first_new] = (linked[: cast.first_new] != before.parents) | (
        roots[: cast.first_new] != before.roots
    )
    moved[cast.gone] = True
    return replace(
        placed,
        parents=frozen(linked),
        roots=frozen(roots),
        structure=next_stamp(),
        shapes=changed_shapes(before, moved, alive=placed.alive, parents=linked, roots=roots),
    )


def rooted(
    before: Snapshot, parents: IndexArray, *, is_calm: bool
) -> tuple[IndexArray, IndexArray]:
    """The parents without loops, and the roots.

    Where nobody has gone (``is_calm``) or moved, the roots of newcomers are all that is new.
    """
    size = len(before)
    added = parents[size:]
    if is_calm and (added < size).all() and np.array_equal(parents[:size], before.parents):
        own = np.arange(size, parents.size, dtype=np.int32)
        above = before.roots[np.maximum(added, 0)] if size else own
        return parents, np.concatenate([before.roots, np.where(added < 0, own, above)])
    return roots_of(parents)


def changed_shapes(
    before: Snapshot, moved: Mask, *, alive: Mask, parents: IndexArray, roots: IndexArray
) -> Sequence[Shape]:
    """The shapes once the trees of some providers, before and now, are seen anew."""
    affected = np.zeros(roots.size, dtype=np.bool_)
    affected[roots[moved]] = True
    affected[before.roots[moved[: len(before)]]] = True
    members = np.flatnonzero(affected[roots] & alive).astype(np.int32)
    coming = shapes_of(members, parents=parents, roots=roots)
    return with_trees(before.shapes, leaving=affected, coming=coming)


def with_labels(snapshot: Snapshot, cast: Cast, rows: Rows) -> Snapshot:
    """The snapshot with the traits and aggregates of the changed providers."""
    traits = {links.provider_id: links.trait_ids for links in rows.traits}
    assert isinstance(snapshot.aggregate_labels, dict)
    assert isinstance(snapshot.aggregate_uuids, list)
    aggregates: dict[int, list[int]] = {}
    links = label_aggregates(rows.aggregates, snapshot.aggregate_labels, snapshot.aggregate_uuids)
    for provider_id, label in links.tolist():
        aggregates.setdefault(provider_id, []).append(label)
    count = len(snapshot) - cast.first_new
    trait_sets = extended(snapshot.trait_sets, count, 0)
    aggregate_sets = extended(snapshot.aggregate_sets, count, 0)
    trait_sets[cast.gone] = aggregate_sets[cast.gone] = 0
    for at, row in cast.present.items():
        trait_sets[at] = snapshot.traits.number_of(traits.get(row.id, ()))
        aggregate_sets[at] = snapshot.aggregates.number_of(aggregates.get(row.id, ()))
    return replace(
        snapshot,
        trait_sets=unless_same(snapshot.trait_sets, trait_sets),
        aggregate_sets=unless_same(snapshot.aggregate_sets, aggregate_sets),
    )


def unless_same(before: IndexArray, after: IndexArray) -> IndexArray:
    """The new column, or the old one where both are equal."""
    return before if np.array_equal(before, after) else frozen(after)


def changed_blocks(snapshot: Snapshot, cast: Cast, rows: Rows) -> tuple[Block, ...]:
    """The blocks with what the changed providers have now."""
    offered, taken = table(rows.inventories, width=9), table(rows.usages, width=3)
    inventories = split_rows(offered, positions_by_ids(snapshot, whole(offered[:, 0]).tolist()))
    usages = split_rows(taken, positions_by_ids(snapshot, whole(taken[:, 0]).tolist()))
    stamp = next_stamp()
    blocks = list(snapshot.blocks)
    for number, offsets in sorted(by_block(sorted(cast.changed)).items()):
        first = number << BLOCK_BITS
        told = [(at, cast.present.get(first + at)) for at in offsets]
        coming = stocks_of(inventories.get(number, {}), usages.get(number, {}), rows.class_names)
        if number == len(blocks):
            blocks.append(block_of(first, [row for _, row in told if row], coming, stamp))
            continue
        leaving = np.zeros(BLOCK_SIZE, dtype=np.bool_)
        leaving[offsets] = True
        block = with_rows(blocks[number], told, stamp)
        blocks[number] = replace(block, stocks=replaced(block.stocks, leaving, coming))
    return tuple(blocks)


def with_rows(block: Block, told: Sequence[tuple[int, ProviderRow | None]], stamp: int) -> Block:
    """The block with other generations, longer where providers have come."""
    count = sum(at >= len(block) for at, _ in told)
    generations = extended(block.generations, count, 0)
    modified = extended(block.modified, count, np.datetime64(0, "us"))
    stamps = extended(block.stamps, count, stamp)
    for at, row in told:
        stamps[at] = stamp
        if row is not None:
            generations[at] = row.generation
            modified[at] = np.datetime64(row.modified_at, "us")
    return replace(
        block,
        generations=frozen(generations),
        modified=frozen(modified),
        stamps=frozen(stamps),
    )


def positions_by_ids(snapshot: Snapshot, ids: Sequence[int]) -> IndexArray:
    """The positions of providers, -1 for those that do not exist."""
    found = [snapshot.positions_by_id.get(key) for key in ids]
    return np.array([-1 if at is None else at for at in found], dtype=np.int32)


def with_lending(before: Snapshot, after: Snapshot) -> Snapshot:
    """The snapshot with what its sharing providers lend, the same where nothing bears on it."""
    sharing = before.sharing
    if after.trait_sets is not before.trait_sets or after.trait_names is not before.trait_names:
        sharing = sharing_among(after.trait_names, after.traits, after.trait_sets)
    if (
        np.array_equal(sharing, before.sharing)
        and after.roots is before.roots
        and after.aggregate_sets is before.aggregate_sets
    ):
        return after
    lending = Lending(
        sharing,
        roots=after.roots,
        aggregates=after.aggregates,
        aggregate_sets=after.aggregate_sets,
    )
    return replace(after, lending=lending)
