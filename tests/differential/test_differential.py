"""Random sequences of requests, answered by Moorage and by upstream's service beside it.

They come in batches, each from a seed of its own, which is its number. The batches of a default run
are always the same. MOORAGE_CASES asks for so many sequences instead, and MOORAGE_SEED for others.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from tests.differential.make_steps import searches, sequences
from tests.differential.pair import InProcess, served_pair
from tests.differential.steps import Step

CASES = int(os.environ.get("MOORAGE_CASES", "0"))
BATCH_SIZE = 10
BATCHES = -(-CASES // BATCH_SIZE) or 3
FIRST = int(os.environ.get("MOORAGE_SEED", "20260"))
# As many as fit into two minutes; they go on where the default run ends.
SLOW_BATCHES = 5
STEPS_MAX = 50
KINDS = {"changes": sequences, "searches": searches}

_settings = settings(
    max_examples=BATCH_SIZE,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    # The disagreement itself prints what was sent, in a form that can be sent again.
    verbosity=Verbosity.quiet,
)


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    return InProcess(tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("batch", range(FIRST, FIRST + BATCHES))
@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_agrees_with_upstream(in_process: InProcess, kind: str, batch: int) -> None:
    play_batch(in_process, kind, batch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_agrees_with_upstream_in_more_batches(
    in_process: InProcess, kind: str
) -> None:
    for batch in range(FIRST + BATCHES, FIRST + BATCHES + SLOW_BATCHES):
        play_batch(in_process, kind, batch)


def play_batch(in_process: InProcess, kind: str, batch: int) -> None:
    @seed(batch)
    @_settings
    @given(KINDS[kind](STEPS_MAX))
    def play(sequence: list[Step]) -> None:
        with in_process.fresh_pair() as pair:
            pair.play(sequence)

    play()


@pytest.mark.slow
def test_every_answer_agrees_with_upstream_over_http(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @seed(FIRST)
    @settings(_settings, max_examples=5, phases=[Phase.generate])
    @given(st.data())
    def play(drawn: st.DataObject) -> None:
        sequence = drawn.draw(sequences(2 * STEPS_MAX))
        with served_pair(tmp_path_factory.mktemp("served")) as pair:
            pair.play(sequence)

    play()
