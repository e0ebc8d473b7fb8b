"""What an answer was made from, by which it is told whether the same answer is still right."""

from collections.abc import Iterable

from msgspec import Struct

from moorage.candidates.blocks import BLOCK_BITS, BLOCK_SIZE
from moorage.candidates.snapshot import Snapshot


class Evidence(Struct, frozen=True, gc=False):
    """Stamps of providers by position, and of the trees where they bear on the answer.

    Stamps are given out once in a process: no other snapshot has the same ones for other facts.
    """

    stamps: tuple[tuple[int, int], ...]
    structure: int | None = None

    def holds_in(self, snapshot: Snapshot) -> bool:
        """Whether nothing that the answer was made from has changed."""
        if self.structure is not None and self.structure != snapshot.structure:
            return False
        blocks = snapshot.blocks
        try:
            for position, stamp in self.stamps:
                if blocks[position >> BLOCK_BITS].stamps[position & (BLOCK_SIZE - 1)] != stamp:
                    return False
        except IndexError:
            return False
        return True


def about_provider(snapshot: Snapshot, position: int) -> Evidence:
    """The evidence of an answer about one provider itself."""
    return Evidence(_stamps(snapshot, (position,)))


def about_tree(snapshot: Snapshot, positions: Iterable[int]) -> Evidence:
    """The evidence of an answer about some providers, their places in trees included."""
    return Evidence(_stamps(snapshot, positions), snapshot.structure)


def _stamps(snapshot: Snapshot, positions: Iterable[int]) -> tuple[tuple[int, int], ...]:
    blocks = snapshot.blocks
    return tuple(
        (position, int(blocks[position >> BLOCK_BITS].stamps[position & (BLOCK_SIZE - 1)]))
        for position in positions
    )
