"""A request to score pairs of texts, with the scores that it has so far."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from m3rag.encoder import ON_TRUNCATION
from m3rag.errors import InputError, TruncationWarning
from m3rag.limits import shown
from m3rag.model.grouping import check_text
from m3rag.model.request import Request

Scores = NDArray[np.float32]


class Pair(NamedTuple):
    """A query and a passage, and the most tokens of both together."""

    query: str
    passage: str
    limit: int


class PairScore(NamedTuple):
    """The score of a pair, its number of tokens, and at least how many the whole pair has."""

    score: float
    tokens: int
    total: int


@dataclass(eq=False, slots=True)
class ScoringRequest(Request[Pair, Scores]):
    """A request to score pairs.

    Attributes:
        normalize: Whether the result is the sigmoid of the scores.
        scores: The scores of the pairs that have one, by row.
        on_truncation: What happens to a pair that has to be cut; see `ON_TRUNCATION`.
    """

    stage: ClassVar[str] = "scoring"

    _: KW_ONLY
    normalize: bool = False
    scores: dict[int, PairScore] = field(default_factory=dict)
    on_truncation: str = field(default_factory=ON_TRUNCATION.get)

    def add_score(self, row: int, score: PairScore) -> None:
        """Add the score of a pair."""
        self.scores[row] = score
        self.count(1)

    def result(self) -> Scores:
        """Return the scores of a complete request, float32 `(n,)`."""
        scores = np.array([self.scores[row].score for row in range(self.total)], np.float32)
        return normalized(scores) if self.normalize else scores

    def warned(self, scores: Scores) -> Scores:
        """Warn about pairs that were cut, and return the scores.

        The warning points to the caller of the public method that calls this one.

        Raises:
            InputError: A pair was cut, and `ON_TRUNCATION` says to refuse that.
        """
        cut = [row for row, score in self.scores.items() if score.total > score.tokens]
        if cut and self.on_truncation != "accept":
            longest = max(cut, key=lambda row: self.scores[row].total)
            if self.on_truncation == "refuse":
                raise InputError(
                    f"The query and text {longest} have at least {self.scores[longest].total:,} "
                    f"tokens, and the limit is {self.units[0].limit:,} for both together. Split "
                    "the text, or allow to truncate it."
                )
            warnings.warn(
                f"{len(cut)} of {self.total} pairs {'was' if len(cut) == 1 else 'were'} cut to "
                f"{self.units[0].limit:,} tokens; the longest, pair {longest}, has at least "
                f"{self.scores[longest].total:,}. Its end was not scored: split long passages with "
                "m3rag.split, or raise max_length.",
                TruncationWarning,
                stacklevel=3,
            )
        return scores


def normalized(scores: Scores) -> Scores:
    """Return the sigmoid of scores."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)), np.float32)  # cannot overflow


def pairs_of(pairs: Iterable[tuple[str, str]], limit: int) -> list[Pair]:
    """Return checked pairs of a query and a passage.

    Raises:
        InputError: They are not a list of pairs of strings.
    """
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise InputError(
            f"`pairs` must be a list of (query, passage), got {shown(pairs)}. For one query, use "
            "score(query, passages)."
        )
    found = []
    for i, pair in enumerate(pairs):
        if isinstance(pair, str) or not isinstance(pair, Iterable):
            raise InputError(f"pairs[{i}] must be (query, passage), got {shown(pair)}.")
        texts = tuple(pair)
        if len(texts) != 2:
            raise InputError(f"pairs[{i}] must be (query, passage), got {len(texts)} values.")
        for text in texts:
            check_text(f"pairs[{i}]", text)
        found.append(Pair(*texts, limit))
    return found
