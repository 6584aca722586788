"""A passage that was found, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from m3rag.documents import Passage
from m3rag.scoring import Match


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Attributes:
        score: the fused score, what hits are sorted by.
        passage: what was found.
        dense: inner product of the unit vectors, -1 to 1; None if the search did not ask for it.
        sparse: sum of weight products over common tokens; 0.0 if there is none.
        colbert: mean over the query's vectors of the best match in the passage, -1 to 1.
        bm25: BM25 over the model's tokens.
        matched: (token id, weight in the query, weight in the passage) of the tokens that make
            up `sparse`, the largest product first; empty if the search did not ask for sparse.
    """

    score: float
    passage: Passage
    dense: float | None = None
    sparse: float | None = None
    colbert: float | None = None
    bm25: float | None = None
    matched: tuple[Match, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The hit as JSON values."""
        return {
            "score": self.score,
            "dense": self.dense,
            "sparse": self.sparse,
            "colbert": self.colbert,
            "bm25": self.bm25,
            "passage": passage_to_dict(self.passage),
            "matched": [list(match) for match in self.matched],
        }


def passage_to_dict(passage: Passage) -> dict[str, Any]:
    """The passage as JSON values; `passage_from_dict` undoes it."""
    return {
        "id": passage.id,
        "text": passage.text,
        "metadata": dict(passage.metadata),
        "document_id": passage.document_id,
        "start": passage.start,
        "end": passage.end,
        "headings": list(passage.headings),
    }


def passage_from_dict(values: dict[str, Any]) -> Passage:
    """The passage that `passage_to_dict` described."""
    return Passage(**{**values, "headings": tuple(values["headings"])})
