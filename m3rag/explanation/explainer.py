"""Explain how a passage matches a query."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage, as_passage, statements
from m3rag.documents.graphemes import tears
from m3rag.encoder import Model, Tokenizer
from m3rag.encoding import SparseVectors
from m3rag.explanation.alignment import align, best_sentence
from m3rag.explanation.explanation import Explanation
from m3rag.explanation.parts import (
    Alignment,
    Channel,
    MatchedToken,
    Occurrence,
    Sentence,
    Token,
)
from m3rag.scoring import (
    SCORED,
    Fusion,
    Weights,
    matched_tokens,
    named_weights,
    parse_weights,
    reciprocal_rank_fusion,
    score_texts,
)
from m3rag.scoring.fusion import Floats, ranks

_WORD = "▁"


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """The query or the passage, as the model sees it.

    Attributes:
        tokens: The n content tokens and the closing `</s>`.
        weights: The weights of the content tokens, `(n,)`.
        vectors: The ColBERT vectors of all tokens, `(n + 1, c)`.
    """

    tokens: list[Token]
    weights: Floats
    vectors: NDArray[np.floating]


def explain(
    model: Model, query: str, passage: Passage | str, *, weights: Weights = "default"
) -> Explanation:
    """Explain how a passage matches a query, without an index.

    Example:
        >>> why = explain(M3Model.load("tiny"), "Who likes shade?", "Ferns do. They like shade.")
        >>> why.sentence.text
        'They like shade.'

    Args:
        model: Encodes the query and the passage.
        query: The text that is searched for.
        passage: The passage, or its text.
        weights: A preset, numbers for (dense, sparse, colbert), or a mapping; bm25 needs an index.

    Raises:
        InputError: The query is empty, no channel has a weight, or bm25 has one.
    """
    passage = as_passage(passage)
    [score], columns = score_texts(model, query, [passage.full_text], weights)
    channels = channel_shares(columns, parse_weights(weights, named_weights(model.presets)), 0)
    return explain_fused(model, query, passage, float(score), "weighted", channels)


def explain_fused(
    model: Model,
    query: str,
    passage: Passage,
    score: float,
    fusion: Fusion,
    channels: tuple[Channel, ...],
) -> Explanation:
    """Explain how a passage matches a query, given its scores.

    Args:
        model: Encodes the query and the passage.
        query: The text of the query.
        passage: The passage that was found.
        score: The fused score.
        fusion: The fusion that gave `score`.
        channels: The contribution of each channel to `score`.
    """
    texts = [query, passage.full_text]
    views, weights = model.encode(texts, dense=False), model.token_weights(texts)
    query_text, passage_text = (
        _text(model, texts[i], weights[i], views.colbert[i]) for i in (0, 1)
    )
    return Explanation(
        query=query,
        passage=passage,
        score=score,
        fusion=fusion,
        channels=channels,
        matched=tuple(_matched(model, views.sparse, query_text, passage_text)),
        alignments=tuple(_alignments(query_text, passage_text)),
        sentence=_sentence(passage, query_text, passage_text),
    )


def channel_shares(
    scores: Mapping[str, Floats],
    weights: Mapping[str, float],
    row: int,
    *,
    rrf_k: float | None = None,
) -> tuple[Channel, ...]:
    """Return the contribution of each channel to the fused score of one candidate.

    Args:
        scores: The scores of all n candidates on each channel, `(n,)`.
        weights: The weights of the channels.
        row: The position of the candidate.
        rrf_k: The constant of reciprocal rank fusion; None for a weighted sum.
    """
    total = sum(weights.values())
    channels = []
    for name in (c for c in SCORED if c in scores):
        column, weight, rank = scores[name], weights.get(name, 0.0), None
        score = float(column[row])
        if rrf_k is None:
            share = weight * score / total
        else:
            share = float(reciprocal_rank_fusion({name: column}, {name: weight}, k=rrf_k)[row])
            place = ranks(column, name)[row]
            rank = int(place) if np.isfinite(place) else None
        channels.append(Channel(name, score, weight, share, rank))
    return tuple(channels)


def tokens_of(tokenizer: Tokenizer, text: str) -> list[Token]:
    """Return the content tokens of a text, with spans widened to whole visible characters.

    The tokenizer reads a normalized text, in which "½" is three characters and an "e" with its
    accent may be one. Its spans refer to the text as given, but may leave the accent out.
    """
    [ids], [spans] = tokenizer.ids([text]), tokenizer.spans([text])
    borders = [0, *(i for i in range(1, len(text)) if not tears(text, i)), len(text)]
    tokens = []
    for id_, piece, (start, end) in zip(ids, tokenizer.tokens(ids), spans, strict=True):
        start = borders[bisect_right(borders, start) - 1]
        # A "▁" alone marks the start of a word; the tokenizer's span is the word's first character.
        end = start if piece == _WORD else borders[bisect_left(borders, end)]
        tokens.append(Token(id_, piece, text[start:end], start, end))
    return tokens


def _text(model: Model, text: str, weights: Floats, vectors: NDArray[np.floating]) -> _Text:
    tokens = tokens_of(model.tokenizer, text)[: len(weights)]  # the text may be truncated
    end = tokens[-1].end if tokens else 0
    [piece] = model.tokenizer.tokens([model.tokenizer.eos])
    tokens.append(Token(model.tokenizer.eos, piece, "", end, end))
    return _Text(tokens, weights, vectors)


def _matched(
    model: Model, sparse: SparseVectors, query: _Text, passage: _Text
) -> list[MatchedToken]:
    matches = matched_tokens(sparse[0], sparse[1])
    pieces = model.tokenizer.tokens(id_ for id_, _, _ in matches)
    return [
        MatchedToken(
            id=id_,
            piece=piece,
            query_weight=in_query,
            passage_weight=in_passage,
            product=in_query * in_passage,
            query=_occurrences(query, id_),
            passage=_occurrences(passage, id_),
        )
        for piece, (id_, in_query, in_passage) in zip(pieces, matches, strict=True)
    ]


def _occurrences(text: _Text, id_: int) -> tuple[Occurrence, ...]:
    rows = [row for row, token in enumerate(text.tokens[:-1]) if token.id == id_]
    best = max(rows, key=lambda row: text.weights[row])  # of equal weights, the first
    return tuple(
        Occurrence(
            text.tokens[row].start, text.tokens[row].end, float(text.weights[row]), row == best
        )
        for row in rows
    )


def _alignments(query: _Text, passage: _Text) -> list[Alignment]:
    best, similarity = align(query.vectors, passage.vectors)
    return [
        Alignment(token, passage.tokens[row], value)
        for token, row, value in zip(query.tokens, best, similarity.tolist(), strict=True)
    ]


def _sentence(passage: Passage, query: _Text, found: _Text) -> Sentence:
    """Return the best sentence that is no heading and no link alone.

    A text without a token, such as "", is its own sentence.
    """
    text = passage.text
    above = len(passage.full_text) - len(text)  # the header of its table answers nothing
    spans = [(token.start - above, token.end - above) for token in found.tokens[:-1]]
    said = statements(text, passage.headings)
    best = best_sentence(query.vectors, found.vectors, spans, said)
    if best is None:
        best = (0, len(text)), float(align(query.vectors, found.vectors)[1].mean())
    (start, end), score = best
    first = passage.start
    return Sentence(
        text=text[start:end],
        start=start,
        end=end,
        score=score,
        document_start=None if first is None else first + start,
        document_end=None if first is None else first + end,
    )
