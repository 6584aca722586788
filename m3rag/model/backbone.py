"""The encoder of a network, over texts in one row, without padding between them.

A text attends only to itself and to the other texts of its unit. Shapes: T tokens of all texts, d
the encoder's width, n texts, h heads of k dimensions.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import ClassVar, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import XLMRobertaConfig, XLMRobertaModel
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer

from m3rag.errors import CheckpointError
from m3rag.model.architecture import check_shapes, network_config
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.embedding import PackedEmbedding
from m3rag.model.kernels.attention import PACKED
from m3rag.model.kernels.device import filler_tokens, packs_weights, share_count
from m3rag.model.kernels.layer import PackedLayer
from m3rag.model.packing import packed_words
from m3rag.model.storage import Positions, stored_positions
from m3rag.model.tokenizer import Tokens
from m3rag.threads import in_parts

_EARLY = 12  # a pass can be interrupted in the first 1/12 of its layers

Units = Sequence[Sequence[Tokens]]
"""The tokens of the texts of each unit, ordered by length."""

Interrupt = Callable[[], bool] | None
"""Called after each of the first layers; returns whether to interrupt the pass."""

Result = TypeVar("Result")


class PassInterruptedError(Exception):
    """A pass was interrupted in one of its first layers, to start again with more texts."""


class Backbone(nn.Module):
    """XLM-RoBERTa, from which each network inherits and to which it adds its heads.

    Attributes:
        pad: The id of `<pad>`.
        width: The width of the encoder.
        repeated: The stored rows of the table of positions, if it repeats itself.
        packed: Whether the layers are packed for this CPU and cannot be trained.
    """

    head_dtype: ClassVar[torch.dtype | None] = None
    """The dtype of the heads; None for that of the network."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        self.pad = config.pad_token_id or 0
        self.width = config.hidden_size
        self.repeated: Positions | None = None  # if only the first positions have rows
        self.packed = False
        self.encoder = XLMRobertaModel(config, add_pooling_layer=False)

    @classmethod
    def _empty(cls, config: XLMRobertaConfig, checkpoint: Checkpoint) -> Self:
        """Return a network of the checkpoint's shapes, without its weights."""
        return cls(config)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype
    ) -> Self:
        """Return a network with the checkpoint's weights, ready for inference.

        Raises:
            CheckpointError: The tensors do not match the config, or are those of another network.
        """
        positions = stored_positions(checkpoint.config)
        config = XLMRobertaConfig(**network_config(checkpoint.config))
        if positions is not None:
            config.max_position_embeddings = positions.stored
        config._attn_implementation = PACKED
        with torch.device("meta"):  # shapes only; the weights stay in the checkpoint's memory
            network = cls._empty(config, checkpoint)
        network.repeated = positions
        if words := packed_words(checkpoint.encoder):
            network.encoder.embeddings.add_module("word_embeddings", PackedEmbedding(words, dtype))
        weights = {f"encoder.{name}": tensor for name, tensor in checkpoint.encoder.items()}
        check_shapes(_shapes(network.state_dict()), _shapes(weights | checkpoint.head_tensors))
        packed = dict(network.named_buffers())  # the word table, in dtypes of its own
        weights = {n: t if n in packed else t.to(dtype) for n, t in weights.items()}
        head_dtype = cls.head_dtype or dtype
        weights |= {name: tensor.to(head_dtype) for name, tensor in checkpoint.head_tensors.items()}
        network.load_state_dict(weights, assign=True)
        for module in network.modules():  # buffers are not in checkpoints and are never read
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:
                    setattr(module, name, torch.zeros_like(buffer, device="cpu"))
        return network.to(device).eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self._norm.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the hidden states."""
        return self._norm.dtype

    @property
    def _norm(self) -> Tensor:
        return cast("Tensor", self.encoder.embeddings.LayerNorm.weight)

    def pack(self) -> None:
        """Replace the layers by the fastest ones for this CPU, which cannot be trained."""
        if packs_weights(self.device, self.dtype):
            layers = self.encoder.encoder.layer
            for i, layer in enumerate(layers):  # one by one, to avoid two copies of all weights
                layers[i] = PackedLayer(cast("XLMRobertaLayer", layer))
            self.packed = True

    def in_shares(
        self, units: Units, compute: Callable[[Units, Interrupt], Result], interrupt: Interrupt
    ) -> list[Result]:
        """Return the results of `compute` for the units, in shares that threads compute alone."""
        shares = self._shares(units)
        if not shares:
            return [compute(units, interrupt)]
        alone = partial(_without_gradients, compute, interrupt=_for_all(interrupt))
        return in_parts(alone, shares, pool="m3rag-encoding")

    def _shares(self, units: Units) -> list[Units]:
        """Return the units in shares of similar work, in order; none to compute all together."""
        if not self.packed:  # not on a CPU, or being trained
            return []
        tokens = np.array([sum(len(tokens.ids) for tokens in unit) for unit in units])
        count = share_count(int(tokens.sum()), int(tokens.max()), self.width)
        work = tokens * (2 * self.width + tokens)  # attention grows with the square of the tokens
        middles = np.cumsum(work) - work / 2
        owners = (middles * count / work.sum()).astype(int).tolist()
        shares = groupby(zip(units, owners, strict=True), itemgetter(1))
        return [[unit for unit, _ in share] for _, share in shares] if count else []

    def unit_states(self, units: Units, interrupt: Interrupt) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the last hidden states of units and where each starts: `(T + filler, d)`, `(n,)`.

        On a CPU, some `<pad>` follow as filler, a text of its own.
        """
        rows = [[id_ for tokens in unit for id_ in tokens.ids] for unit in units]
        filler = filler_tokens(sum(map(len, rows)), self.device)
        return self.hidden([*rows, [self.pad] * filler] if filler else rows, interrupt)

    def hidden(
        self, texts: Sequence[Sequence[int]], interrupt: Interrupt = None
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the last hidden states `(T, d)` and the position of each text's `<s>`, `(n,)`.

        The texts are ordered by length.

        Raises:
            PassInterruptedError: `interrupt` returned True.
        """
        lengths = np.array([len(ids) for ids in texts])  # (n,)
        ids = np.concatenate([np.asarray(ids, np.int64) for ids in texts])  # (T,)
        first = np.cumsum(lengths) - lengths  # (n,)
        positions = self._positions(ids, first, lengths)
        hidden = self.encoder.embeddings(
            input_ids=torch.from_numpy(ids)[None].to(self.device),
            position_ids=torch.from_numpy(positions)[None].to(self.device),
            token_type_ids=torch.zeros(1, len(ids), dtype=torch.long, device=self.device),
        )
        runs = [(len(list(group)), length) for length, group in groupby(lengths.tolist())]
        layers = self.encoder.encoder.layer
        for done, layer in enumerate(layers, 1):
            hidden = layer(hidden, None, runs=runs)  # None: no mask
            if interrupt is not None and done <= len(layers) // _EARLY and interrupt():
                raise PassInterruptedError
        return hidden[0], first

    def _positions(
        self, ids: NDArray[np.int64], first: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the row of each token's position `(T,)`.

        XLM-R's positions restart in each text and skip a literal `<pad>`.
        """
        real = ids != self.pad
        count = np.cumsum(real)
        before = np.repeat(count[first] - real[first], lengths)
        positions = np.where(real, count - before, 0) + self.pad
        return positions if self.repeated is None else self.repeated.rows(positions)


def check_finite(*outputs: Tensor) -> None:
    """Check that outputs have no NaN and no infinity; small numbers cannot overflow a sum.

    Raises:
        CheckpointError: One has.
    """
    total = sum(output.sum(dtype=torch.float32) for output in outputs)
    if not math.isfinite(total):
        raise CheckpointError(
            "The model computes NaN or infinity: its weights are damaged, or too large for its "
            'dtype. Load it with dtype="float32", or download or export the checkpoint again.'
        )


def _without_gradients(
    compute: Callable[[Units, Interrupt], Result], units: Units, *, interrupt: Interrupt
) -> Result:
    with torch.inference_mode():  # a setting of each thread
        return compute(units, interrupt)


def _for_all(interrupt: Interrupt) -> Interrupt:
    """Return an `interrupt` for several threads: it stays True, so that all of them stop."""
    if interrupt is None:
        return None
    interrupted = threading.Event()

    def check() -> bool:
        if interrupt():
            interrupted.set()
        return interrupted.is_set()

    return check


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
