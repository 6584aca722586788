"""A reranker for LangChain that uses the stored vectors of an index where it can."""

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
    """A reranker that sorts documents by ColBERT, or by all three scores of the model.

        colbert   the mean, over the query's vectors, of the best match in the document
        all       the sum of weight * score over dense, sparse and colbert, divided by the sum of
                  the weights

    Returns copies of the documents with "relevance_score" and the score of each channel, such as
    "colbert_score", in their metadata. Documents with equal scores keep their order. The
    asynchronous method runs in a thread.

    Example:
        >>> documents = [Document("A cactus needs sun."), Document("Ferns like shade.")]
        >>> reranker = M3Reranker(model="tiny", top_n=1)
        >>> reranker.compress_documents(documents, "Where do I put my fern?")[0].page_content
        'Ferns like shade.'

    Attributes:
        model: A model, or the name of the process's shared model; by default the model of the
            index, or BAAI/bge-m3 without an index.
        index: An index whose stored vectors score the documents that it contains with the same id
            and text; only the others are encoded.
        mode: "colbert" or "all".
        top_n: The number of documents to return; all by default.
        weights: The weights for the mode "all", as for `M3EnsembleRetriever`, without bm25.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = Field(default=None, repr=False)
    index: M3Index | None = Field(default=None, repr=False)
    mode: Literal["colbert", "all"] = "colbert"
    top_n: int | None = Field(default=None, ge=1)
    weights: str | Sequence[float] | Mapping[str, float] = "default"

    def model_post_init(self, context: Any, /) -> None:
        """Load the model if it is given by name or not at all."""
        super().model_post_init(context)
        if self.model is None and self.index is not None:
            self.model = self.index.model
        else:
            self.model = model_of(self.model)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the best `top_n` documents, best first.

        Raises:
            InputError: The query is empty, no channel has a weight, or bm25 has one.
            ModelMismatchError: Another model built the index.
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
