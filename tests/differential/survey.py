"""List every kind of difference instead of stopping at the first:
python -m tests.differential.survey [changes|searches [SEQUENCES [SEED]]]
"""

import contextlib
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.differential.make_steps import searches, sequences
from tests.differential.pair import InProcess, Pair
from tests.differential.steps import Request, Step
from tests.support.client import Answer

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}")
EXAMPLE_CHARS_MAX = 1500


class Survey:
    """Counts kinds of differences and keeps the first of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.known: Counter[str] = Counter()
        self.requests_count = 0
        self.statuses: dict[str, Counter[int]] = {}

    def note(self, pair: Pair, request: Request, differences: Sequence[str]) -> None:
        kind = f"{request.method} {UUID.sub('{uuid}', request.path)}: " + "; ".join(
            line.splitlines()[0] for line in differences
        )
        self.counts[kind] += 1
        version = request.headers.get("OpenStack-API-Version")
        text = (
            f"{request.method} {request.target} @{version} {dict(request.headers)}\n"
            f"  sent {request.body!r}\n  " + "\n  ".join(differences)
        )
        self.examples.setdefault(kind, text[:EXAMPLE_CHARS_MAX])

    def count(self, request: Request, ours: Answer, theirs: Answer) -> None:
        path = re.sub(r"(?<=[a-z]/)[^/]+(/|$)", r"{}\1", request.path)
        self.statuses.setdefault(f"{request.method} {path}", Counter())[theirs.status] += 1

    def show(self) -> None:
        print(f"\n{self.requests_count} requests, known differences: {dict(self.known)}")
        for route, counts in sorted(self.statuses.items()):
            print(f"  {route}: {dict(counts)}")
        for kind, count in self.counts.most_common():
            print(f"\n### {count} x {kind}\n{self.examples[kind]}")


def main(kind: str = "changes", count: str = "200", start: str = "0") -> None:
    survey = Survey()
    with tempfile.TemporaryDirectory() as directory:
        in_process = InProcess(Path(directory))

        @seed(int(start))
        @settings(
            max_examples=int(count),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given({"changes": sequences, "searches": searches}[kind](50))
        def play(sequence: list[Step]) -> None:
            with in_process.fresh_pair() as pair:
                pair.on_disagreement = survey.note
                pair.on_answers = survey.count
                pair.play(sequence)
                survey.known.update(pair.explained)
                survey.requests_count += len(pair.sent)

        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            play()
    survey.show()


if __name__ == "__main__":
    main(*sys.argv[1:])
