"""Who asked for a change, and with which request."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """The facts about a request that the journal keeps beside each change.

    ``request_id`` is ours, ``global_request_id`` the caller's (``X-Openstack-Request-Id``), which
    follows one user action through all services. ``at`` is naive UTC.
    """

    request_id: str
    global_request_id: str | None
    project_id: str | None
    user_id: str | None
    at: datetime
