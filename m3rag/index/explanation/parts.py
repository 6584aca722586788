"""An explanation and its parts: plain values, and the forms they are shown in.

Spans count characters of the text as it was given, and never split one that a reader sees.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from m3rag.documents import Passage
from m3rag.index.hit import passage_to_dict


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel adds to the fused score.

    Attributes:
        name: "dense", "sparse", "colbert" or "bm25".
        score: as the hit has it.
        weight: as the search had it; 0.0 for a channel that was only reported.
        share: `weight * score / sum of weights`, or with rrf `weight / (k + rank)`,
            k = 60 unless a preset of the index has another. Of a balanced search,
            `weight * balanced score / sum of weights`.
        rank: with rrf, the place among the candidates, the best is 1; None where the channel
            ranked nothing: another fusion, or a sparse or bm25 score of 0.
    """

    name: str
    score: float
    weight: float
    share: float
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text and where it stands.

    Attributes:
        id: in the model's vocabulary.
        piece: the vocabulary's text for it; "▁" marks the beginning of a word.
        text: what a reader sees at its place. Empty for tokens without a character: a "▁" alone,
            and the "</s>" that closes every text.
        start: first character.
        end: one past the last.
    """

    id: int
    piece: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place of a matched token.

    Attributes:
        start: first character.
        end: one past the last.
        weight: what the model gives the token at this place.
        counts: whether this is the token's weight in the text, its highest; once a text.
    """

    start: int
    end: int
    weight: float
    counts: bool


@dataclass(frozen=True, slots=True)
class MatchedToken:
    """A token that both texts have; the products add up to the sparse score.

    Attributes:
        id: in the model's vocabulary.
        piece: the vocabulary's text for it.
        query_weight: its weight in the query.
        passage_weight: its weight in the passage.
        product: of the two.
        query: everywhere it stands in the query.
        passage: everywhere it stands in the passage.
    """

    id: int
    piece: str
    query_weight: float
    passage_weight: float
    product: float
    query: tuple[Occurrence, ...]
    passage: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """A token of the query and the token of the passage that is most like it.

    Attributes:
        query: in the query.
        passage: in the passage.
        similarity: of their ColBERT vectors, -1 to 1; the mean is the ColBERT score.
    """

    query: Token
    passage: Token
    similarity: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence that answers best: its own tokens match the query best, by MaxSim.

    Attributes:
        text: what it says.
        start: first character in the passage.
        end: one past the last.
        score: mean over the query's tokens of the best match in the sentence, -1 to 1.
        document_start: first character in the document; None if the passage does not know.
        document_end: one past the last.
    """

    text: str
    start: int
    end: int
    score: float
    document_start: int | None = None
    document_end: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a passage was found; a notebook shows it with highlights.

    Attributes:
        query: what was asked.
        passage: what was found.
        score: the fused score.
        fusion: "weighted" or "rrf".
        channels: in the order dense, sparse, colbert, bm25; their shares add up to `score`.
        matched: tokens that both texts have, the largest product first.
        alignments: one for each ColBERT vector of the query, in its order; "</s>" is the last.
        sentence: the best one.
    """

    query: str
    passage: Passage
    score: float
    fusion: str
    channels: tuple[Channel, ...]
    matched: tuple[MatchedToken, ...] = field(repr=False)
    alignments: tuple[Alignment, ...] = field(repr=False)
    sentence: Sentence

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return values | {"passage": passage_to_dict(self.passage)}

    def to_html(self) -> str:
        """A fragment that needs nothing else: no script, no network, light or dark."""
        from m3rag.index.explanation.html import fragment

        return fragment(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
