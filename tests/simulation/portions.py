"""Many episodes, in processes of their own."""

import gc
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import structlog

from tests.simulation.episode import MOVES, Told, run_episode

EPISODES_AT_ONCE = 10
"""Episodes that one process plays before it makes room for a new one."""


@contextmanager
def fast_directory() -> Iterator[Path]:
    """A new directory, in memory where there is such a place: what ends is processes, not machines.

    The database writes as it always does; but no disk has to be waited for.
    """
    memory = Path("/dev/shm")
    home = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="moorage-simulation-", dir=home) as directory:
        yield Path(directory)


def portions(
    template: Path, directory: Path, *, seed: int, first: int, moves: int, workers: int
) -> Iterator[tuple[int, Told]]:
    """Episodes in portions, in their order; each portion in a process that ends with it."""
    most = -(-moves // (MOVES * EPISODES_AT_ONCE))
    firsts = [first + n * EPISODES_AT_ONCE for n in range(most)]
    portion = partial(play_portion, template, directory, seed)
    # A process ends with its portion: whatever of the service it has kept goes with it.
    with get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
        yield from zip(firsts, pool.imap(portion, firsts), strict=True)


def play_portion(template: Path, directory: Path, seed: int, first: int) -> Told:
    silence()
    gc.freeze()  # What has been imported stays: nothing of it need be looked at again.
    played = [
        run_episode(template, directory, seed=seed, episode=episode)
        for episode in range(first, first + EPISODES_AT_ONCE)
    ]
    return sum(played[1:], played[0])


def silence() -> None:
    """Alerts and events of the service are not what is looked at here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
