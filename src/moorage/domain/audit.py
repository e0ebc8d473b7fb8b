"""The auditor's checks of the books against themselves."""

from collections.abc import Iterator, Mapping

import numpy as np

from moorage.domain.audit_credits import credited_by_slot
from moorage.domain.audited import (
    AuditedBooks,
    AuditRules,
    Flags,
    Units,
    key_of,
    look_up,
    slot_of,
)
from moorage.domain.findings import (
    Confidence,
    Diff,
    Doubt,
    Finding,
    Holds,
    Kind,
    Owner,
    TotalDiff,
    TotalRemedy,
)
from moorage.domain.survey import SEVERITIES, Survey

CERTAIN, LIKELY, UNKNOWN = Confidence.CERTAIN, Confidence.LIKELY, Confidence.UNKNOWN


def find_total_faults(survey: Survey) -> Iterator[Finding]:
    """Running totals that are not the sums, and usage above capacity.

    The books must hold all allocations of the slots that they have stocks of.
    """
    books, stocks = survey.books, survey.books.stocks
    allocated = look_up(stocks.keys, *books.allocated)
    used = allocated - _credited(survey)
    both = stocks.has_inventory & stocks.has_total
    faults = (
        (Kind.TOTAL_WRONG, both & (stocks.total != used)),
        (Kind.TOTAL_MISSING, stocks.has_inventory & ~stocks.has_total),
        (Kind.TOTAL_EXTRA, stocks.has_total & ~stocks.has_inventory),
        (Kind.OVER_CAPACITY, stocks.has_inventory & (used > stocks.capacity)),
    )
    for kind, places in faults:
        for place in np.flatnonzero(places):
            yield _stock_finding(books, kind, int(place), int(allocated[place]), int(used[place]))


def _credited(survey: Survey) -> Units:
    credited = credited_by_slot(survey)
    slots = sorted(credited, key=key_of)
    keys = np.array([key_of(slot) for slot in slots], dtype=np.int64)
    units = np.array([credited[slot] for slot in slots], dtype=np.int64)
    return look_up(survey.books.stocks.keys, keys, units)


_STOCK_SAYS = {
    Kind.TOTAL_WRONG: "the running total is not the sum of the allocations",
    Kind.TOTAL_MISSING: "the inventory has no running total, so nothing can be claimed of it",
    Kind.TOTAL_EXTRA: "there is a running total of an inventory that is gone",
    Kind.OVER_CAPACITY: "more is in use than there is",
}


def _stock_finding(books: AuditedBooks, kind: Kind, place: int, held: int, used: int) -> Finding:
    slot = slot_of(books.stocks.keys[place])
    name = books.place(slot)
    total = int(books.stocks.total[place]) if books.stocks.has_total[place] else None
    evidence = {
        "allocated": held,
        "credited": held - used,
        "total": total,
        "capacity": int(books.stocks.capacity[place])
        if books.stocks.has_inventory[place]
        else None,
    }
    remedy, diff = None, Diff()
    if kind is not Kind.OVER_CAPACITY:
        becomes = None if kind is Kind.TOTAL_EXTRA else used
        remedy = TotalRemedy(slot, becomes)
        diff = Diff(totals=(TotalDiff(name, total, becomes),))
    subject = f"{name.provider}/{name.resource_class}"
    says = _STOCK_SAYS[kind]
    return Finding(kind, subject, CERTAIN, SEVERITIES[kind], says, evidence, remedy, diff)


def find_broken_holdings(
    survey: Survey, rules: AuditRules, owners: Mapping[str, Owner]
) -> Iterator[Finding]:
    """Allocations that lack their provider, inventory or consumer; consumers that hold nothing.

    Args:
        owners: whom consumers belong to, as far as somebody else has told.
    """
    books = survey.books
    stocks, keys = books.stocks, books.holdings.keys
    no_provider: Flags = survey.root == 0
    listed = stocks.keys[stocks.has_inventory]
    stocked = np.isin(keys, listed)
    for position in np.unique(books.holdings.consumer[no_provider]):
        yield _unstocked(survey, int(position), Kind.NO_PROVIDER, no_provider)
    no_inventory = ~no_provider & ~stocked
    for position in np.unique(books.holdings.consumer[no_inventory]):
        yield _unstocked(survey, int(position), Kind.NO_INVENTORY, no_inventory)
    for position, consumer in enumerate(books.consumers):
        if consumer.id is None:
            yield _without_consumer(survey, position, owners)
        elif not len(survey.rows_of(position)):
            yield _empty(survey, position, rules)


def _unstocked(survey: Survey, position: int, kind: Kind, lost: Flags) -> Finding:
    """Allocations of a consumer on what does not exist: no capacity comes free without them."""
    rows = survey.rows_of(position)
    gone = {slot_of(survey.books.holdings.keys[row]) for row in rows if lost[row]}
    held = survey.held(position)
    keeps = {slot: amount for slot, amount in held.items() if slot not in gone}
    # An inventory may come back, reported anew by its host; a provider's row id never does.
    confidence = CERTAIN if kind is Kind.NO_PROVIDER else LIKELY
    lacking = "a provider" if kind is Kind.NO_PROVIDER else "an inventory"
    consumer = survey.books.consumers[position]
    return survey.finding(
        kind,
        consumer,
        confidence,
        f"it holds something of {lacking} that does not exist",
        evidence={"held": survey.readable({slot: held[slot] for slot in gone})},
        # A consumer without a row is mended first: its allocations belong to nobody yet. One in a
        # move that was ordered is its client's, and may still leave this behind by itself.
        holds=()
        if consumer.id is None or consumer.uuid in survey.in_ordered_moves
        else (survey.holds(position, keeps),),
    )


def _without_consumer(survey: Survey, position: int, owners: Mapping[str, Owner]) -> Finding:
    consumer = survey.books.consumers[position]
    held = survey.held(position)
    return survey.finding(
        Kind.NO_CONSUMER,
        consumer,
        CERTAIN,
        "there are allocations of a consumer that has no row: no client can see or free them",
        evidence={"held": survey.readable(held)},
        holds=(Holds(consumer.uuid, held, None, owners.get(consumer.uuid)),),
    )


def _empty(survey: Survey, position: int, rules: AuditRules) -> Finding:
    consumer = survey.books.consumers[position]
    # Other services write a consumer first and its allocations later.
    young = rules.is_young(consumer.touched_at)
    return survey.finding(
        Kind.EMPTY_CONSUMER,
        consumer,
        UNKNOWN if young else CERTAIN,
        "there is a consumer that holds nothing",
        evidence={"unknown_because": Doubt.YOUNG} if young else {},
        holds=(survey.holds(position, {}),),
    )


def positions_on_two_trees(survey: Survey) -> list[int]:
    """Consumers that hold on several trees, pools apart."""
    on_tree = ~survey.on_pool & (survey.root > 0)
    pairs = np.unique(
        np.stack([survey.books.holdings.consumer[on_tree], survey.root[on_tree]]), axis=1
    )
    consumers, counts = np.unique(pairs[0], return_counts=True)
    return [int(position) for position in consumers[counts > 1]]


def find_two_trees(survey: Survey, rules: AuditRules) -> Iterator[Finding]:
    """Consumers that hold on two trees, as an evacuation leaves them; which one is stale?

    The books do not know where a server runs, so there is no remedy without the outside truth.
    """
    for position in positions_on_two_trees(survey):
        consumer = survey.books.consumers[position]
        doubt = None
        if consumer.uuid in survey.in_ordered_moves:
            doubt = Doubt.IN_FLIGHT
        elif rules.is_young(consumer.touched_at):
            doubt = Doubt.YOUNG
        yield two_trees_finding(survey, position, doubt)


def two_trees_finding(
    survey: Survey,
    position: int,
    doubt: Doubt | None,
    *,
    confidence: Confidence = LIKELY,
    holds: tuple[Holds, ...] = (),
    **evidence: object,
) -> Finding:
    """What is said of a consumer on two trees."""
    return survey.finding(
        Kind.TWO_TREES,
        survey.books.consumers[position],
        confidence if doubt is None else UNKNOWN,
        "it holds on several trees at once, as an evacuation leaves it until its old host is back",
        evidence={
            "trees": survey.tree_names(survey.trees(position)),
            "held": survey.readable(survey.held(position)),
            **evidence,
            **({} if doubt is None else {"unknown_because": doubt}),
        },
        holds=holds,
    )
