"""The parts of an explanation, as plain values.

Spans count characters of the text as given and never split a visible character. The text of a
passage is its `full_text`, with the header of its table; for a `Sentence`, it is without.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Channel:
    """The contribution of a channel to the fused score.

    Attributes:
        name: "dense", "sparse", "colbert" or "bm25".
        score: The channel's score, as in the hit.
        weight: The channel's weight in the search; 0.0 for a channel that was only reported.
        share: `weight * score / sum of weights`; for a balanced search,
            `weight * balanced score / sum of weights`; for rrf, `weight / (k + rank)`, with k = 60
            unless a preset of the index has another.
        rank: For rrf, the rank among the candidates, from 1; None for a sparse or bm25 score of 0,
            which has no rank, and for the weighted fusion.
    """

    name: str
    score: float
    weight: float
    share: float
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its place in a text.

    Attributes:
        id: The token id in the model's vocabulary.
        piece: The token in the vocabulary; "▁" marks the beginning of a word.
        text: The characters of the text at its place. Empty for tokens without a character: a "▁"
            alone, and the "</s>" that closes every text.
        start: The first character.
        end: One past the last character.
    """

    id: int
    piece: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An occurrence of a matched token in a text.

    Attributes:
        start: The first character.
        end: One past the last character.
        weight: The weight of the token at this place.
        counts: Whether this weight is the token's weight in the text, which is the highest of all
            occurrences; true for one occurrence per text.
    """

    start: int
    end: int
    weight: float
    counts: bool


@dataclass(frozen=True, slots=True)
class MatchedToken:
    """A token that occurs in both texts; the products add up to the sparse score.

    Attributes:
        id: The token id in the model's vocabulary.
        piece: The token in the vocabulary.
        query_weight: The weight in the query.
        passage_weight: The weight in the passage.
        product: The product of the two weights.
        query: All occurrences in the query.
        passage: All occurrences in the passage.
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
    """A token of the query and the most similar token of the passage.

    Attributes:
        query: The token of the query.
        passage: The token of the passage.
        similarity: The inner product of their ColBERT vectors, -1 to 1; the mean over the query's
            tokens is the ColBERT score.
    """

    query: Token
    passage: Token
    similarity: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence whose tokens match the query best, by MaxSim.

    Headings and links alone, which repeat a question without an answer, are left out.

    Attributes:
        text: The text of the sentence.
        start: The first character in the passage.
        end: One past the last character.
        score: The mean over the query's tokens of the best match in the sentence, -1 to 1.
        document_start: The first character in the document; None if the passage has no `start`.
        document_end: One past the last character in the document; None if the passage has no
            `start`.
    """

    text: str
    start: int
    end: int
    score: float
    document_start: int | None = None
    document_end: int | None = None
