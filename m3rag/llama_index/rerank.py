"""A reranker for LlamaIndex that uses the stored vectors of an index where it can."""

from __future__ import annotations

from typing import Any, Literal

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # re-exported without __all__
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from m3rag.errors import InputError
from m3rag.frameworks import IndexLike, ModelLike, check_scores, index_of
from m3rag.index.index import M3Index
from m3rag.llama_index.component import OverAnIndex, UsesModel
from m3rag.llama_index.nodes import scores_of, with_scores
from m3rag.scoring import PRESETS, Weights, score_texts
from m3rag.scoring.texts import text_weights

dispatcher = get_dispatcher(__name__)


class M3Reranker(OverAnIndex, UsesModel, BaseNodePostprocessor):
    """A reranker that sorts retrieved nodes by ColBERT, or by all three scores of the model.

        colbert   the mean, over the query's vectors, of the best match in the node
        all       (w_d * dense + w_s * sparse + w_c * colbert) / (w_d + w_s + w_c)

    Example:
        >>> texts = ["Cacti like sun.", "Ferns like shade."]
        >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
        >>> reranker = M3Reranker(model="tiny", top_n=1)
        >>> reranker.postprocess_nodes(nodes, query_str="Who likes shade?")[0].text
        'Ferns like shade.'

    If an index is given, the nodes that it contains are scored by its stored vectors; all other
    nodes are encoded in one call. The given nodes are not changed.

    Args:
        model: An `M3Model`, or a name for `M3Model.load`; by default the model of the index, or
            the process's shared BGE-M3 without an index.
        index: The index that nodes may come from, or what has it: a store, a retriever, or the
            folder of an index.
        settings: The fields.

    Attributes:
        top_n: The number of nodes to return.
        mode: "colbert" or "all".
        weights: The weights for the mode "all", as in `M3EnsembleRetriever`; also those saved with
            the index.
        scores_in_metadata: As for `M3EnsembleRetriever`.

    Raises:
        InputError: An argument is unknown or cannot be used.
    """

    top_n: int = Field(default=4, gt=0)
    mode: Literal["colbert", "all"] = "colbert"
    weights: Any = "default"  # checked against the presets, in an error that lists them
    scores_in_metadata: Any = False
    _index: M3Index | None = PrivateAttr(default=None)

    def __init__(
        self, *, model: ModelLike = None, index: IndexLike | None = None, **settings: Any
    ) -> None:
        found = None if index is None else index_of(index)
        if model is None and found is not None:
            model = found.model
        super().__init__(model=model, **settings)
        self._index = found
        self._check()

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3Reranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputError(
                "M3Reranker needs a query. Use postprocess_nodes(nodes, query_str=...)."
            )
        if not nodes:
            return []
        dispatcher.event(
            ReRankStartEvent(
                query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model_name
            )
        )
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model_name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            best = self._reranked(query_bundle.query_str, nodes)
            event.on_end(payload={EventPayload.NODES: best})
        dispatcher.event(ReRankEndEvent(nodes=best))
        return best

    def _check(self) -> None:
        """Check that the model or the index knows the weights; loads no model for a known name."""
        check_scores(self.scores_in_metadata, "scores_in_metadata")
        known = self._held.model is None and (
            not isinstance(self.weights, str) or self.weights in PRESETS
        )
        text_weights(self._weights(), {} if known else self.model.presets)

    def _weights(self) -> Weights:
        saved = {} if self._index is None else self._index.presets
        weights: Weights = self.weights
        return saved[weights].weights if isinstance(weights, str) and weights in saved else weights

    def _reranked(self, query: str, nodes: list[NodeWithScore]) -> list[NodeWithScore]:
        texts = [found.get_content(MetadataMode.EMBED) for found in nodes]
        weights: Weights = {"colbert": 1.0} if self.mode == "colbert" else self._weights()
        if self._index is None:
            fused, columns = score_texts(self.model, query, texts, weights)
        else:
            ids = [found.node_id for found in nodes]
            fused, columns = self._index.rescore(query, texts, weights, ids=ids, model=self.model)
        best = sorted(range(len(nodes)), key=lambda row: -fused[row])[: self.top_n]
        return [
            with_scores(
                nodes[row].node,
                float(fused[row]),
                scores_of(nodes[row])
                | {channel: float(column[row]) for channel, column in columns.items()},
                self.scores_in_metadata,
            )
            for row in best
        ]
