"""Clients, crashes and clocks at random, from a seed: the books hold whatever happens to them.

See CONTRIBUTING.md for what is done and checked in each step, and how to play many more.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests.simulation import faults_planted
from tests.simulation.episode import NOTHING, Failed, Told, make_template, run_episode
from tests.simulation.portions import fast_directory, portions, silence

FAULTS_PLANTED = (
    faults_planted.drops_credits,
    faults_planted.keeps_the_hold_of_a_confirmed_move,
    faults_planted.forgets_that_a_step_was_made,
    faults_planted.makes_a_repeated_step_twice,
    faults_planted.counts_a_hold_as_free,
    faults_planted.credits_on_every_provider,
    faults_planted.credits_half_of_what_is_in_common,
    faults_planted.commits_in_the_middle,
    faults_planted.forgets_to_journal_credits,
    faults_planted.reverts_what_was_started,
    faults_planted.leaves_holds_of_deleted_consumers,
    faults_planted.frees_what_was_changed_since,
    faults_planted.credits_whatever_is_claimed,
    faults_planted.serves_two_orders_of_one_consumer,
    faults_planted.answers_before_the_commit,
)
SEED = 4
EPISODES_TO_FIND_MAX = 15


@pytest.fixture
def directory() -> Iterator[Path]:
    with fast_directory() as found:
        yield found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulation") / "template.db"
    make_template(path)
    return path


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = structlog.get_config()
    silence()
    yield
    structlog.configure(**before)


def play(template: Path, directory: Path, episodes: range, **how: int) -> Told:
    told = NOTHING
    for episode in episodes:
        told += run_episode(template, directory, seed=SEED, episode=episode, **how)
    return told


def test_the_books_hold_in_whatever_order_things_happen_and_break(
    template: Path, directory: Path
) -> None:
    told = play(template, directory, range(8))
    assert told.moves >= 300
    assert told.faults > 50


def test_a_seed_says_all(template: Path, directory: Path) -> None:
    first = play(template, directory, range(1), moves=10)
    assert play(template, directory, range(1), moves=10) == first
    assert play(template, directory, range(1, 2), moves=10).digest != first.digest


@pytest.mark.parametrize("fault", FAULTS_PLANTED, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_service_is_found(
    fault: Callable[[], faults_planted.Patch], template: Path, directory: Path
) -> None:
    with fault(), pytest.raises(Failed):
        play(template, directory, range(EPISODES_TO_FIND_MAX))


@pytest.mark.slow
def test_ten_thousand_moves(template: Path, directory: Path) -> None:
    """In two processes, and from another seed than the few above."""
    portions_played = portions(template, directory, seed=1, first=0, moves=10_000, workers=2)
    assert sum(told.moves for _, told in portions_played) >= 10_000
