"""The assembly of passages from the pieces of a document."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from m3rag.documents.boundaries import LOWEST_LEVEL, Atoms, Rank
from m3rag.documents.document import Heading

_FULL = 3.0  # filling a passage to the target is worth as much as a cut three ranks better


class Filling:
    """The assembly of passages from pieces, each up to the limit.

    Args:
        pieces: The n pieces of the document.
        headings: The headings of the document.
        headers: For each piece, the tokens of the table header that a passage from it on lacks,
            and that is therefore encoded with it; 0 outside of tables.
        limit: The number of tokens in a passage, without the special ones.
        overlap: The number of tokens that may be repeated.

    Attributes:
        tiny: The number of tokens below which a section is not a passage of its own.
    """

    def __init__(
        self,
        pieces: Atoms,
        headings: Sequence[Heading],
        headers: Sequence[int],
        *,
        limit: int,
        overlap: int,
    ) -> None:
        self.starts, self.ranks, self.tokens = pieces
        self.headers = headers
        self.limit, self.overlap, self.tiny = limit, overlap, limit // 8
        at = {bisect_left(self.starts, heading.start): heading.level for heading in headings}
        self._headings = sorted(index for index in at if index < len(self.ranks))
        self._levels = [at[index] for index in self._headings]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the character span of each passage."""
        first = new = 0
        while new < len(self.ranks):
            cut = self._cut(first, new)
            yield self.starts[first], self.starts[cut]
            first, new = self._repeat(first, cut), cut

    def _count(self, first: int, last: int) -> int:
        return self.tokens[last] - self.tokens[first]

    def _stop(self, first: int, new: int) -> int:
        """Return the heading that the passage must not cross, or the end of the document."""
        at = bisect_right(self._headings, new)
        level = self._levels[at - 1] if at else LOWEST_LEVEL
        for i in range(at, len(self._headings)):
            stop = self._headings[i]
            if self._count(first, stop) > 2 * self.limit:
                return stop  # beyond any possible cut, so its exact place does not matter
            if self._levels[i] <= level:
                level = self._levels[i]
                rest = self._count(stop, len(self.ranks))
                if min(self._count(new, stop), rest) >= max(self.tiny, 1):
                    return stop
        return len(self.ranks)

    def _cut(self, first: int, new: int) -> int:
        """Return the end of the passage that starts with piece `first`.

        `new` is the first piece that the passage does not repeat from the one before.
        """
        stop = self._stop(first, new)
        size = self._count(first, stop)
        header = self.headers[first]
        limit = self.limit - header
        if size <= limit:
            return stop
        repeated = self.headers[stop - 1] or self.overlap  # by the next passage
        last_but_one = size + repeated <= limit + self.limit
        target = (size + repeated - header) / 2 if last_but_one else limit
        best, best_score = new + 1, float("-inf")
        for cut in range(new + 1, stop):
            filled = self._count(first, cut)
            if filled > limit:
                break
            score = self.ranks[cut] + _FULL * (1 - abs(filled - target) / self.limit)
            if min(self._count(new, cut), self._count(cut, stop)) < self.tiny:
                score -= Rank.HEADING * 4  # avoid a passage of a few words wherever possible
            if score >= best_score:
                best, best_score = cut, score
        return best

    def _repeat(self, first: int, cut: int) -> int:
        """Return the first piece of the next passage: `cut`, or an earlier one to repeat.

        Rows of a table with a header are never repeated: the header says what the next ones are.
        """
        if cut == len(self.ranks) or self.ranks[cut] >= Rank.HEADING:
            return cut
        whole = min(self.ranks[cut], Rank.SENTENCE)
        start = cut
        for index in range(cut - 1, first, -1):
            too_many = self._count(index, cut) > self.overlap
            if too_many or self.headers[index] or self.ranks[index] >= Rank.HEADING:
                break
            if self.ranks[index] >= whole:
                start = index
        return start
