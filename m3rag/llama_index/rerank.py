"""A reranker for LlamaIndex: by the vectors of an index that has them, or by a cross-encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # re-exported without __all__
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from m3rag.errors import InputError
from m3rag.frameworks import IndexLike, ModelLike, check_scores, index_of
from m3rag.frameworks.reranking import (
    CROSS,
    Mode,
    check_mode,
    cross_encoder_of,
    described,
    scores_of_texts,
)
from m3rag.index.index import M3Index
from m3rag.llama_index.component import OverAnIndex, UsesModel
from m3rag.llama_index.nodes import encoded_text, scores_of, with_scores
from m3rag.model.lookup import DEFAULT_RERANKER, ModelSpec
from m3rag.scoring import PRESETS, Weights
from m3rag.scoring.fusion import Floats
from m3rag.scoring.texts import text_weights

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder

dispatcher = get_dispatcher(__name__)


class M3Reranker(OverAnIndex, UsesModel, BaseNodePostprocessor):
    """A reranker that sorts retrieved nodes by ColBERT, by all scores of M3, or by a cross-encoder.

        colbert         the mean, over the query's vectors, of the best match in the node
        all             (w_d * dense + w_s * sparse + w_c * colbert) / (w_d + w_s + w_c)
        cross-encoder   the score of a cross-encoder, 0 to 1, which reads the query and the node
                        together: the best and the slowest

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
        cross_encoder: The cross-encoder for its mode: an `M3CrossEncoder`, or the name or folder
            of the process's shared one; by default BAAI/bge-reranker-v2-m3. The mode has no
            `model`, `index` or `weights`. The fields describe the cross-encoder, then.
        settings: The fields.

    Attributes:
        top_n: The number of nodes to return.
        mode: "colbert", "all" or "cross-encoder".
        weights: The weights for the mode "all", as in `M3EnsembleRetriever`; also those saved with
            the index.
        max_length: The most tokens of a query and a node together, for a cross-encoder; by default
            its own limit.
        scores_in_metadata: As for `M3EnsembleRetriever`.

    Raises:
        InputError: An argument is unknown or cannot be used.
    """

    top_n: int = Field(default=4, gt=0)
    mode: Mode = "colbert"
    weights: Any = "default"  # checked against the presets, in an error that lists them
    max_length: int | None = None
    scores_in_metadata: Any = False
    _index: M3Index | None = PrivateAttr(default=None)
    _cross_encoder: Any = PrivateAttr(default=None)  # a copy names it, as it does a model

    def __init__(
        self,
        *,
        model: ModelLike = None,
        index: IndexLike | None = None,
        cross_encoder: M3CrossEncoder | ModelSpec | str | Path | None = None,
        **settings: Any,
    ) -> None:
        check_mode(
            settings.get("mode", "colbert"),
            cross_encoder=cross_encoder,
            model=model,
            index=index,
            weights=settings.get("weights", "default"),
        )
        found = None if index is None else index_of(index)
        if settings.get("mode") == CROSS:
            model = described(cross_encoder)
            settings = {"model_name": DEFAULT_RERANKER, **settings}
            if model is not None:
                settings = {"max_length": model.max_length, **settings}
        elif model is None and found is not None:
            model = found.model
        super().__init__(model=model, **settings)
        if cross_encoder is not None and not isinstance(cross_encoder, str | Path | ModelSpec):
            self._cross_encoder = cross_encoder
        self._index = found
        self._check()

    @property
    def cross_encoder(self) -> M3CrossEncoder:
        """The cross-encoder of its mode, loaded on first use.

        Raises:
            CheckpointError: The model of this name is no cross-encoder.
            ModelMismatchError: It does not have the expected fingerprint.
        """
        if self._cross_encoder is None:
            self._cross_encoder = cross_encoder_of(self.spec)
        found: M3CrossEncoder = self._cross_encoder
        return found

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
        check_mode(self.mode, index=self._index, weights=self.weights, max_length=self.max_length)
        if self.mode == CROSS:
            return
        known = self._held.model is None and (
            not isinstance(self.weights, str) or self.weights in PRESETS
        )
        text_weights(self._weights(), {} if known else self.model.presets)

    def _weights(self) -> Weights:
        saved = {} if self._index is None else self._index.presets
        weights: Weights = self.weights
        return saved[weights].weights if isinstance(weights, str) and weights in saved else weights

    def _reranked(self, query: str, nodes: list[NodeWithScore]) -> list[NodeWithScore]:
        fused, columns = self._scores(query, nodes)
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

    def _scores(self, query: str, nodes: list[NodeWithScore]) -> tuple[Floats, dict[str, Floats]]:
        """Return the scores of nodes, `(n,)`, and those of each channel."""
        texts = [encoded_text(found.node) for found in nodes]
        ids = [found.node_id for found in nodes]
        weights: Weights = {"colbert": 1.0} if self.mode == "colbert" else self._weights()
        return scores_of_texts(self, self._index, query, texts, ids, weights)
