"""A passage returned by a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from m3rag.documents import Passage, passage_to_dict
from m3rag.errors import InputError
from m3rag.explanation import Explanation
from m3rag.limits import shown
from m3rag.scoring import Match


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Two hits are equal if their scores and passages are equal, whichever search returned them.

    Attributes:
        score: The fused score, by which hits are sorted. With `balance`, it is computed from
            balanced scores; the channel scores below are never balanced.
        passage: The passage.
        dense: The inner product of the unit vectors, -1 to 1. This and the next three scores are
            None if the search did not score the channel.
        sparse: The sum of weight products over common tokens; 0.0 if there are none.
        colbert: The mean over the query's vectors of the best match in the passage, -1 to 1.
        bm25: BM25 over the model's tokens.
        cross_encoder: The score of a cross-encoder, 0 to 1, which is also `score`; None if the hit
            was not reranked.
        matched: (token id, weight in the query, weight in the passage) of the tokens that make up
            `sparse`, the largest product first; empty if the search did not score sparse.
    """

    score: float
    passage: Passage
    dense: float | None = None
    sparse: float | None = None
    colbert: float | None = None
    bm25: float | None = None
    matched: tuple[Match, ...] = ()
    cross_encoder: float | None = None
    _explain: Callable[[Hit], Explanation] | None = field(
        default=None, repr=False, compare=False, kw_only=True
    )

    def explain(self) -> Explanation:
        """Explain the hit: shares of the score, matched tokens, alignment, best sentence.

        Encodes the passage again unless the model's memo still holds it.

        Raises:
            InputError: The hit does not come from a search for one text: it was found by a vector
                or by several texts, deep-copied, sent to another process, or built by hand.
            ClosedError: The model is closed.
        """
        if self._explain is None:
            raise InputError(
                f"The hit {shown(self.passage.id)} is not attached to a query and a model: it was "
                "found by a vector or by several texts, copied, or built by hand. Use "
                "m3rag.explain(model, query, hit.passage)."
            )
        return self._explain(self)

    def reranked(self, score: float) -> Hit:
        """Return the hit with the score of a cross-encoder, 0 to 1, as `score` too.

        The scores of the channels stay, and `explain` still explains the score of the search.
        """
        explain = None if self._explain is None else lambda _: self.explain()
        return replace(self, score=score, cross_encoder=score, _explain=explain)

    def to_dict(self) -> dict[str, Any]:
        """Return the hit as JSON values; "cross_encoder" only if it was reranked."""
        reranked = {} if self.cross_encoder is None else {"cross_encoder": self.cross_encoder}
        return {
            "score": self.score,
            "dense": self.dense,
            "sparse": self.sparse,
            "colbert": self.colbert,
            "bm25": self.bm25,
            **reranked,
            "passage": passage_to_dict(self.passage),
            "matched": [list(match) for match in self.matched],
        }
