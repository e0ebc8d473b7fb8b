"""Leases: what is claimed for a time is freed once, or kept; and who else changes it is heard."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from moorage.candidates.gang import Gang
from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.domain.ids import ConsumerUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.origin import Origin
from moorage.domain.refusals import UnknownConsumer, UnknownLease
from moorage.operations.change_lease import make_permanent, renew
from moorage.operations.expire_leases import LEASES_AT_ONCE_MAX, expire_leases
from moorage.operations.make_claims import Claimant, ClaimOrder, make_claims
from moorage.operations.release import release
from moorage.operations.services import Services
from moorage.operations.standing_claims import show_claim
from tests.claims.cloud import CLAIMS, Cloud
from tests.moves.breaking import POINTS_MAX, Broken, breaking, everything
from tests.support.books import (
    add_host,
    claim_for,
    find_faults,
    hold,
    new_uuid,
    services_on,
)
from tests.support.world import new_uuid as another_uuid

NOON = datetime.fromisoformat("2026-01-02T12:00:00")
VCPU = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))


@dataclass
class Leased:
    """Consumers with leases on one host, and a clock that stands until it is moved."""

    services: Services
    host: ProviderUuid

    def origin(self, *, s: float = 0) -> Origin:
        """A request so many seconds after noon."""
        return Origin(f"req-{new_uuid()}", None, None, None, NOON + timedelta(seconds=s))

    def claim(self, *consumers: str, lease_s: int | None, s: float = 0) -> Sequence[ConsumerUuid]:
        uuids = tuple(map(ConsumerUuid, consumers or (new_uuid(),)))
        order = ClaimOrder(
            claimants=tuple(Claimant(uuid, "project", "user", "INSTANCE") for uuid in uuids),
            gang=Gang((VCPU,) * len(uuids)),
            alternates=0,
            lease_s=lease_s,
            digest=new_uuid(),
        )
        made = make_claims(self.services, order, self.origin(s=s))
        return [claim.consumer for claim in made.claims]

    def expire(self, *, s: float) -> int:
        return expire_leases(self.services, self.origin(s=s))

    def holds(self, consumer: str) -> bool:
        try:
            show_claim(self.services, consumer)
        except UnknownConsumer:
            return False
        return True

    def journal(self, consumer: str) -> list[str]:
        """The kinds of changes that a consumer has seen."""
        query = text("SELECT kind FROM moorage_journal WHERE subject = :it ORDER BY id")
        return [row.kind for row in self.services.store.read(query, {"it": consumer})]

    def leases(self) -> int:
        count = text("SELECT COUNT(*) AS n FROM moorage_leases")
        return int(self.services.store.read(count)[0].n)


@pytest.fixture
def leased(services: Services) -> Leased:
    return Leased(services, add_host(services, {"VCPU": Inventory(1_000)}))


def test_a_lease_frees_what_was_claimed_when_its_time_is_over(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    assert show_claim(leased.services, consumer).expires_at == NOON + timedelta(seconds=60)
    assert leased.expire(s=59.9) == 0
    assert leased.holds(consumer)
    assert leased.expire(s=60) == 1
    assert not leased.holds(consumer)
    assert leased.expire(s=61) == 0
    assert leased.journal(consumer) == [
        "allocation.set",
        "claim.made",
        "allocation.delete",
        "lease.expired",
    ]
    assert find_faults(leased.services) == []
    assert leased.services.keeper.current().resources_of(0) == {"VCPU": (1_000, 0)}


def test_the_journal_says_of_which_claim_the_lease_was(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    leased.expire(s=60)
    query = text(
        """SELECT kind, request_id, j.before FROM moorage_journal j
           WHERE subject = :it AND kind IN ('claim.made', 'lease.expired') ORDER BY id"""
    )
    made, expired = leased.services.store.read(query, {"it": consumer})
    told: Any = msgspec.json.decode(expired.before)
    assert told == {"expires_at": "2026-01-02T12:01:00Z", "claim": made.request_id}
    assert expired.request_id != made.request_id


def test_a_claim_without_a_lease_stays(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=None)
    assert leased.expire(s=10**9) == 0
    assert leased.holds(consumer)


def test_a_renewed_lease_lasts_from_the_renewal_on(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    renew(leased.services, consumer=consumer, lease_s=100, origin=leased.origin(s=50))
    assert leased.expire(s=149) == 0
    assert leased.expire(s=150) == 1
    assert not leased.holds(consumer)
    assert leased.journal(consumer)[2] == "lease.renewed"


def test_a_lease_may_be_shortened(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    renew(leased.services, consumer=consumer, lease_s=1, origin=leased.origin())
    assert leased.expire(s=1) == 1


def test_a_lease_whose_time_is_over_may_be_renewed_until_it_has_freed(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    renew(leased.services, consumer=consumer, lease_s=60, origin=leased.origin(s=70))
    assert leased.expire(s=100) == 0
    assert leased.expire(s=130) == 1
    with pytest.raises(UnknownLease):
        renew(leased.services, consumer=consumer, lease_s=60, origin=leased.origin(s=131))


def test_a_permanent_claim_has_no_lease_any_more(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    make_permanent(leased.services, consumer=consumer, origin=leased.origin())
    assert leased.expire(s=10**6) == 0
    assert show_claim(leased.services, consumer).expires_at is None
    assert leased.journal(consumer)[-1] == "lease.ended"
    with pytest.raises(UnknownLease):
        make_permanent(leased.services, consumer=consumer, origin=leased.origin())


def test_what_was_changed_through_placements_api_is_kept_for_good(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    hold(leased.services, claim_for(consumer, {leased.host: {"VCPU": 5}}, generation=1))
    assert show_claim(leased.services, consumer).expires_at is None
    with pytest.raises(UnknownLease):
        renew(leased.services, consumer=consumer, lease_s=60, origin=leased.origin())
    assert leased.expire(s=60) == 1
    assert leased.holds(consumer)
    assert leased.journal(consumer)[-1] == "lease.lapsed"
    assert leased.expire(s=61) == 0
    assert find_faults(leased.services) == []


def test_a_lease_of_a_consumer_that_was_deleted_lapses(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    release(leased.services, consumer=consumer, origin=leased.origin())
    with pytest.raises(UnknownLease):
        make_permanent(leased.services, consumer=consumer, origin=leased.origin())
    assert leased.expire(s=60) == 1
    assert leased.journal(consumer)[-1] == "lease.lapsed"
    assert leased.leases() == 0


@pytest.mark.parametrize("by_claim", [True, False])
def test_who_claims_for_a_consumer_anew_does_not_inherit_its_lease(
    leased: Leased, *, by_claim: bool
) -> None:
    (consumer,) = leased.claim(lease_s=60)
    release(leased.services, consumer=consumer, origin=leased.origin(s=1))
    if by_claim:
        leased.claim(consumer, lease_s=None, s=2)
    else:
        hold(leased.services, claim_for(consumer, {leased.host: {"VCPU": 1}}))
    assert show_claim(leased.services, consumer).generation == 1
    assert leased.expire(s=60) == 1
    assert leased.holds(consumer)
    assert leased.journal(consumer)[-1] == "lease.lapsed"


def test_what_another_service_changed_in_the_meantime_is_kept(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    # As Placement does it, which has served on this database for a time: no journal.
    change = text("UPDATE consumers SET generation = generation + 1 WHERE uuid = :it")
    with leased.services.store.writer.begin() as connection:
        connection.execute(change, {"it": consumer})
    assert show_claim(leased.services, consumer).expires_at is None
    with pytest.raises(UnknownLease):
        renew(leased.services, consumer=consumer, lease_s=60, origin=leased.origin())
    assert leased.expire(s=60) == 1
    assert leased.holds(consumer)
    assert leased.journal(consumer)[-1] == "lease.lapsed"


def test_a_new_lease_takes_the_place_of_an_old_one(leased: Leased) -> None:
    (consumer,) = leased.claim(lease_s=60)
    release(leased.services, consumer=consumer, origin=leased.origin(s=1))
    leased.claim(consumer, lease_s=100, s=2)
    assert leased.expire(s=60) == 0
    assert leased.expire(s=102) == 1
    assert not leased.holds(consumer)


def test_each_of_a_gang_has_a_lease_of_its_own(leased: Leased) -> None:
    first, second = leased.claim(new_uuid(), new_uuid(), lease_s=60)
    make_permanent(leased.services, consumer=first, origin=leased.origin())
    assert leased.expire(s=60) == 1
    assert (leased.holds(first), leased.holds(second)) == (True, False)


def test_many_leases_end_in_parts(leased: Leased) -> None:
    for _ in range(2):
        leased.claim(*(new_uuid() for _ in range(LEASES_AT_ONCE_MAX)), lease_s=60)
    (kept,) = leased.claim(lease_s=90)
    ended = [leased.expire(s=60) for _ in range(3)]
    assert ended == [LEASES_AT_ONCE_MAX, LEASES_AT_ONCE_MAX, 0]
    assert leased.holds(kept)
    assert find_faults(leased.services) == []
    snapshot = leased.services.keeper.current()
    assert snapshot.resources_of(0) == {"VCPU": (1_000, 1)}


def test_two_runners_at_once_free_once(leased: Leased) -> None:
    consumers = leased.claim(*(new_uuid() for _ in range(20)), lease_s=60)
    others = replace(leased, services=services_on(leased.services.store))
    ended: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: ended.append(one.expire(s=60)))
        for one in (leased, others, leased, others)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ended) == 20
    for consumer in consumers:
        assert leased.journal(consumer).count("lease.expired") == 1
    assert find_faults(leased.services) == []


def test_leases_whose_end_breaks_anywhere_have_not_ended_and_end_in_the_next_turn(
    leased: Leased, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumers = [leased.claim(lease_s=60)[0] for _ in range(2)]
    before = (everything(leased.services), leased.leases())
    for after in range(POINTS_MAX):
        with breaking(monkeypatch, after) as sent:
            try:
                assert leased.expire(s=60) == 2
            except Broken:
                assert (everything(leased.services), leased.leases()) == before
                continue
        assert sent[-1] == "COMMIT"
        break
    assert after > 3
    assert not any(leased.holds(consumer) for consumer in consumers)
    assert leased.leases() == 0
    assert leased.expire(s=120) == 0
    assert [leased.journal(consumer).count("lease.expired") for consumer in consumers] == [1, 1]
    assert find_faults(leased.services) == []


def test_renewing_and_expiring_at_once_do_not_both_win(leased: Leased) -> None:
    for _ in range(10):
        (consumer,) = leased.claim(lease_s=60)
        renewed: list[bool] = []

        def renew_late(consumer: str = consumer, renewed: list[bool] = renewed) -> None:
            try:
                renew(leased.services, consumer=consumer, lease_s=60, origin=leased.origin(s=60))
            except UnknownLease:
                renewed.append(False)
            else:
                renewed.append(True)

        thread = threading.Thread(target=renew_late)
        thread.start()
        leased.expire(s=60)
        thread.join()
        assert leased.holds(consumer) == renewed[0]
        leased.expire(s=10_000)
    assert find_faults(leased.services) == []


def test_leases_are_renewed_and_ended_through_the_api(cloud: Cloud) -> None:
    cloud.host()
    consumer = another_uuid()
    claimed = cloud.claim("resources=VCPU:1", consumer, expires_in_s=600).json["claims"][0]
    assert claimed["expires_at"].endswith("Z")
    lease = f"{CLAIMS}/{consumer}/lease"
    renewed = cloud.own.put(lease, {"expires_in_s": 3600})
    assert renewed.status == 200
    assert renewed.json["expires_at"] > claimed["expires_at"]
    shown = cloud.own.get(f"{CLAIMS}/{consumer}").json
    assert shown["claim"]["expires_at"] == renewed.json["expires_at"]
    assert cloud.own.delete(lease).status == 204
    assert cloud.own.get(f"{CLAIMS}/{consumer}").json["claim"]["expires_at"] is None
    for answer in (cloud.own.delete(lease), cloud.own.put(lease, {"expires_in_s": 1})):
        assert (answer.status, answer.code) == (404, "moorage.unknown_lease")
    assert cloud.own.put(lease, {"expires_in_s": 0}).status == 400
