"""How far a reader has followed the journal, and which lower numbers may still come."""

from collections import deque
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final

from moorage.store.following import GAP_AGE_S_MAX, Gaps, Since

START: Final = Since(0, ())


class Watermark:
    """The highest row number seen, and the numbers below it that were not there.

    Numbers are given out before transactions commit, so a lower one may come later: it is asked
    for until it has come, or is so old that its transaction must have been rolled back.
    """

    def __init__(self, since: Since, *, now_s: float) -> None:
        """``now_s``: of a monotonic clock, as everywhere here."""
        self._mark = since.mark
        self._written = since.written
        self._gaps = dict.fromkeys(since.gaps)
        # When numbers were first missed, the oldest first. Some of them may have come since.
        self._missed: deque[tuple[float, Collection[int]]] = deque([(now_s, since.gaps)])

    @property
    def since(self) -> Since:
        """What is known, for those who read what is new."""
        return Since(self._mark, self._gaps.keys(), self._written)

    def note(self, numbers: Collection[int], *, written: int | None, now_s: float) -> None:
        """Take down the numbers that were found past the mark or in a gap; they may be none.

        ``written``: what was found with them, as ``Found`` has it.
        """
        mark = self._mark
        news = sum(number > mark or number in self._gaps for number in numbers)
        highest = max(numbers, default=mark)
        if highest > mark:
            missed = range(mark + 1, highest)
            self._gaps.update(dict.fromkeys(missed))
            self._missed.append((now_s, missed))
            self._mark = highest
        for number in numbers:
            self._gaps.pop(number, None)
        if written is not None:
            self._written = written
        elif self._written is not None:
            self._written += news
        while self._missed and self._missed[0][0] <= now_s - GAP_AGE_S_MAX:
            for number in self._missed.popleft()[1]:
                self._gaps.pop(number, None)

    def ahead(self, numbers: Collection[int], *, written: int | None) -> Since:
        """What will be known once these numbers have been noted."""
        mark, known = self._mark, frozenset(numbers)
        highest = max(known, default=mark)
        missed = [number for number in range(mark + 1, highest) if number not in known]
        if written is None and self._written is not None:
            written = self._written + sum(number > mark or number in self._gaps for number in known)
        late = known & self._gaps.keys()
        return Since(max(mark, highest), _Ahead(self._gaps.keys(), late, missed), written)


class _Ahead(Gaps):
    """The numbers that are missed, but for those that have come late, and some newer ones."""

    def __init__(self, missed: Gaps, late: Collection[int], newer: list[int]) -> None:
        self._missed = missed
        self._late = late
        self._newer = newer

    def __contains__(self, number: object) -> bool:
        return number in self._newer or (number in self._missed and number not in self._late)

    def __len__(self) -> int:
        return len(self._missed) - len(self._late) + len(self._newer)

    def __iter__(self) -> Iterator[int]:
        late = self._late
        return chain((number for number in self._missed if number not in late), self._newer)

    def __reversed__(self) -> Iterator[int]:
        late, older = self._late, reversed(self._missed)
        return chain(reversed(self._newer), (number for number in older if number not in late))
