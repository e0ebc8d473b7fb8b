"""The runner: what has to happen by the clock, done by one process of all.

Every step is a transaction of its own that does its work once, whoever else is at it. So nothing is
lost if a leader dies in the middle, and nothing is done twice if two lead for a moment.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from moorage.domain.origin import Origin
from moorage.operations.expire_leases import expire_leases
from moorage.operations.services import Services
from moorage.operations.watch_moves import clean_up_moves, end_overdue_moves
from moorage.telemetry import metrics
from moorage.telemetry.alerts import alert
from moorage.telemetry.log import write_event
from moorage.workers.leadership import Leadership

PAUSE_S: Final = 1.0
"""Between two turns of the runner; well below the silence after which another takes over."""

SILENT_S: Final = 60.0
"""A step that goes on failing is told again after so long."""


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of work: ``run`` does a part of it and says how much; 0: there is no more."""

    name: str
    run: Callable[[Services, Origin], int]


STEPS: Final = (
    Step("expire_leases", expire_leases),
    Step("clean_up_moves", clean_up_moves),
    Step("end_overdue_moves", end_overdue_moves),
)
"""What the runner does in each turn, in this order."""


class Runner:
    """Takes turns in a thread; does something in those in which this process leads."""

    def __init__(
        self,
        services: Services,
        leadership: Leadership,
        *,
        steps: Sequence[Step] = STEPS,
        pause_s: float = PAUSE_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock_s``: monotonic, in seconds."""
        self._services = services
        self._leadership = leadership
        self._steps = steps
        self._pause_s = pause_s
        self._clock_s = clock_s
        self._leads = False
        self._told_at_s: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take turns from now on, in a thread that ends with its process."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._take_turns, name="runner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more turns, and leave the lead to others."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._leadership.resign()

    def turn(self) -> bool:
        """Do what there is to do, if this process leads; whether it does."""
        if not self._take_part():
            return False
        for step in self._steps:
            while self._do(step):
                # Much work is no silence: the others must not take over meanwhile.
                if self._ended.is_set() or not self._take_part():
                    return False
        return True

    def _take_turns(self) -> None:
        while not self._ended.is_set():
            self.turn()
            self._ended.wait(self._pause_s)

    def _take_part(self) -> bool:
        try:
            leads = self._leadership.take_part()
        except Exception as error:  # noqa: BLE001 - the thread must live on
            self._tell("the runner cannot reach the database", error)
            leads = False
        if leads != self._leads:
            self._leads = leads
            write_event("the runner leads" if leads else "the runner leads no more")
        return leads

    def _do(self, step: Step) -> bool:
        """Do a part of a step; whether there may be more of it."""
        origin = Origin(f"req-{uuid4()}", None, None, None, self._services.clock())
        try:
            done = step.run(self._services, origin)
        except Exception as error:  # noqa: BLE001 - the other steps must go on
            metrics.runner_step(step.name, "failed")
            self._tell("a step of the runner failed", error, step=step.name)
            return False
        metrics.runner_step(step.name, "done" if done else "idle")
        return done > 0

    def _tell(self, event: str, error: BaseException, step: str = "") -> None:
        """Alert, but not every second about the same thing."""
        now_s = self._clock_s()
        told_at_s = self._told_at_s.get(event + step)
        if told_at_s is None or now_s - told_at_s >= SILENT_S:
            self._told_at_s[event + step] = now_s
            alert(event, error, **({"step": step} if step else {}))
