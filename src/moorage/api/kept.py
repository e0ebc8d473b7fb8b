"""Answers about providers and projects, kept to be given again while what they tell stands.

Compute agents ask about their own host all day long, and quota checks about a project, in the same
words each time.
"""

import sys
from itertools import islice
from typing import Final

from msgspec import Struct

from moorage.api.call import Reply
from moorage.api.microversions.contract import Contract
from moorage.api.routes import Place, Route
from moorage.candidates.evidence import Evidence
from moorage.coherence.project_sums import SumsEvidence

KEPT_BYTES_MAX: Final = 64 * 2**20
"""Bytes of answers that a process keeps; past that it forgets every second one.

Agents ask in turn: who forgot the oldest would always forget what is asked for next.
"""

ANSWER_BYTES_MAX: Final = 64 * 2**10
"""Longer answers are not kept."""

ENTRY_BYTES: Final = 1_100
"""What an entry takes up beside its body, about."""

Wish = tuple[str, ...]
"""Everything in a request that an answer depends on, beside who is asking."""


class KeptAnswer(Struct, frozen=True, gc=False):
    """An answer, the way that the request found to it, and what it was made from.

    There may be many, and none is in a cycle: the garbage collector need not visit them.
    """

    contract: Contract
    place: Place
    route: Route
    reply: Reply
    evidence: Evidence | SumsEvidence


class KeptAnswers:
    """Answers by what was wished for; whoever takes one sees whether its evidence still holds.

    Entries of a dict are read and written atomically: no lock is needed.
    """

    def __init__(self) -> None:
        self._answers: dict[Wish, KeptAnswer] = {}
        self._bytes = 0
        self.find = self._answers.get

    def keep(self, wish: Wish, answer: KeptAnswer) -> None:
        """Keep an answer, in the place of the one before it."""
        size = _size_of(answer)
        if size > ANSWER_BYTES_MAX:
            return
        before = self._answers.get(wish)
        self._bytes += size if before is None else size - _size_of(before)
        path, *others = wish
        # Most of the words are the same for all.
        self._answers[(path, *map(sys.intern, others))] = answer
        if self._bytes > KEPT_BYTES_MAX:
            for old in list(islice(self._answers, 0, None, 2)):
                self._answers.pop(old, None)
            # Counted anew: two who keep the same answer at once have both added its bytes.
            self._bytes = sum(map(_size_of, list(self._answers.values())))


def _size_of(answer: KeptAnswer) -> int:
    """What an answer takes up, about; a body that is still being made is of any length."""
    body = answer.reply.body
    return ENTRY_BYTES + len(body) if isinstance(body, bytes) else sys.maxsize
