"""From a hit, or from two texts, to an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage, sentences
from m3rag.index.adding import as_passage
from m3rag.index.explanation.parts import (
    Alignment,
    Channel,
    Explanation,
    MatchedToken,
    Occurrence,
    Sentence,
    Token,
)
from m3rag.index.explanation.tokens import tokens_of
from m3rag.index.hit import Hit, Origin
from m3rag.index.rescoring import rescore
from m3rag.index.views import Model
from m3rag.model import SparseVectors
from m3rag.scoring import (
    PRESETS,
    SCORED,
    Weights,
    matched_tokens,
    parse_weights,
    reciprocal_rank_fusion,
)
from m3rag.scoring.explain import align, best_sentence
from m3rag.scoring.fusion import ranks

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """One of the two texts, as the model sees it.

    Attributes:
        tokens: n content tokens and the closing `</s>`.
        weights: `(n,)`, of the content tokens.
        vectors: `(n + 1, c)`, ColBERT, of all.
    """

    tokens: list[Token]
    weights: Floats
    vectors: NDArray[np.floating]


def explain(
    model: Model, query: str, passage: Passage | str, *, weights: Weights = "default"
) -> Explanation:
    """Say how a passage matches a query; no index is needed.

    Example:
        >>> why = explain(M3Model.load("tiny"), "Who likes shade?", "Ferns do. They like shade.")
        >>> why.sentence.text
        'They like shade.'

    Args:
        model: What encodes both.
        query: What is asked.
        passage: What may answer it.
        weights: A preset, numbers for (dense, sparse, colbert), or a mapping; bm25 needs an index.

    Raises:
        InputError: An empty query, or weights without effect or for bm25.
    """
    passage = as_passage(passage)
    [score], columns = rescore(query, [passage.text], weights, model=model)
    channels = _channels(columns, parse_weights(weights, {**PRESETS, **model.presets}), 0)
    return _explained(model, query, passage, float(score), "weighted", channels)


def explain_hit(hit: Hit, origin: Origin) -> Explanation:
    """Say why a search found a passage; scores are the search's own."""
    recipe = origin.recipe
    k = recipe.k if recipe.fusion == "rrf" else None
    channels = tuple(
        replace(channel, score=getattr(hit, channel.name))  # its own, where the share is balanced
        for channel in _channels(origin.scores, recipe.weights, origin.row, rrf_k=k)
    )
    return _explained(origin.model, origin.query, hit.passage, hit.score, recipe.fusion, channels)


def _explained(
    model: Model,
    query: str,
    passage: Passage,
    score: float,
    fusion: str,
    channels: tuple[Channel, ...],
) -> Explanation:
    texts = [query, passage.text]
    views, weights = model.encode(texts, dense=False), model.token_weights(texts)
    asked, found = (_text(model, texts[i], weights[i], views.colbert[i]) for i in (0, 1))
    return Explanation(
        query=query,
        passage=passage,
        score=score,
        fusion=fusion,
        channels=channels,
        matched=tuple(_matched(model, views.sparse, asked, found)),
        alignments=tuple(_alignments(asked, found)),
        sentence=_sentence(passage, asked, found),
    )


def _channels(
    scores: Mapping[str, Floats],
    weights: Mapping[str, float],
    row: int,
    *,
    rrf_k: float | None = None,
) -> tuple[Channel, ...]:
    """What each channel adds to the fused score of one of the candidates: by ranks, or a sum."""
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


def _text(model: Model, text: str, weights: Floats, vectors: NDArray[np.floating]) -> _Text:
    tokens = tokens_of(model.tokenizer, text)[: len(weights)]  # the end may have been cut off
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
    """The best one; a text without a token, such as "", is one itself."""
    text, spans = passage.text, [(token.start, token.end) for token in found.tokens[:-1]]
    best = best_sentence(query.vectors, found.vectors, spans, sentences(text))
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
