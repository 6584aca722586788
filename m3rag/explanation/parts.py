"""The parts of an explanation, as plain values.

Spans count characters of the text as given and never split a visible character.
"""

from __future__ import annotations

from dataclasses import dataclass


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
