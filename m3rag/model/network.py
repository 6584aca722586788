"""The network: one forward pass from token ids to views, without padding between texts.

Texts are packed into one row. A text attends only to itself and to the other texts of its unit.
Shapes: n texts, T tokens of all texts, d the encoder's width, c the ColBERT width, h heads of k
dimensions.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
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
from m3rag.model.kernels.onednn import PackedLinear
from m3rag.model.packing import packed_words
from m3rag.model.storage import Positions, stored_positions
from m3rag.model.tokenizer import Tokens
from m3rag.threads import in_parts

_EARLY = 12  # a pass can be interrupted in the first 1/12 of its layers


@dataclass(frozen=True, slots=True)
class Views:
    """The views of n packed texts, on the CPU.

    Attributes:
        dense: float32 `(n, d)`.
        weights: float32 `(T,)`. One weight per token.
        colbert: `(T - number of <s>, c)`; None if it was not requested.
    """

    dense: NDArray[np.float32]
    weights: NDArray[np.float32]
    colbert: NDArray[np.floating] | None


class PassInterruptedError(Exception):
    """A pass was interrupted in one of its first layers, to start again with more texts."""


class M3Network(nn.Module):
    """XLM-RoBERTa with BGE-M3's sparse and ColBERT heads; the dense vector needs no head."""

    def __init__(self, config: XLMRobertaConfig, colbert_dim: int) -> None:
        super().__init__()
        self.pad = config.pad_token_id or 0
        self.repeated: Positions | None = None  # if only the first positions have rows
        self.encoder = XLMRobertaModel(config, add_pooling_layer=False)
        self.sparse_linear = nn.Linear(config.hidden_size, 1)
        self.colbert_linear: nn.Module = nn.Linear(config.hidden_size, colbert_dim)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype
    ) -> M3Network:
        """Return a network with the checkpoint's weights, ready for inference.

        Raises:
            CheckpointError: The encoder's tensors do not match its config.
        """
        positions = stored_positions(checkpoint.config)
        config = XLMRobertaConfig(**network_config(checkpoint.config))
        if positions is not None:
            config.max_position_embeddings = positions.stored
        config._attn_implementation = PACKED
        with torch.device("meta"):  # shapes only; the weights stay in the checkpoint's memory
            network = cls(config, len(checkpoint.heads["colbert_linear"]["weight"]))
        network.repeated = positions
        if words := packed_words(checkpoint.encoder):
            network.encoder.embeddings.add_module("word_embeddings", PackedEmbedding(words, dtype))
        weights = {f"encoder.{name}": tensor for name, tensor in checkpoint.encoder.items()}
        for head, parts in checkpoint.heads.items():
            weights |= {f"{head}.{name}": tensor for name, tensor in parts.items()}
        check_shapes(_shapes(network.state_dict()), _shapes(weights))
        packed = dict(network.named_buffers())  # the word table, in dtypes of its own
        weights = {n: t if n in packed else t.to(dtype) for n, t in weights.items()}
        network.load_state_dict(weights, assign=True)
        for module in network.modules():  # buffers are not in checkpoints and are never read
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:
                    setattr(module, name, torch.zeros_like(buffer, device="cpu"))
        return network.to(device).eval().requires_grad_(False)

    def pack(self) -> None:
        """Replace the layers by the fastest ones for this CPU, which cannot be trained."""
        weight = self.sparse_linear.weight
        if packs_weights(weight.device, weight.dtype):
            layers = self.encoder.encoder.layer
            for i, layer in enumerate(layers):  # one by one, to avoid two copies of all weights
                layers[i] = PackedLayer(cast("XLMRobertaLayer", layer))
            self.colbert_linear = PackedLinear(cast("nn.Linear", self.colbert_linear))

    def forward(
        self,
        units: Sequence[Sequence[Tokens]],
        *,
        colbert: bool,
        interrupt: Callable[[], bool] | None = None,
    ) -> Views:
        """Encode units of texts, which are ordered by length.

        The dense vector of a text is the normalised mean of the hidden states of all its `<s>`. The
        positions of a unit continue from text to text.

        Args:
            units: The tokens of the texts of each unit.
            colbert: Whether to compute the ColBERT vectors.
            interrupt: Called after each of the first layers; returns whether to interrupt the pass.

        Raises:
            PassInterruptedError: `interrupt` returned True.
        """
        shares = self._shares(units)
        if not shares:
            return self._views(units, colbert, interrupt)
        encode = partial(self._share, colbert=colbert, interrupt=_for_all(interrupt))
        parts = in_parts(encode, shares, pool="m3rag-encoding")
        if len(parts) == 1:
            return parts[0]
        return Views(
            np.concatenate([views.dense for views in parts]),
            np.concatenate([views.weights for views in parts]),
            np.concatenate([views.colbert for views in parts]) if colbert else None,
        )

    def _shares(self, units: Sequence[Sequence[Tokens]]) -> list[Sequence[Sequence[Tokens]]]:
        """Return the units in shares of similar work, in order; none to compute all together."""
        if not isinstance(self.colbert_linear, PackedLinear):  # not on a CPU, or being trained
            return []
        width = self.sparse_linear.in_features
        tokens = np.array([sum(len(tokens.ids) for tokens in unit) for unit in units])
        count = share_count(int(tokens.sum()), int(tokens.max()), width)
        work = tokens * (2 * width + tokens)  # attention grows with the square of the tokens
        middles = np.cumsum(work) - work / 2
        owners = (middles * count / work.sum()).astype(int).tolist()
        shares = groupby(zip(units, owners, strict=True), itemgetter(1))
        return [[unit for unit, _ in share] for _, share in shares] if count else []

    def _share(
        self,
        units: Sequence[Sequence[Tokens]],
        *,
        colbert: bool,
        interrupt: Callable[[], bool] | None,
    ) -> Views:
        with torch.inference_mode():  # a setting of each thread
            return self._views(units, colbert, interrupt)

    def _views(
        self,
        units: Sequence[Sequence[Tokens]],
        colbert: bool,
        interrupt: Callable[[], bool] | None,
    ) -> Views:
        device, dtype = self.sparse_linear.weight.device, self.sparse_linear.weight.dtype
        texts = [tokens for unit in units for tokens in unit]
        lengths = np.array([len(tokens.ids) for tokens in texts])  # (n,)
        total, starts = int(lengths.sum()), np.cumsum(lengths) - lengths  # T, (n,)
        rows = [[id_ for tokens in unit for id_ in tokens.ids] for unit in units]
        filler = filler_tokens(total, device)
        hidden, _ = self.hidden([*rows, [self.pad] * filler] if filler else rows, interrupt)

        cls = np.concatenate([a + np.array(t.cls) for a, t in zip(starts, texts, strict=True)])
        owner = np.repeat(np.arange(len(texts)), [len(tokens.cls) for tokens in texts])
        sums = hidden.new_zeros(len(texts), hidden.shape[1], dtype=torch.float32)
        sums.index_add_(0, torch.from_numpy(owner).to(device), hidden[cls].float())
        dense = F.normalize(sums, dim=-1)  # (n, d); a normalised sum equals the normalised mean
        weights = torch.relu(self.sparse_linear(hidden)).float()[:total, 0]  # (T,)
        if not colbert:
            _check_finite(dense, weights)
            return Views(dense.cpu().numpy(), weights.cpu().numpy(), None)
        vectors = F.normalize(self.colbert_linear(hidden).float(), dim=-1)  # (T, c)
        content = torch.from_numpy(np.delete(np.arange(total), cls))  # all tokens but the <s>
        vectors = vectors[content.to(device)]  # (T - number of <s>, c)
        if dtype != torch.float32:
            vectors = vectors.half()  # finer than bfloat16, with half the memory of float32
        _check_finite(dense, weights, vectors)
        return Views(dense.cpu().numpy(), weights.cpu().numpy(), vectors.cpu().numpy())

    def hidden(
        self, texts: Sequence[Sequence[int]], interrupt: Callable[[], bool] | None = None
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the last hidden states `(T, d)` and the position of each text's `<s>`, `(n,)`.

        The texts are ordered by length. `interrupt` is as in `forward`.
        """
        device = self.sparse_linear.weight.device
        lengths = np.array([len(ids) for ids in texts])  # (n,)
        ids = np.concatenate([np.asarray(ids, np.int64) for ids in texts])  # (T,)
        first = np.cumsum(lengths) - lengths  # (n,)
        hidden = self.encoder.embeddings(
            input_ids=torch.from_numpy(ids)[None].to(device),
            position_ids=torch.from_numpy(self._positions(ids, first, lengths))[None].to(device),
            token_type_ids=torch.zeros(1, len(ids), dtype=torch.long, device=device),
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


def _for_all(interrupt: Callable[[], bool] | None) -> Callable[[], bool] | None:
    """Return an `interrupt` for several threads: it stays True, so that all of them stop."""
    if interrupt is None:
        return None
    interrupted = threading.Event()

    def check() -> bool:
        if interrupt():
            interrupted.set()
        return interrupted.is_set()

    return check


def _check_finite(*views: Tensor) -> None:
    """Check that views have no NaN and no infinity; numbers of at most 1 cannot overflow a sum.

    Raises:
        CheckpointError: One has.
    """
    total = sum(view.sum(dtype=torch.float32) for view in views)
    if not math.isfinite(total):
        raise CheckpointError(
            "The model computes NaN or infinity: its weights are damaged, or too large for its "
            'dtype. Load it with dtype="float32", or download or export the checkpoint again.'
        )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def sparse_rows(
    ids: NDArray[np.int64], weights: NDArray[np.float32], unweighted: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return one text's ids and the highest weight of each, without special tokens and zeros."""
    keep = (weights > 0) & ~np.isin(ids, unweighted)
    ids, weights = ids[keep], weights[keep]
    order = np.argsort(ids, kind="stable")
    unique, starts = np.unique(ids[order], return_index=True)
    if len(unique) == 0:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    return unique.astype(np.int32), np.maximum.reduceat(weights[order], starts)
