"""The one shared model: texts in, three views out."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from m3rag.encoding import Encoding
from m3rag.errors import InputError
from m3rag.model import checkpoint as checkpoints
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.grouping import units_of
from m3rag.model.kernels.device import choose_device, choose_dtype, pass_tokens
from m3rag.model.lookup import DEFAULT, ModelSpec, locate
from m3rag.model.memo import Unit
from m3rag.model.network import M3Network
from m3rag.model.request import EncodingRequest, warn_truncated
from m3rag.model.worker import EncodingThread
from m3rag.progress import Progress

_SHORTEST = 3  # <s>, one token, </s>


class M3Model:
    """A BGE-M3 model that any number of threads and event loops share.

    One pass gives a dense vector, learned sparse term weights and ColBERT vectors of each text,
    with FlagEmbedding's numbers (arXiv 2402.03216; FlagEmbedding 1.4.2 `BGEM3FlagModel.encode`).

    Example:
        >>> model = M3Model.load("tiny")
        >>> enc = model.encode(["¿Qué es BGE M3?", "BGE M3 is an embedding model."])
        >>> enc.dense.shape
        (2, 256)

    Attributes:
        name: what it was loaded by: a hub id, a folder, or "tiny".
        fingerprint: equal for equal weights and tokenizer.
        dim: width of the dense vectors.
        colbert_dim: width of the ColBERT vectors.
        max_length: the most tokens encoded of a text, `<s>` and `</s>` included.
        dtype: "float32", "bfloat16" or "float16".
        device: where it computes.
        tokenizer: its tokenizer; safe to use from any thread.
        presets: weights of the channels that suit this model, by the names that `weights=` takes
            everywhere; BGE-M3's own are in `m3rag.scoring.PRESETS`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str = "unnamed",
        revision: str | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        max_length: int | None = None,
        batch_tokens: int | None = None,
        memo_bytes: int = 256 * 2**20,
    ) -> None:
        self.device = choose_device(device)
        torch_dtype = choose_dtype(dtype, self.device)
        self.name = name
        self.revision = revision
        self.dtype = str(torch_dtype).removeprefix("torch.")
        self.fingerprint = checkpoint.fingerprint()
        self.tokenizer = checkpoint.tokenizer
        self.presets = {name: dict(weights) for name, weights in checkpoint.presets.items()}
        self._longest = checkpoint.max_length
        self.max_length = self._longest if max_length is None else self._limit(max_length)
        self.dim = int(checkpoint.config["hidden_size"])
        self.colbert_dim = len(checkpoint.heads["colbert_linear"]["weight"])
        network = M3Network.from_checkpoint(checkpoint, device=self.device, dtype=torch_dtype)
        if self.device.type == "cpu":
            network.pack()
        budget = batch_tokens or pass_tokens(self.device)
        self._worker = EncodingThread(network, self.tokenizer, budget=budget, memo_bytes=memo_bytes)
        self._finalizer = weakref.finalize(self, self._worker.stop)

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
        """Load a checkpoint in the BGE-M3 layout.

        Args:
            name_or_path: A hub id, a local folder, or "tiny": a small model that comes with m3rag,
                for tests and demos; it is not BGE-M3.
            revision: Branch, tag or commit on the hub.
            device: "auto" (CUDA if there is one, else CPU), or anything `torch.device` takes.
            dtype: "float32", "bfloat16", "float16", or "auto": float16 on CUDA, bfloat16 on a CPU
                that multiplies it in hardware (AMX or AVX512-BF16), else float32.
            max_length: The most tokens to encode of a text unless a call says otherwise; all that
                the model can take by default (BGE-M3: 8192).
            batch_tokens: Tokens packed into one pass; more is faster on a GPU and takes memory.
            memo_bytes: Memory for the views of recent texts; 0 switches the memo off.

        Raises:
            CheckpointError: No such model, or one that is incomplete, damaged or of another kind.
            InputError: A device, dtype or max_length that does not exist here.
        """
        folder = locate(name_or_path, revision=revision)

        def build() -> M3Model:
            return cls(
                checkpoints.read(folder),
                name=str(name_or_path),
                revision=revision,
                device=device,
                dtype=dtype,
                max_length=max_length,
                batch_tokens=batch_tokens,
                memo_bytes=memo_bytes,
            )

        # In a thread of its own: in a forked process the OpenMP team of the calling thread may be
        # one that died with the fork, and torch would wait for it for ever.
        with ThreadPoolExecutor(1) as loader:
            return loader.submit(build).result()

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
        """Encode texts in one pass each, whatever views are asked for.

        Args:
            texts: Any number of strings; "" is a text like any other.
            dense: Ask for the dense vectors.
            sparse: Ask for the term weights.
            colbert: Ask for the ColBERT vectors.
            max_length: The most tokens to encode of each text; the model's own by default.
            mcls: Put an `<s>` before every so many tokens of a text, and make the dense vector of
                all of them; 256 in the paper (MCLS, appendix B.2), for texts much longer.
            documents: For each text the document that it is a part of, or None. Neighbours of one
                document are read together, up to `max_length` tokens a pass: each text keeps its
                own views, and they have seen the others. By default each text is read alone.
            progress: Called with the stage "encoding" for each text that is done, from the model's
                thread.

        Raises:
            InputError: Not a sequence of strings, no view asked for, a max_length or mcls out of
                range, or another number of documents than of texts.
            ForkError: The model was loaded in another process.

        Warns:
            TruncationWarning: A text has more tokens than the limit.
        """
        units = self._units(texts, max_length, mcls, documents)
        request = EncodingRequest(units, dense, sparse, colbert, progress)
        future = self._submit(request)
        try:
            encoding = future.result()
        except BaseException:  # Ctrl-C: the worker drops what nobody waits for
            future.cancel()
            raise
        return warn_truncated(encoding, request)

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
        """`encode`, without blocking the event loop; cancelling it cancels the work."""
        units = self._units(texts, max_length, mcls, documents)
        request = EncodingRequest(units, dense, sparse, colbert, progress)
        encoding = await asyncio.wrap_future(self._submit(request))
        return warn_truncated(encoding, request)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of whole texts, special tokens left out: what BM25 counts."""
        return self.tokenizer.ids(texts)

    def token_weights(
        self, texts: Sequence[str], *, documents: Sequence[str | None] | None = None
    ) -> list[NDArray[np.float32]]:
        """The sparse weight of each content token that is encoded, `(t - 2,)` a text.

        The sparse view keeps the highest weight of each token id; this says where it stands. A
        special token typed by hand has a weight here, and none there. `documents` is as in
        `encode`.
        """
        request = EncodingRequest(
            self._units(texts, None, None, documents), False, True, False, None
        )
        warn_truncated(self._submit(request).result(), request)
        return [views.weights[1:-1].copy() for views in request.gathered]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The vocabulary's piece for each token id; "▁" marks the beginning of a word."""
        return self.tokenizer.tokens(ids)

    @property
    def spec(self) -> ModelSpec:
        """A picklable description, from which another process can load an equal model."""
        return ModelSpec(
            name=self.name,
            revision=self.revision,
            device=str(self.device),
            dtype=self.dtype,
            max_length=self.max_length,
            fingerprint=self.fingerprint,
        )

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        return self.tokenizer.vocab_size

    @property
    def passes(self) -> int:
        """Forward passes so far."""
        return self._worker.passes

    @property
    def encoded(self) -> int:
        """Texts that went through a pass so far; what the memo answers is not counted."""
        return self._worker.encoded

    def close(self) -> None:
        """Stop the model's thread and free its memory; done by itself when it is forgotten."""
        self._finalizer()

    def __enter__(self) -> M3Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"M3Model({self.name!r}, dim={self.dim}, dtype={self.dtype}, device={self.device})"

    def _units(
        self,
        texts: Sequence[str],
        max_length: int | None,
        mcls: int | None,
        documents: Sequence[str | None] | None,
    ) -> list[Unit]:
        limit = self.max_length if max_length is None else self._limit(max_length)
        return units_of(texts, limit, mcls, documents, self.tokenizer)

    def _submit(self, request: EncodingRequest) -> Future[Encoding]:
        if request.units:
            return self._worker.submit(request)
        nothing: Future[Encoding] = Future()
        nothing.set_result(request.of_nothing(self.dim, self.colbert_dim))
        return nothing

    def _limit(self, max_length: int) -> int:
        if isinstance(max_length, bool) or not isinstance(max_length, int):
            raise InputError(f"max_length must be an int, got {type(max_length).__name__}.")
        if not _SHORTEST <= max_length <= self._longest:
            raise InputError(
                f"max_length={max_length:,} is out of range: this model takes {_SHORTEST} to "
                f"{self._longest:,} tokens a pass. Split longer texts with m3rag.split."
            )
        return max_length
