"""Claims while the search still shows what somebody has deleted past the journal."""

import pytest

from moorage.candidates.gang import Gang
from moorage.candidates.request import CandidatesRequest, RequestGroup
from moorage.domain.ids import ConsumerUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.refusals import ConsumerHolds, NothingFits
from moorage.operations.make_claims import Claimant, ClaimOrder, make_claims
from moorage.operations.services import Services
from tests.moves.fleet import erase
from tests.support.books import add_host, new_uuid, origin

VCPU = CandidatesRequest((RequestGroup("", (("VCPU", 1),)),))


def claim(services: Services, consumer: str | None = None) -> set[ProviderUuid]:
    consumer = ConsumerUuid(consumer or new_uuid())
    claimant = Claimant(consumer, "project", "user", "INSTANCE")
    order = ClaimOrder((claimant,), Gang((VCPU,)), 0, None, digest=new_uuid())
    (made,) = make_claims(services, order, origin()).claims
    return set(made.placing.allocations)


def test_hosts_that_vanished_without_a_word_are_looked_past(services: Services) -> None:
    hosts = [add_host(services, {"VCPU": Inventory(8)}) for _ in range(5)]
    assert claim(services) == {hosts[0]}
    for host in hosts[:4]:
        erase(services, host)
    assert claim(services) == {hosts[4]}


def test_where_all_hosts_vanished_without_a_word_nothing_fits(services: Services) -> None:
    hosts = [add_host(services, {"VCPU": Inventory(8)}) for _ in range(3)]
    services.keeper.current()
    for host in hosts:
        erase(services, host)
    with pytest.raises(NothingFits) as refused:
        claim(services)
    assert refused.value.explanation.roots == 0


def test_a_consumer_whose_hosts_have_all_vanished_is_told_to_hold_something(
    services: Services,
) -> None:
    gone, consumer = add_host(services, {"VCPU": Inventory(8)}), new_uuid()
    assert claim(services, consumer) == {gone}
    add_host(services, {"VCPU": Inventory(8)})
    erase(services, gone)
    # No reader shows it, so that it looks as if it had been freed in this moment.
    with pytest.raises(ConsumerHolds) as refused:
        claim(services, consumer)
    assert refused.value.consumer == consumer
