"""Leases: until when a consumer may keep what it claimed."""

from typing import Final

from moorage.api.call import NO_CONTENT, Call, Reply
from moorage.api.v1.claims import LeaseSeconds, moment_told
from moorage.api.v1.endpoints import (
    Command,
    Document,
    Endpoint,
    parser_of,
    reply_with,
    uuid_in,
)
from moorage.domain import refusals
from moorage.operations.change_lease import make_permanent, renew


class LeaseAsked(Command, frozen=True, kw_only=True):
    """How long the lease is to last, from now."""

    expires_in_s: LeaseSeconds


class LeaseAnswer(Document, frozen=True, kw_only=True):
    """Until when a consumer may keep what it claimed (UTC)."""

    consumer: str
    expires_at: str


LEASE_ASKED: Final = parser_of(LeaseAsked)


def handle_renew_lease(call: Call) -> Reply:
    """Let a lease last longer, or shorter."""
    consumer = uuid_in(call, "consumer_uuid")
    asked = LEASE_ASKED.parse(call.body)
    lease = renew(call.services, consumer=consumer, lease_s=asked.expires_in_s, origin=call.origin)
    ends = moment_told(lease.expires_at)
    assert ends is not None
    return reply_with(LeaseAnswer(consumer=lease.consumer, expires_at=ends))


def handle_end_lease(call: Call) -> Reply:
    """Make the claim permanent."""
    consumer = uuid_in(call, "consumer_uuid")
    make_permanent(call.services, consumer=consumer, origin=call.origin)
    return NO_CONTENT


LEASES: Final = (
    Endpoint(
        "renew_lease",
        "PUT",
        "/claims/{consumer_uuid}/lease",
        "moorage:leases:update",
        handle_renew_lease,
        "Let a consumer keep what it claimed for so many seconds from now.",
        body=LeaseAsked,
        answer=LeaseAnswer,
        refusals=(refusals.UnknownLease,),
    ),
    Endpoint(
        "end_lease",
        "DELETE",
        "/claims/{consumer_uuid}/lease",
        "moorage:leases:delete",
        handle_end_lease,
        "Let a consumer keep what it claimed for good.",
        status=204,
        refusals=(refusals.UnknownLease,),
    ),
)
