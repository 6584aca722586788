"""What all models have in common: how they are loaded, described, saved and closed."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch

from m3rag.closing import Closing
from m3rag.errors import InputError
from m3rag.model.architecture import MIN_LENGTH
from m3rag.model.arguments import check_limit, check_revision
from m3rag.model.backbone import Backbone
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.export import save_source
from m3rag.model.kernels.device import choose_device, choose_dtype, pass_tokens
from m3rag.model.lookup import ModelSpec, locate
from m3rag.model.memory import trimmed
from m3rag.model.reference import ByReference
from m3rag.model.worker import NetworkThread

UNNAMED = "unnamed"


class LoadedModel(ByReference, Closing):
    """A network in a thread of its own, which any number of threads and event loops can share.

    Attributes:
        name: The name it was loaded with: a hub id, a folder, or a name such as "small".
        revision: The branch, tag or commit on the hub, if one was given.
        fingerprint: A hash that is equal for equal weights and tokenizers.
        max_length: The most tokens of a text.
        dtype: "float32", "bfloat16" or "float16".
        device: The device it runs on.
        tokenizer: The tokenizer; safe to use from any thread.
    """

    _usual: ClassVar[int | None] = None
    """The most tokens of a text, unless another number is given; None for the model's limit."""

    _least: ClassVar[int] = MIN_LENGTH
    """The lowest limit that there can be."""

    _worker: NetworkThread[Any]

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str,
        revision: str | None,
        device: str | torch.device,
        dtype: str | torch.dtype,
        max_length: int | None,
    ) -> None:
        check_revision(revision)
        self.device = choose_device(device)
        self._torch_dtype = choose_dtype(dtype, self.device)
        self.name, self.revision = name, revision
        self.dtype = str(self._torch_dtype).removeprefix("torch.")
        self.fingerprint, self.tokenizer = checkpoint.fingerprint(), checkpoint.tokenizer
        self._max_limit = checkpoint.max_length
        self._usual_length = min(self._usual or self._max_limit, self._max_limit)
        self.max_length = self._usual_length
        self.max_length = self._limit(max_length)
        self._source: Checkpoint | Path = checkpoint  # the network's weights cannot be read back

    @classmethod
    def _load(cls, name_or_path: str | Path, **given: Any) -> Self:
        """Load a model in a new thread; `given` are the arguments of the constructor.

        A new thread has no OpenMP team yet. In a forked process, the team of the calling thread may
        have died with the fork, and torch would wait for it forever.
        """
        choose_dtype(given["dtype"], choose_device(given["device"]))
        folder = locate(name_or_path, revision=given["revision"])

        def build() -> LoadedModel:
            model = cls(cls._read(folder), name=str(name_or_path), **given)
            model._source = folder.absolute()
            return model

        with ThreadPoolExecutor(1) as loader:
            return cast("Self", loader.submit(trimmed, build).result())

    @classmethod
    def _read(cls, folder: Path) -> Checkpoint:
        """Read and check the folder of such a model."""
        raise NotImplementedError

    def _start(self, worker: NetworkThread[Any]) -> None:
        self._worker = worker
        self._finalizer = weakref.finalize(self, worker.stop)

    def _budget(self, network: Backbone, batch_tokens: int | None) -> int:
        """Return the tokens of a pass."""
        usual = pass_tokens(self.device, network.width)
        return usual if batch_tokens is None else int(batch_tokens)

    def _limit(self, max_length: int | None) -> int:
        """Return the most tokens of a text: those that a call passes, or `max_length`."""
        if max_length is None:
            return self.max_length
        check_limit(max_length, self._max_limit, least=self._least)
        return int(max_length)

    @property
    def spec(self) -> ModelSpec:
        """A picklable description from which another process can load an equal model.

        Raises:
            InputError: The model was built from a checkpoint without a name to load it by.
        """
        if self.name == UNNAMED:
            kind = type(self).__name__
            raise InputError(f"This model has no name to load it by. Pass {kind}(…, name=…).")
        limit = None if self.max_length == self._usual_length else self.max_length
        device = str(self.device)
        return ModelSpec(self.name, self.revision, device, self.dtype, limit, self.fingerprint)

    @property
    def passes(self) -> int:
        """The number of forward passes so far."""
        return self._worker.passes

    @property
    def encoded(self) -> int:
        """The number of texts, or pairs of texts, that went through the network so far."""
        return self._worker.encoded

    @property
    def tokens_encoded(self) -> int:
        """The number of tokens that went through the network so far."""
        return self._worker.tokens

    @property
    def waiting(self) -> int:
        """The number of calls that wait for the network, or for their result."""
        return self._worker.waiting

    def save(self, folder: str | Path, *, packed: bool = False) -> None:
        """Write the model to a new folder in float16, for FlagEmbedding and sentence-transformers.

        A loaded model is read again; its licence and model card are copied along.

        Args:
            folder: The folder; new or empty.
            packed: Write words in 4 bits and layers in 8 bits: a third as large, for m3rag only.

        Raises:
            CheckpointError: The weights have changed since, or cannot be packed or written.
            InputError: The folder exists and is not empty.
        """
        save_source(self._source, type(self)._read, self.fingerprint, folder, packed=packed)

    def close(self) -> None:
        """Stop the thread and free the memory; garbage collection does the same."""
        self._finalizer()
