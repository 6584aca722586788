"""A passage that was found, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.scoring import Match

if TYPE_CHECKING:
    from m3rag.index.explanation import Explanation
    from m3rag.index.recipe import Recipe
    from m3rag.index.views import Model


class Origin:
    """The search a hit comes from, kept for `Hit.explain`.

    No dataclass: `dataclasses.asdict` of a hit would look into the model.

    Attributes:
        model: what encoded the query.
        query: what was asked.
        recipe: how scores became one.
        scores: of all n candidates, `(n,)` a channel, balanced if the search was; the hits of a
            search share them.
        row: which of the candidates the hit is.
    """

    __slots__ = ("model", "query", "recipe", "row", "scores")

    def __init__(
        self,
        model: Model,
        query: str,
        recipe: Recipe,
        scores: Mapping[str, NDArray[np.float32]],
        row: int,
    ) -> None:
        self.model = model
        self.query = query
        self.recipe = recipe
        self.scores = scores
        self.row = row

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """None: a hit that is copied deeply or sent to another process leaves the model here."""
        return type(None), ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Equal hits have equal scores and passages, whichever search they come from.

    Attributes:
        score: the fused score, what hits are sorted by; of balanced scores, if the search asked
            for that. The channels' scores are never balanced.
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
    _origin: Origin | None = field(default=None, repr=False, compare=False, kw_only=True)

    def explain(self) -> Explanation:
        """Why it was found: shares of the score, matched tokens, alignment, best sentence.

        The passage is encoded again, unless the model's memo still has it.

        Raises:
            InputError: no search for a text made this hit: it was found by a vector, copied
                deeply, or built by hand; or its model is closed.
        """
        if self._origin is None:
            raise InputError(
                f"The hit {self.passage.id!r} does not know its question and its model. "
                "Use m3rag.explain(model, query, hit.passage)."
            )
        from m3rag.index.explanation import explain_hit  # the engine process needs no model

        return explain_hit(self, self._origin)

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
