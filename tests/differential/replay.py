"""Send a failing sequence again: python -m tests.differential.replay FILE

FILE has the lines that the failing test printed; "-" reads them from standard input.
"""

import sys
import tempfile
from pathlib import Path

from tests.differential.pair import InProcess
from tests.differential.steps import Request


def main(file: str) -> None:
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    requests = [Request.of_line(line) for line in text.splitlines() if line.startswith("[")]
    with (
        tempfile.TemporaryDirectory() as directory,
        InProcess(Path(directory)).fresh_pair() as pair,
    ):
        for request in requests:
            pair.send(request)
    print(f"{len(requests)} requests, no difference but the known ones: {pair.explained}")


if __name__ == "__main__":
    main(sys.argv[1])
