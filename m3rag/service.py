"""The operations of the command line and of servers, which return plain values.

The command line prints these values, and servers send them. Each function takes an open index or
a loaded model, so that a server opens and loads it only once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from m3rag.answers.generation import Answer, falls_short, needed_score, write
from m3rag.answers.streaming import write_streamed
from m3rag.encoder import Model
from m3rag.encoding import Encoding
from m3rag.errors import InputError
from m3rag.explanation import Sentence, tokens_of
from m3rag.explanation.alignment import Span, matched_spans
from m3rag.index import Hit, M3Index
from m3rag.index.info import Deleted, IndexInfo, delete, info
from m3rag.index.query import checked_score
from m3rag.index.settings import DEFAULTS, SearchSettings
from m3rag.limits import check_count
from m3rag.scoring import Weights, score_texts

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder

__all__ = [
    "Deleted",
    "Found",
    "IndexInfo",
    "Ranked",
    "ask",
    "delete",
    "embed",
    "info",
    "rerank",
    "search",
]

RERANK_CANDIDATES = 30
"""How many passages of a search a cross-encoder sorts, unless another number is given."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of `ask`.

    Attributes:
        question: The question.
        hits: The passages, best first.
        highlights: For each hit, the spans of words that also occur in the question.
        sentence: The best sentence of the first hit; None if there is no hit or if `refused`.
        min_score: The score that the first hit needs; None if there is no limit.
        refused: Whether the first hit scores less, so that no passage answers the question.
    """

    question: str
    hits: list[Hit]
    highlights: list[list[Span]]
    sentence: Sentence | None
    min_score: float | None
    refused: bool

    @property
    def answerable(self) -> bool:
        """Whether there is a passage to answer from."""
        return bool(self.hits) and not self.refused

    def write(self, llm: object) -> Answer:
        """Let a language model answer from the hits; see `m3rag.answers.answer`.

        Raises:
            InputError: There are no hits, or `llm` is not a language model.
            AnswerError: The language model failed or returned no text.
        """
        return write(self.question, self.hits, llm, min_score=self.min_score)

    def stream(self, llm: object) -> Iterator[str | Answer]:
        """Yield the pieces of an answer, then the whole; see `m3rag.answers.streaming`.

        Raises:
            InputError, AnswerError: As for `write`.
        """
        return write_streamed(self.question, self.hits, llm, min_score=self.min_score)

    def widened(self, index: M3Index, neighbours: int) -> Found:
        """Return the result with passages added around each one; see `M3Index.expand`.

        Raises:
            InputError: `neighbours` is negative or not an integer.
        """
        hits, sentence = index.expand(self.hits, neighbours), self.sentence
        if sentence is not None:  # the passage now starts earlier
            moved = (self.hits[0].passage.start or 0) - (hits[0].passage.start or 0)
            sentence = replace(sentence, start=sentence.start + moved, end=sentence.end + moved)
        highlights = [_highlights(index.model, hit) for hit in hits]
        return replace(self, hits=hits, highlights=highlights, sentence=sentence)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values; "min_score" and "refused" only if there is a limit."""
        result: dict[str, Any] = {
            "question": self.question,
            "answer": self._answer(),
            "hits": [
                hit.to_dict() | {"highlights": spans}
                for hit, spans in zip(self.hits, self.highlights, strict=True)
            ],
        }
        if self.min_score is not None:
            result |= {"min_score": self.min_score, "refused": self.refused}
        return result

    def _answer(self) -> dict[str, Any] | None:
        """Return the best sentence and its place in the document, or in a passage without one."""
        if self.sentence is None:
            return None
        passage = self.hits[0].passage
        first = passage.start or 0
        return {
            "text": self.sentence.text,
            "passage_id": passage.id,
            "document_id": passage.document_id,
            "page": passage.metadata.get("page"),
            "start": first + self.sentence.start,
            "end": first + self.sentence.end,
        }


@dataclass(frozen=True, slots=True)
class Ranked:
    """A text with its position in the input, its fused score and the score of each channel."""

    position: int
    text: str
    score: float
    channels: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"position": self.position, "text": self.text, "score": self.score, **self.channels}


def ask(
    index: M3Index,
    question: str,
    k: int = 5,
    *,
    min_score: float | None = None,
    neighbours: int = 0,
    cross_encoder: M3CrossEncoder | None = None,
    rerank_candidates: int = RERANK_CANDIDATES,
    settings: SearchSettings = DEFAULTS,
) -> Found:
    """Find the passages that answer a question, and the best sentence.

    Args:
        index: The index to search.
        question: The question, in any language of the model.
        k: The number of passages.
        min_score: The score that the best passage needs; by default the score that `tune`
            calibrated for the weights, or none with a cross-encoder.
        neighbours: How many passages to add before and after each one; see `M3Index.expand`.
        cross_encoder: Sorts the passages that the search finds; its scores are then those of the
            hits.
        rerank_candidates: How many passages the cross-encoder sorts, at least `k`.
        settings: How to search. `offset` counts sorted passages.

    Raises:
        InputError: The question is empty or an argument is out of range.
    """
    min_score = checked_score(min_score)
    if cross_encoder is None:
        hits = index.search(question, k, settings=settings)
        needed = needed_score(index, settings) if min_score is None else min_score
    else:
        check_count("rerank_candidates", rerank_candidates)
        last = check_count("offset", settings.offset, least=0) + check_count("k", k)
        found = index.search(question, max(last, rerank_candidates), settings=settings, offset=0)
        hits = cross_encoder.rerank(question, found, last)[settings.offset :]
        needed = min_score
    refused = bool(hits) and falls_short(hits, needed)
    sentence = hits[0].explain().sentence if hits and not refused else None
    highlights = [_highlights(index.model, hit) for hit in hits]
    result = Found(question, hits, highlights, sentence, needed, refused)
    return result.widened(index, neighbours) if neighbours and hits else result


def search(
    index: M3Index, query: str, k: int = 10, *, settings: SearchSettings = DEFAULTS
) -> list[dict[str, Any]]:
    """Return the hits of `M3Index.search` as JSON values."""
    return [hit.to_dict() for hit in index.search(query, k, settings=settings)]


def rerank(
    source: M3Index | Model | M3CrossEncoder,
    query: str,
    texts: Sequence[str],
    *,
    weights: Weights = "default",
    ids: Sequence[str | None] = (),
) -> list[Ranked]:
    """Score texts against a query and sort them, best first; equal scores keep their order.

    Args:
        source: A model, which encodes the texts; an index, which uses its stored vectors for
            texts that it contains; or a cross-encoder, whose score from 0 to 1 is the only one.
        query: The query, encoded without a prefix.
        texts: The texts to sort.
        weights: As for `M3Index.search`, without bm25.
        ids: The id of each text in the index, or nothing; None for a text without one.

    Raises:
        InputError: The query is empty, no channel has a weight, bm25 has one, `ids` are given
            with a model, or weights with a cross-encoder.
    """
    from m3rag.model import M3CrossEncoder  # imports torch

    if isinstance(source, M3Index):
        fused, columns = source.rescore(query, texts, weights, ids=ids)
    elif ids:
        raise InputError("`ids` need an index: a model has no stored vectors. Leave them out.")
    elif isinstance(source, M3CrossEncoder):
        if weights != "default":
            raise InputError("A cross-encoder gives one score. Leave `weights` out.")
        fused = source.score(query, texts, normalize=True)
        columns = {"cross_encoder": fused}
    else:
        fused, columns = score_texts(source, query, texts, weights)
    return [
        Ranked(i, texts[i], float(fused[i]), {c: float(column[i]) for c, column in columns.items()})
        for i in (-fused).argsort(kind="stable").tolist()
    ]


def embed(model: Model, texts: Sequence[str], *, colbert: bool = False) -> Iterator[dict[str, Any]]:
    """Encode texts; yields JSON values for each, with the term weights in descending order.

    Raises:
        InputError: `texts` is not a sequence of strings.
    """
    encodings = model.encode(texts, colbert=colbert)
    return (_embedded(text, one) for text, one in zip(texts, encodings, strict=True))


def _embedded(text: str, encoding: Encoding) -> dict[str, Any]:
    """Return the views of one text as JSON values."""
    weights = sorted(encoding.sparse[0].items(), key=lambda item: -item[1])
    values: dict[str, Any] = {
        "text": text,
        "tokens": int(encoding.n_tokens[0]),
        "dense": encoding.dense[0].tolist(),
        "sparse": {str(token): weight for token, weight in weights},
    }
    if "colbert" in encoding.channels:
        values["colbert"] = encoding.colbert[0].tolist()
    return values


def _highlights(model: Model, hit: Hit) -> list[Span]:
    """Return the spans in the passage of words that also occur in the question."""
    tokens = tokens_of(model.tokenizer, hit.passage.text)
    spans = [(token.start, token.end) for token in tokens]
    matched = {token for token, _, _ in hit.matched}
    return matched_spans([token.id for token in tokens], spans, matched)
