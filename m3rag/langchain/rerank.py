"""Reranking for LangChain by the same model, with stored vectors where there are some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field

from m3rag.index import M3Index
from m3rag.langchain.documents import with_scores
from m3rag.model.shared import model_of
from m3rag.scoring import Weights, score_texts


class M3Reranker(BaseDocumentCompressor):
    """Orders documents by the model's own scores; asynchronously in a thread.

        colbert   the mean, over the query's vectors, of the best match in the document
        all       the sum of weight * score over dense, sparse and colbert, by the weights' sum

    Documents come back as copies with "relevance_score" and the score of each channel, such as
    "colbert_score", in their metadata. Equal scores stay in the order they came in.

    Example:
        >>> documents = [Document("A cactus needs sun."), Document("Ferns like shade.")]
        >>> reranker = M3Reranker(model="tiny", top_n=1)
        >>> reranker.compress_documents(documents, "Where do I put my fern?")[0].page_content
        'Ferns like shade.'

    Attributes:
        model: what encodes, or its name; the index's, or else the process's shared BAAI/bge-m3.
        index: documents that come from it, by id and with the same text, are scored by its stored
            vectors; only what is missing is encoded.
        mode: "colbert" or "all".
        top_n: how many documents to keep; all by default.
        weights: of the mode "all", as for `M3EnsembleRetriever`, without bm25.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = Field(default=None, repr=False)
    index: M3Index | None = Field(default=None, repr=False)
    mode: Literal["colbert", "all"] = "colbert"
    top_n: int | None = Field(default=None, ge=1)
    weights: str | Sequence[float] | Mapping[str, float] = "default"

    def model_post_init(self, context: Any, /) -> None:
        """Find the model."""
        super().model_post_init(context)
        own = self.model is None and self.index is not None
        self.model = self.index.model if own and self.index else model_of(self.model)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The best `top_n` documents, best first.

        Raises:
            InputError: An empty query, or weights that leave nothing to score by.
            ModelMismatchError: The index was made by another model.
        """
        if not documents:
            return []
        weights: Weights = {"colbert": 1.0} if self.mode == "colbert" else self.weights
        texts = [document.page_content for document in documents]
        if self.index is None:
            fused, channels = score_texts(self.model, query, texts, weights)
        else:
            ids = [document.id or document.metadata.get("_id") for document in documents]
            fused, channels = self.index.rescore(query, texts, weights, ids=ids, model=self.model)
        best = (-fused).argsort(kind="stable")[: self.top_n]
        return [
            with_scores(documents[i], fused[i], {c: column[i] for c, column in channels.items()})
            for i in best.tolist()
        ]
