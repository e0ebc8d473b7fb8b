"""Nova's own client of Placement, told on standard input what to do.

A process of its own, since Nova has one configuration for a whole process. Each line is a JSON list
[method, request id, arguments]; the answer is a line with what the method returned.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from nova import conf, context, exception, objects
from nova.scheduler import utils
from nova.scheduler.client.report import SchedulerReportClient

from tests.moves.nova import PROJECT, USER


class Scheduler:
    """As much of Nova's scheduler, conductor and compute service as asks Placement for moves."""

    def __init__(self, url: str) -> None:
        session = Session(auth=Token(url, "admin"))
        self.client = SchedulerReportClient(Adapter(session, service_type="placement"))

    def schedule(
        self, asked: Any, instance: str, flavor: Mapping[str, int], host: str
    ) -> dict[str, Any] | None:
        """Claim for an instance what a candidate has on this host; None: there is none."""
        size = objects.Flavor(
            vcpus=flavor["VCPU"],
            memory_mb=flavor["MEMORY_MB"],
            root_gb=flavor["DISK_GB"],
            ephemeral_gb=0,
            swap=0,
            extra_specs={},
        )
        image = objects.ImageMeta(properties=objects.ImageMetaProps())
        spec = objects.RequestSpec(
            flavor=size, image=image, is_bfv=False, requested_resources=[], pci_requests=None
        )
        wanted = utils.ResourceRequest.from_request_spec(spec)
        found, _, version = self.client.get_allocation_candidates(asked, wanted)
        for candidate in found or ():
            if host in candidate["allocations"]:
                taken = self.client.claim_resources(
                    asked, instance, candidate, PROJECT, USER, version
                )
                return {"claimed": taken}
        return None

    def move(self, asked: Any, giver: str, taker: str) -> bool:
        """Give what one consumer holds to another."""
        return bool(self.client.move_allocations(asked, giver, taker))

    def drop(self, asked: Any, consumer: str) -> bool:
        """Drop what a migration holds."""
        return bool(
            self.client.delete_allocation_for_instance(asked, consumer, consumer_type="migration")
        )

    def held_by(self, asked: Any, consumer: str) -> dict[str, Any]:
        """What a consumer holds by provider."""
        shown = self.client.get_allocs_for_consumer(asked, consumer)
        return {uuid: one["resources"] for uuid, one in shown["allocations"].items()}


def main(url: str) -> None:
    conf.CONF([], project="nova", default_config_files=[])
    objects.register_all()
    scheduler = Scheduler(url)
    for line in sys.stdin:
        method, request_id, arguments = json.loads(line)
        asked = context.RequestContext(USER, PROJECT, global_request_id=request_id)
        try:
            answer = getattr(scheduler, method)(asked, *arguments)
        except exception.NovaException as error:
            answer = {"error": type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
