"""The cross-encoder, shared by all threads: it scores passages against a query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import ClassVar, Protocol, Self, TypeVar

import torch

from m3rag.documents import Passage
from m3rag.errors import CheckpointError, InputError
from m3rag.limits import shown
from m3rag.model.architecture import MIN_PAIR_LENGTH
from m3rag.model.arguments import check_count, check_sizes
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.cross_checkpoint import read_cross_encoder
from m3rag.model.grouping import check_text
from m3rag.model.loaded import UNNAMED, LoadedModel
from m3rag.model.lookup import DEFAULT_RERANKER
from m3rag.model.request import awaited
from m3rag.model.scoring_network import ScoringNetwork
from m3rag.model.scoring_request import Pair, Scores, ScoringRequest, normalized, pairs_of
from m3rag.model.scoring_thread import ScoringThread
from m3rag.progress import Progress

USUAL_LENGTH = 512
"""The most tokens of a pair, unless another number is given; as in FlagEmbedding."""


class Rerankable(Protocol):
    """A search result, such as `m3rag.Hit`."""

    @property
    def passage(self) -> Passage:
        """The passage that was found."""
        ...

    def reranked(self, score: float) -> Self:
        """Return the result with the score of a cross-encoder, 0 to 1."""
        ...


Found = TypeVar("Found", bound=Rerankable)


class M3CrossEncoder(LoadedModel):
    """A cross-encoder such as BAAI/bge-reranker-v2-m3, for any number of threads and event loops.

    It reads a query and a passage together, as one text, so it judges them better than vectors that
    were computed apart, and costs a pass for each pair. It has the encoder of an `M3Model` and runs
    on the same kernels, with the scores of FlagEmbedding 1.4.2 (`FlagReranker.compute_score`).

    Example:
        >>> cross_encoder = M3CrossEncoder.load()  # BAAI/bge-reranker-v2-m3
        >>> hits = index.search("Where do I put my fern?", k=30)
        >>> best = cross_encoder.rerank("Where do I put my fern?", hits, k=5)

    Attributes:
        name: The name it was loaded with: a hub id or a folder.
        fingerprint: A hash that is equal for equal weights and tokenizers.
        max_length: The most tokens of a query and a passage together, special tokens included.
        dtype: "float32", "bfloat16" or "float16".
        device: The device it runs on.
        tokenizer: The tokenizer; safe to use from any thread.
    """

    _opener: ClassVar[str] = "cross_encoder_of"
    _usual: ClassVar[int | None] = USUAL_LENGTH
    _least: ClassVar[int] = MIN_PAIR_LENGTH

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str = UNNAMED,
        revision: str | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        check_sizes(max_length, batch_tokens)
        if not checkpoint.is_cross_encoder:
            raise CheckpointError(
                "This is the checkpoint of an M3 model, which does not score pairs. Build an "
                "M3Model from it."
            )
        super().__init__(
            checkpoint,
            name=name,
            revision=revision,
            device=device,
            dtype=dtype,
            max_length=max_length,
        )
        network = ScoringNetwork.from_checkpoint(
            checkpoint, device=self.device, dtype=self._torch_dtype
        )
        network.pack()
        budget = self._budget(network, batch_tokens)
        self._start(ScoringThread(network, self.tokenizer, budget=budget))

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = DEFAULT_RERANKER,
        *,
        revision: str | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> M3CrossEncoder:
        """Load a checkpoint in the layout of BAAI/bge-reranker-v2-m3.

        Args:
            name_or_path: A hub id, a local folder, or the name of an installed model.
            revision: A branch, tag or commit on the hub.
            device: As for `M3Model.load`.
            dtype: As for `M3Model.load`; the head always computes in float32.
            max_length: The most tokens of a query and a passage together; 512 by default. A longer
                query is cut to three quarters of them, and the passage to the rest.
            batch_tokens: The tokens packed into one pass. More are faster on a GPU.

        Raises:
            CheckpointError: The model does not exist, is incomplete or damaged, or is no
                cross-encoder with one score.
            InputError: An argument is not valid here; it is checked before anything is read.
        """
        check_sizes(max_length, batch_tokens)
        return cls._load(
            name_or_path,
            revision=revision,
            device=device,
            dtype=dtype,
            max_length=max_length,
            batch_tokens=batch_tokens,
        )

    @classmethod
    def _read(cls, folder: Path) -> Checkpoint:
        return read_cross_encoder(folder)

    def score(
        self,
        query: str,
        passages: Sequence[str],
        *,
        max_length: int | None = None,
        normalize: bool = False,
        progress: Progress | None = None,
    ) -> Scores:
        """Return the score of each passage against a query, float32 `(n,)`.

        Args:
            query: The query, without a prefix.
            passages: Any number of texts.
            max_length: The most tokens of a pair; the model's `max_length` by default.
            normalize: Return the sigmoid of the scores, 0 to 1; it keeps their order.
            progress: Called with ("scoring", pairs done, total), from the model's thread.

        Raises:
            InputError: An argument is not a string or not a list of strings, or `max_length` is out
                of range.
            ForkError: The model was loaded in another process.

        Warns:
            TruncationWarning: A pair has more tokens than the limit.
        """
        pairs = self._pairs(query, passages, max_length)
        request = ScoringRequest(pairs, normalize=normalize, progress=progress)
        return request.warned(awaited(self._submit(request)))

    async def ascore(
        self,
        query: str,
        passages: Sequence[str],
        *,
        max_length: int | None = None,
        normalize: bool = False,
        progress: Progress | None = None,
    ) -> Scores:
        """Score passages without blocking the event loop; see `score`.

        Cancelling the task cancels the work.
        """
        pairs = self._pairs(query, passages, max_length)
        request = ScoringRequest(pairs, normalize=normalize, progress=progress)
        return request.warned(await asyncio.wrap_future(self._submit(request)))

    def score_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        max_length: int | None = None,
        normalize: bool = False,
        progress: Progress | None = None,
    ) -> Scores:
        """Return the score of each (query, passage), float32 `(n,)`; see `score`."""
        checked = pairs_of(pairs, self._limit(max_length))
        request = ScoringRequest(checked, normalize=normalize, progress=progress)
        return request.warned(awaited(self._submit(request)))

    def rerank(self, query: str, hits: Sequence[Found], k: int | None = None) -> list[Found]:
        """Return the `k` hits with the highest scores, best first; all by default.

        Each hit has the score, 0 to 1, as its `score` and its `cross_encoder`, and keeps the scores
        of its channels. Hits with equal scores keep their order.

        Raises:
            InputError: The query is not a string, or `k` is not an integer of at least 1.
        """
        if k is not None:
            check_count("k", k, 1)
        return _best(hits, self.score(query, _texts(hits)), k)

    async def arerank(self, query: str, hits: Sequence[Found], k: int | None = None) -> list[Found]:
        """Run `rerank` without blocking the event loop."""
        if k is not None:
            check_count("k", k, 1)
        return _best(hits, await self.ascore(query, _texts(hits)), k)

    def __repr__(self) -> str:
        return f"M3CrossEncoder({self.name!r}, dtype={self.dtype}, device={self.device})"

    def _pairs(self, query: str, passages: Sequence[str], max_length: int | None) -> list[Pair]:
        limit = self._limit(max_length)
        if isinstance(passages, str) or not isinstance(passages, Iterable):
            raise InputError(f"`passages` must be a list of strings, got {shown(passages)}.")
        passages = list(passages)
        check_text("`query`", query)
        for i, passage in enumerate(passages):
            check_text(f"passages[{i}]", passage)
        return [Pair(query, passage, limit) for passage in passages]

    def _submit(self, request: ScoringRequest) -> Future[Scores]:
        if request.units:
            return self._worker.submit(request)
        request.future.set_result(request.result())
        return request.future


def _texts(hits: Sequence[Rerankable]) -> list[str]:
    for hit in hits:
        if not hasattr(hit, "reranked"):
            raise InputError(
                f"`hits` must be hits of a search, got {shown(hit)}. For texts, use score(query, "
                "passages)."
            )
    return [hit.passage.full_text for hit in hits]


def _best(hits: Sequence[Found], scores: Scores, k: int | None) -> list[Found]:
    order = (-scores).argsort(kind="stable")[:k].tolist()
    found = normalized(scores).tolist()
    return [hits[i].reranked(found[i]) for i in order]
