"""A reranker for LangChain: by the vectors of an index where it has them, or by a cross-encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field

from m3rag.frameworks import (
    IndexLike,
    ModelLike,
    assign,
    check_scores,
    full_text,
    index_of,
    model_of,
    own_errors,
)
from m3rag.frameworks.reranking import CROSS, Mode, check_mode, cross_encoder_of, scores_of_texts
from m3rag.index.index import M3Index
from m3rag.langchain.component import check_fields
from m3rag.langchain.index_retriever import blank
from m3rag.langchain.scores import with_scores
from m3rag.langchain.sharing import named
from m3rag.scoring import Weights
from m3rag.scoring.fusion import Floats
from m3rag.scoring.texts import text_weights

_FINDERS: dict[str, Callable[[Any], Any]] = {
    "model": model_of,
    "index": index_of,
    "cross_encoder": cross_encoder_of,
}
"""The functions that find what an argument stands for."""


class M3Reranker(BaseDocumentCompressor):
    """A reranker that sorts documents by ColBERT, by all scores of M3, or by a cross-encoder.

        colbert         the mean, over the query's vectors, of the best match in the document
        all             the sum of weight * score over dense, sparse and colbert, divided by the
                        sum of the weights
        cross-encoder   the score of a cross-encoder, 0 to 1, which reads the query and the
                        document together: the best and the slowest

    Returns copies of the documents with "relevance_score" and the score of each channel, such as
    "colbert_score", in their metadata. Documents with equal scores keep their order. With an empty
    query, it returns the first documents as they are. The asynchronous method runs in a thread.

    Example:
        >>> documents = [Document("A cactus needs sun."), Document("Ferns like shade.")]
        >>> reranker = M3Reranker(model="tiny", top_n=1)
        >>> reranker.compress_documents(documents, "Where do I put my fern?")[0].page_content
        'Ferns like shade.'

    Attributes:
        model: A model, or the name of the process's shared model; by default the model of the
            index, or BAAI/bge-m3 without an index.
        index: An index, or what has one, whose stored vectors score the documents that it contains
            with the same id and text; only the others are encoded.
        mode: "colbert", "all" or "cross-encoder".
        top_n: The number of documents to return; all by default.
        weights: The weights for the mode "all", as for `M3EnsembleRetriever`, without bm25.
        cross_encoder: The cross-encoder for its mode: an `M3CrossEncoder`, or the name or folder
            of the process's shared one; by default BAAI/bge-reranker-v2-m3. The mode has no
            `model`, `index` or `weights`.
        max_length: The most tokens of a query and a document together, for a cross-encoder; by
            default its own limit.
        min_score: Leave out documents with a lower score.
        scores: True puts scores into the metadata, a string before the key of each of them, and
            False leaves the documents as they are.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", validate_assignment=True
    )

    model: Any = Field(default=None, repr=False)
    index: M3Index | None = Field(default=None, repr=False)
    mode: Mode = "colbert"
    top_n: int | None = Field(default=None, ge=1)
    weights: Any = "default"
    cross_encoder: Any = Field(default=None, repr=False)
    max_length: int | None = None
    min_score: float | None = None
    scores: Any = True

    def __init__(
        self, *, model: ModelLike = None, index: IndexLike | None = None, **settings: Any
    ) -> None:
        check_fields(type(self), settings)
        cross = settings.get("mode") == CROSS
        check_mode(
            settings.get("mode", "colbert"),
            cross_encoder=settings.get("cross_encoder"),
            model=model,
            index=index,
            weights=settings.get("weights", "default"),
            max_length=settings.get("max_length"),
        )
        found = None if index is None else index_of(index)
        if cross:
            settings["cross_encoder"] = cross_encoder_of(settings.get("cross_encoder"))
        else:
            model = found.model if found is not None and model is None else model_of(model)
        with own_errors(type(self).__name__):
            super().__init__(model=model, index=found, **settings)  # type: ignore[call-arg]
        self._check()

    def __setattr__(self, name: str, value: Any) -> None:
        check_fields(type(self), [name])
        if name in _FINDERS and (value is not None or name == "model"):
            value = _FINDERS[name](value)
        assign(self, name, value, super().__setattr__)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()  # the copy shares the model and the index

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        held = {name: named(getattr(self, name)) for name in ("model", "cross_encoder")}
        return {**state, "__dict__": state["__dict__"] | held}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        fields = dict(state["__dict__"])
        held = "cross_encoder" if fields["mode"] == CROSS else "model"
        fields[held] = _FINDERS[held](fields[held])
        super().__setstate__({**state, "__dict__": fields})

    def _check(self) -> None:
        check_scores(self.scores, "scores")
        check_mode(
            self.mode,
            cross_encoder=self.cross_encoder,
            model=self.model,
            index=self.index,
            weights=self.weights,
            max_length=self.max_length,
        )
        if self.mode == CROSS:
            return
        if self.index is not None:
            self.index.manifest.check_model(self.model, "The index")
        text_weights(self._weights(), self.model.presets)

    def _weights(self) -> Weights:
        weights: Weights = {"colbert": 1.0} if self.mode == "colbert" else self.weights
        return weights

    def _scores(
        self, documents: Sequence[Document], query: str
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the scores of documents, `(n,)`, and those of each channel."""
        texts = [full_text(document.page_content, document.metadata) for document in documents]
        ids = [document.id or document.metadata.get("_id") for document in documents]
        return scores_of_texts(self, self.index, query, texts, ids, self._weights())

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the best `top_n` documents, best first.

        Raises:
            InputError: The query is no string.
            ModelMismatchError: Another model built the index.
        """
        if not documents or blank(query):
            return list(documents)[: self.top_n]
        fused, channels = self._scores(documents, query)
        best = (-fused).argsort(kind="stable")[: self.top_n].tolist()
        if self.min_score is not None:
            best = [i for i in best if fused[i] >= self.min_score]
        return [self._scored(documents[i], fused[i], channels, i) for i in best]

    def _scored(self, document: Document, score: float, channels: Any, at: int) -> Document:
        columns = {channel: column[at] for channel, column in channels.items()}
        return with_scores(document, score, columns, self.scores)
