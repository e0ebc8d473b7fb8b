"""How far a reader has followed the journal, and which lower numbers may still come."""

from collections.abc import Collection, Iterable

from moorage.store.journal import GAP_AGE_S_MAX


class Watermark:
    """The highest row number seen, and the numbers below it that were not there.

    Numbers are given out before transactions commit, so a lower one may come later: it is asked
    for until it has come, or is so old that its transaction must have been rolled back.
    """

    def __init__(self, mark: int, gaps: Iterable[int], *, now_s: float) -> None:
        """``now_s``: of a monotonic clock, as everywhere here."""
        self.mark = mark
        self._gaps = dict.fromkeys(gaps, now_s)

    @property
    def gaps(self) -> Collection[int]:
        """The numbers below the mark that may still come."""
        return self._gaps.keys()

    def note(self, numbers: Collection[int], *, now_s: float) -> None:
        """Take down the numbers that were found past the mark or in a gap; they may be none."""
        highest = max(numbers, default=self.mark)
        if highest > self.mark:
            self._gaps.update(dict.fromkeys(range(self.mark + 1, highest), now_s))
            self.mark = highest
        for number in numbers:
            self._gaps.pop(number, None)
        if self._gaps:
            oldest_s = now_s - GAP_AGE_S_MAX
            self._gaps = {number: at for number, at in self._gaps.items() if at > oldest_s}
