"""Claims decided on a ledger, without a database."""

from dataclasses import replace

import pytest

from moorage.domain.claim import Absentee, ConsumerChange, ConsumerClaim, decide_claims
from moorage.domain.ids import (
    ConsumerId,
    ConsumerUuid,
    Generation,
    ProviderId,
    ProviderUuid,
    ResourceClassId,
)
from moorage.domain.inventory import Inventory
from moorage.domain.ledger import Consumer, Ledger, ProviderStock
from moorage.domain.refusals import (
    CapacityExceeded,
    ConsumerGenerationConflict,
    InventoryMissing,
    Refusal,
    UnitsViolated,
    UnknownAllocationProvider,
    UnknownResourceClass,
)

HOST = ProviderUuid("host")
POOL = ProviderUuid("pool")
ALICE = ConsumerUuid("alice")
BOB = ConsumerUuid("bob")
CPU = (ProviderId(1), ResourceClassId(0))
DISK = (ProviderId(2), ResourceClassId(2))
ABSENTEE = Absentee("nobody's project", "nobody")


def ledger(
    *, cpus: int = 8, disk: int = 100, used: dict[object, int] | None = None, held: int = 0
) -> Ledger:
    """A host with CPUs and a pool with disk; Alice holds ``held`` CPUs at generation 3."""
    totals = {CPU: held, DISK: 0} | (used or {})
    alice = Consumer(
        ConsumerId(1), ALICE, Generation(3), "project", "user", "INSTANCE", {CPU: held}
    )
    return Ledger(
        consumers={ALICE: alice} if held else {},
        providers={
            HOST: stock(ProviderId(1), HOST, {"VCPU": Inventory(cpus)}, {"VCPU": 0}),
            POOL: stock(
                ProviderId(2), POOL, {"DISK_GB": Inventory(disk, step_size=10)}, {"DISK_GB": 2}
            ),
        },
        used=totals,
        known_classes=frozenset({"VCPU", "DISK_GB", "MEMORY_MB"}),
    )


def stock(
    key: ProviderId, uuid: ProviderUuid, inventories: dict[str, Inventory], ids: dict[str, int]
) -> ProviderStock:
    class_ids = {name: ResourceClassId(number) for name, number in ids.items()}
    return ProviderStock(key, uuid, Generation(0), class_ids, inventories)


def claim(
    consumer: ConsumerUuid,
    resources: dict[ProviderUuid, dict[str, int]],
    *,
    generation: int | None = None,
    checks: bool = True,
) -> ConsumerClaim:
    return ConsumerClaim(consumer, resources, "project", "user", checks, generation, "INSTANCE")


def decide(books: Ledger, *claims: ConsumerClaim) -> list[ConsumerChange]:
    return decide_claims(books, claims, ABSENTEE)


def test_a_new_consumer_starts_at_generation_one() -> None:
    books = ledger()
    [change] = decide(books, claim(BOB, {HOST: {"VCPU": 2}}))
    assert change.before is None
    assert change.after is not None
    assert change.after.generation == 1
    assert books.used[CPU] == 2
    assert books.bumps == {ProviderId(1): 1}


def test_a_claim_replaces_what_its_consumer_held() -> None:
    books = ledger(held=6)
    [change] = decide(books, claim(ALICE, {HOST: {"VCPU": 8}}, generation=3))
    assert change.after is not None
    assert change.after.generation == 4
    assert books.used[CPU] == 8


def test_two_consumers_of_one_request_share_what_is_free() -> None:
    books = ledger()
    with pytest.raises(CapacityExceeded):
        decide(books, claim(ALICE, {HOST: {"VCPU": 5}}), claim(BOB, {HOST: {"VCPU": 4}}))


def test_a_swap_frees_before_it_claims() -> None:
    books = ledger(held=8)
    decide(books, claim(ALICE, {}, generation=3), claim(BOB, {HOST: {"VCPU": 8}}))
    assert books.used[CPU] == 8
    assert ALICE not in books.consumers
    assert books.bumps == {ProviderId(1): 1}


def test_a_refused_request_leaves_the_ledger_as_it_was() -> None:
    books = ledger(held=4)
    with pytest.raises(CapacityExceeded):
        decide(books, claim(ALICE, {}, generation=3), claim(BOB, {HOST: {"VCPU": 9}}))
    assert books.used == ledger(held=4).used
    assert books.consumers == ledger(held=4).consumers
    assert books.bumps == {}


@pytest.mark.parametrize("amount", [10, 12])
def test_an_over_full_provider_may_shrink_or_stay_level(amount: int) -> None:
    books = ledger(cpus=8, held=12)
    decide(books, claim(ALICE, {HOST: {"VCPU": amount}}, generation=3))
    assert books.used[CPU] == amount


def test_an_over_full_provider_may_not_grow() -> None:
    with pytest.raises(CapacityExceeded):
        decide(ledger(cpus=8, held=12), claim(ALICE, {HOST: {"VCPU": 13}}, generation=3))


@pytest.mark.parametrize(
    ("stated", "expected"), [(2, 3), (None, 3), (4, 3)], ids=["old", "absent", "future"]
)
def test_a_claim_from_an_outdated_view_is_refused(stated: int | None, expected: int) -> None:
    with pytest.raises(ConsumerGenerationConflict) as refused:
        decide(ledger(held=1), claim(ALICE, {HOST: {"VCPU": 1}}, generation=stated))
    assert refused.value.expected == expected


def test_an_absent_consumer_has_no_generation() -> None:
    with pytest.raises(ConsumerGenerationConflict) as refused:
        decide(ledger(), claim(BOB, {HOST: {"VCPU": 1}}, generation=1))
    assert refused.value.expected is None


def test_a_consumer_row_that_holds_nothing_may_be_claimed_for_as_absent() -> None:
    books = ledger(held=1)
    books.consumers[ALICE] = replace(books.consumers[ALICE], held={})
    books.used[CPU] = 0
    [change] = decide(books, claim(ALICE, {HOST: {"VCPU": 1}}, generation=None))
    assert change.after is not None
    assert change.after.generation == 4


def test_clients_that_cannot_state_a_generation_are_not_held_to_one() -> None:
    decide(ledger(held=1), claim(ALICE, {HOST: {"VCPU": 2}}, checks=False))


def test_a_client_that_cannot_name_a_project_claims_for_the_absentee() -> None:
    anonymous = replace(claim(BOB, {HOST: {"VCPU": 1}}), project_id=None, user_id=None)
    [change] = decide(ledger(), anonymous)
    assert change.after is not None
    assert (change.after.project_id, change.after.user_id) == ("nobody's project", "nobody")


@pytest.mark.parametrize(
    ("resources", "refusal"),
    [
        ({ProviderUuid("nowhere"): {"VCPU": 1}}, UnknownAllocationProvider),
        ({HOST: {"CUSTOM_NOTHING": 1}}, UnknownResourceClass),
        ({HOST: {"MEMORY_MB": 1}}, InventoryMissing),
        ({HOST: {"VCPU": 1, "MEMORY_MB": 1}}, InventoryMissing),
        ({POOL: {"DISK_GB": 15}}, UnitsViolated),
        ({HOST: {"VCPU": 2**31}}, UnitsViolated),
        ({HOST: {"VCPU": 9}}, CapacityExceeded),
    ],
)
def test_each_refusal_has_its_cause(
    resources: dict[ProviderUuid, dict[str, int]], refusal: type[Refusal]
) -> None:
    with pytest.raises(refusal):
        decide(ledger(), claim(BOB, resources))


def test_a_generation_conflict_precedes_an_unknown_provider() -> None:
    with pytest.raises(ConsumerGenerationConflict):
        decide(ledger(), claim(BOB, {ProviderUuid("nowhere"): {"VCPU": 1}}, generation=7))
