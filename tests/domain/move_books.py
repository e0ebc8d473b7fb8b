"""A ledger of two hosts and two pools that they share, for decisions about moves."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import count

from moorage.domain.claim import Absentee, ConsumerClaim, decide_claims
from moorage.domain.ids import (
    ConsumerUuid,
    Generation,
    MoveUuid,
    ProviderId,
    ProviderUuid,
    ResourceClassId,
)
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Ledger, ProviderStock, Slot
from moorage.domain.move import MoveRules, MoveState, Observer

INSTANCE = ConsumerUuid("instance")
MIGRATION = ConsumerUuid("migration")
OTHER = ConsumerUuid("other")
HOST_1, HOST_2, POOL, POOL_2 = (ProviderUuid(f"p{n}") for n in (1, 2, 3, 4))
CPU, DISK = ResourceClassId(0), ResourceClassId(2)
POOL_DISK: Slot = (ProviderId(3), DISK)
POOL_2_DISK: Slot = (ProviderId(4), DISK)
START = datetime(2026, 1, 1)  # noqa: DTZ001 - naive UTC, as everywhere
ABSENTEE = Absentee("nobody's project", "nobody")
NUMBERS = count(1)


def books(*, pool: int = 100) -> Ledger:
    """Two hosts with CPUs, and two pools with disk that they share."""
    stocks = [
        stock(1, HOST_1, "VCPU", CPU, 8),
        stock(2, HOST_2, "VCPU", CPU, 8),
        stock(3, POOL, "DISK_GB", DISK, pool),
        stock(4, POOL_2, "DISK_GB", DISK, pool),
    ]
    return Ledger(
        consumers={},
        providers={one.uuid: one for one in stocks},
        used={(one.id, key): 0 for one in stocks for key in one.class_ids.values()},
        known_classes=frozenset({"VCPU", "DISK_GB"}),
        sharing=frozenset({ProviderId(3), ProviderId(4)}),
    )


def stock(
    key: int, uuid: ProviderUuid, name: str, class_id: ResourceClassId, total: int
) -> ProviderStock:
    return ProviderStock(
        ProviderId(key), uuid, Generation(0), {name: class_id}, {name: Inventory(total)}
    )


def observer(
    request_id: str | None = "req-1", *, after_s: float = 0, rules: MoveRules | None = None
) -> Observer:
    at = START + timedelta(seconds=after_s)
    return Observer(rules or MoveRules(), request_id, at, lambda: MoveUuid(f"move-{next(NUMBERS)}"))


def claim(consumer: ConsumerUuid, **resources: int) -> ConsumerClaim:
    """``p1=2``: two of whatever provider p1 has."""
    names = {HOST_1: "VCPU", HOST_2: "VCPU", POOL: "DISK_GB", POOL_2: "DISK_GB"}
    wanted = {
        ProviderUuid(uuid): {names[ProviderUuid(uuid)]: amount}
        for uuid, amount in resources.items()
    }
    return ConsumerClaim(consumer, wanted, "project", "user", False, None, None)


def decide(ledger: Ledger, *claims: ConsumerClaim, by: Observer | None = None) -> None:
    decide_claims(ledger, claims, ABSENTEE, by or observer())
    check_books(ledger)


def check_books(ledger: Ledger) -> None:
    """Usage is the sum of the allocations less the credits, and fits."""
    total: Counter[Slot] = Counter()
    for consumer in ledger.consumers.values():
        total.update(consumer.held)
    for move in {move.uuid: move for move in ledger.moves.values()}.values():
        assert move.state.is_open
        assert ledger.moves[move.consumer] is ledger.moves[move.hold] is move
        total.subtract(move.credits)
    assert {slot: used for slot, used in ledger.used.items() if used} == {
        slot: amount for slot, amount in total.items() if amount
    }


def pool_use(ledger: Ledger) -> int:
    return ledger.used[POOL_DISK]


def swapped(*, pool: int = 100, amount: int = 20, by: Observer | None = None) -> Ledger:
    """An instance on the first host and the pool whose migration has begun."""
    ledger = books(pool=pool)
    decide(ledger, claim(INSTANCE, p1=2, p3=amount))
    decide(ledger, claim(INSTANCE), claim(MIGRATION, p1=2, p3=amount), by=by)
    return ledger


def states(ledger: Ledger) -> list[MoveState]:
    return [change.after.state for change in ledger.move_changes]
