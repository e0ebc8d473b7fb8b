"""Random sequences of requests, answered by Moorage and by upstream's service beside it.

MOORAGE_CASES sets the number of sequences (a few hundred in a long run), MOORAGE_SEED what they are
made from. Without MOORAGE_CASES the run ends after half a minute for each test.
"""

import itertools
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from tests.differential.make_steps import searches, sequences
from tests.differential.pair import InProcess, served_pair
from tests.differential.steps import Step

SEED = int(os.environ.get("MOORAGE_SEED", "20260"))
CASES = int(os.environ.get("MOORAGE_CASES", "0"))
BATCH_SIZE = 10
DEFAULT_RUN_S_MAX = 30.0
STEPS_MAX = 50

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


@pytest.mark.parametrize("kind", ["changes", "searches"])
def test_every_answer_agrees_with_upstream(in_process: InProcess, kind: str) -> None:
    made_up = {"changes": sequences, "searches": searches}[kind](STEPS_MAX)
    deadline = time.monotonic() + DEFAULT_RUN_S_MAX
    seen: Counter[str] = Counter()

    def play(sequence: list[Step]) -> None:
        with in_process.fresh_pair() as pair:
            try:
                pair.play(sequence)
            finally:
                seen.update(pair.explained)
                seen["sequences"] += 1
                seen["requests"] += len(pair.sent)

    # In batches, each from a seed of its own: how many there is time for does not change what is
    # in them, and a failing batch is found again by its seed.
    for batch in itertools.count():
        seed(SEED + batch)(_settings(given(made_up)(play)))()
        if seen["sequences"] >= CASES and (CASES or time.monotonic() > deadline):
            break
    print(dict(seen))


@pytest.mark.slow
def test_every_answer_agrees_with_upstream_over_http(tmp_path: Path) -> None:
    @seed(SEED)
    @settings(_settings, max_examples=5, phases=[Phase.generate])
    @given(st.data())
    def play(drawn: st.DataObject) -> None:
        sequence = drawn.draw(sequences(2 * STEPS_MAX))
        with served_pair(tmp_path / str(time.monotonic_ns())) as pair:
            pair.play(sequence)

    play()
