"""Play episodes from the command line: as many as it takes, or one of them again.

python -m tests.simulation --moves 1000000 --seed 1 --workers 2
python -m tests.simulation --seed 1 --episode 17
"""

import argparse
import os
import sys
import time
from pathlib import Path

from tests.simulation.episode import Failed, make_template, run_episode
from tests.simulation.portions import EPISODES_AT_ONCE, fast_directory, portions, silence


def main() -> int:
    arguments = read_arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # One order of sets in every run, so that a seed says all.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    try:
        with fast_directory() as directory:
            return play(arguments, directory)
    except Failed as failed:
        print(failed, flush=True)
        return 1


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--moves", type=int, default=1000, help="moves to be played in all")
    parser.add_argument("--first", type=int, default=0, help="the episode to begin with")
    parser.add_argument("--episode", type=int, help="play just this one")
    parser.add_argument("--workers", type=int, default=1, help="processes that play")
    return parser.parse_args()


def play(arguments: argparse.Namespace, directory: Path) -> int:
    template = directory / "template.db"
    make_template(template)
    if arguments.episode is not None:
        silence()
        told = run_episode(template, directory, seed=arguments.seed, episode=arguments.episode)
        print(f"episode {arguments.episode}: {told}")
        return 0
    since_s = time.monotonic()
    moves = calls = faults = checks = 0
    for first, told in portions(
        template,
        directory,
        seed=arguments.seed,
        first=arguments.first,
        moves=arguments.moves,
        workers=arguments.workers,
    ):
        moves, calls = moves + told.moves, calls + told.calls
        faults, checks = faults + told.faults, checks + told.checks
        passed_s = time.monotonic() - since_s
        print(
            f"seed {arguments.seed}, episodes up to {first + EPISODES_AT_ONCE - 1}: {moves} moves,"
            f" {calls} calls, {faults} faults, {checks} checks, {moves / passed_s:.1f} moves/s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
