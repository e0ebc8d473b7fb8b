"""Many clients at once, and what they were told."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support.client import Answer, Client
from tests.support.ids import new_uuid
from tests.support.servers import Server

SEED = 17
READY_S_MAX = 120.0
STUCK_S = 120.0


@dataclass
class Member:
    """One client of the crowd, with a connection and a dice of its own."""

    client: Client
    dice: random.Random
    number: int
    told: Counter[int] = field(default_factory=Counter)

    def hear(self, answer: Answer) -> Answer:
        """Count an answer; one that blames the server, or names its database, ends the test."""
        self.told[answer.status] += 1
        assert answer.status < 500, repr(answer)
        assert "database is locked" not in answer.text.lower()
        assert "deadlock" not in answer.text.lower()
        return answer


def run_crowd(
    server: Server, size: int, act: Callable[[Member], None], *, microversion: str = "1.39"
) -> Counter[int]:
    """Let every member act once, all at the same time; return how often each status was told.

    Raises:
        AssertionError: the first thing that went wrong with any member.
    """
    troubles: list[BaseException] = []
    members = [
        Member(server.client(microversion), random.Random(SEED + number), number)
        for number in range(size)
    ]
    ready = threading.Barrier(size)

    def live(member: Member) -> None:
        try:
            # A connection each, before they start together.
            member.client.get("/")
            ready.wait(READY_S_MAX)
            act(member)
        except BaseException as trouble:
            troubles.append(trouble)

    threads = [threading.Thread(target=live, args=(member,)) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]
    return sum((member.told for member in members), Counter())


def run_crowd_times(
    server: Server, size: int, count: int, act: Callable[[Member], None]
) -> Counter[int]:
    """The same, with every member acting so many times."""

    def keep_acting(member: Member) -> None:
        for _ in range(count):
            act(member)

    return run_crowd(server, size, keep_acting)


def run_crowd_for(
    server: Server,
    size: int,
    seconds: float,
    act: Callable[[Member], None],
    *,
    enough: Callable[[], bool] = lambda: True,
) -> Counter[int]:
    """The same, with every member acting until the time is over, and what was waited for is there.

    For what goes on meanwhile elsewhere; ``run_crowd_times`` does the same work on every machine.
    """
    deadline = time.monotonic() + seconds

    def keep_acting(member: Member) -> None:
        while time.monotonic() < deadline or not enough():
            assert time.monotonic() < deadline + STUCK_S
            act(member)

    return run_crowd(server, size, keep_acting)


@dataclass(frozen=True)
class Owner:
    """Whom claims are made for."""

    project: str = field(default_factory=new_uuid)
    user: str = field(default_factory=new_uuid)

    def claim(
        self,
        held: dict[str, dict[str, int]],
        generation: int | None,
        *,
        consumer_type: str = "INSTANCE",
    ) -> dict[str, object]:
        """The body of a claim at the newest microversion."""
        return {
            "allocations": {provider: {"resources": amounts} for provider, amounts in held.items()},
            "project_id": self.project,
            "user_id": self.user,
            "consumer_generation": generation,
            "consumer_type": consumer_type,
        }


def read_held(client: Client, consumer: str) -> dict[str, dict[str, int]]:
    """What a consumer holds, by provider."""
    shown = client.get(f"/allocations/{consumer}").json
    return {provider: part["resources"] for provider, part in shown["allocations"].items()}


def read_used(client: Client, provider: str, resource_class: str = "VCPU") -> int:
    """What all consumers together hold of a provider, as it says itself."""
    used: int = client.get(f"/resource_providers/{provider}/usages").json["usages"][resource_class]
    return used


def sum_held(client: Client, provider: str, resource_class: str = "VCPU") -> int:
    """What all consumers together hold of a provider, added up."""
    held = client.get(f"/resource_providers/{provider}/allocations").json["allocations"]
    return sum(part["resources"].get(resource_class, 0) for part in held.values())


def check_never_falls(numbers: Sequence[int]) -> None:
    """Fail where a number is smaller than the one before."""
    for earlier, later in itertools.pairwise(numbers):
        assert later >= earlier, f"fell from {earlier} to {later}"
