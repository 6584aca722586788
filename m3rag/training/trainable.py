"""The network that is trained: the inference network, with gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint as checkpointed

from m3rag.model.backbone import Backbone
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.network import M3Network
from m3rag.model.packing import repeated_positions
from m3rag.model.storage import KEY, POSITIONS, storage_config, stored_positions
from m3rag.training.settings import FREEZABLE, TrainingSettings

Network = TypeVar("Network", bound=Backbone)


class Views(NamedTuple):
    """The views of n texts, padded to l tokens."""

    dense: Tensor  # (n, d), unit vectors
    weights: Tensor  # (n, l), 0 at special tokens and padding
    colbert: Tensor  # (n, l - 1, c), unit vectors, 0 at padding; without <s>
    ids: Tensor  # (n, l)
    mask: Tensor  # (n, l - 1), True where `colbert` has a token


def tied(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint in which positions that repeat have one row together.

    Their gradients then add up, and the table still repeats after training. A checkpoint without
    repeated positions is returned as it is.
    """
    if stored_positions(checkpoint.config) is not None:
        return checkpoint
    table = checkpoint.encoder[POSITIONS]
    positions = repeated_positions(table, checkpoint.config["pad_token_id"] + 1)
    if positions is None or positions.period == 1:  # equal rows, as in "tiny", are to differ
        return checkpoint
    return replace(
        checkpoint,
        config={**checkpoint.config, KEY: storage_config(positions)},
        encoder={**checkpoint.encoder, POSITIONS: table[: positions.stored]},
    )


def trainable(
    kind: type[Network], checkpoint: Checkpoint, settings: TrainingSettings, device: torch.device
) -> Network:
    """Return the network of a checkpoint with its own float32 weights, ready for training."""
    network = kind.from_checkpoint(checkpoint, device=device, dtype=torch.float32)
    frozen = (
        *(FREEZABLE[part] for part in settings.freeze),
        *(f"encoder.encoder.layer.{i}." for i in range(settings.freeze_layers)),
    )
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.clone()  # the checkpoint may be mapped from its file
        parameter.requires_grad_(not name.startswith(frozen))
    if settings.gradient_checkpointing:
        for layer in network.encoder.encoder.layer:
            layer.forward = partial(checkpointed, layer.forward, use_reentrant=False)
    return network.train()


def to_checkpoint(network: Backbone, start: Checkpoint) -> Checkpoint:
    """Return a checkpoint with the current weights and everything else, dtypes too, of `start`."""
    state: dict[str, Tensor] = network.state_dict()

    def tensor(name: str, like: Tensor) -> Tensor:
        return state[name].detach().to("cpu", like.dtype, copy=True)

    return Checkpoint(
        start.config,
        start.tokenizer,
        {name: tensor(f"encoder.{name}", like) for name, like in start.encoder.items()},
        {
            head: {name: tensor(f"{head}.{name}", like) for name, like in parts.items()}
            for head, parts in start.heads.items()
        },
        start.presets,
    )


def encode(network: M3Network, texts: Sequence[Sequence[int]], unweighted: Iterable[int]) -> Views:
    """Return the views of lists of token ids, `<s> … </s>` each, in any order.

    No padding goes through the network. The ids in `unweighted` get no sparse weight.
    """
    device = network.device
    order = np.argsort([len(text) for text in texts], kind="stable")
    lengths = np.array([len(texts[i]) for i in order])  # (n,), in packed order
    flat = np.concatenate([np.asarray(texts[i], np.int64) for i in order])  # (T,)
    hidden, first = network.hidden([texts[i] for i in order])  # (T, d)

    row = np.repeat(order, lengths)  # (T,), of each packed token in the padded result
    column = np.arange(len(flat)) - np.repeat(first, lengths)  # (T,)
    ids = np.full((len(texts), lengths.max()), network.pad)  # (n, l)
    ids[row, column] = flat
    mask = np.zeros(ids.shape, np.bool_)  # (n, l)
    mask[row, column] = True
    token_ids, real = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
    rows, columns = torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)
    starts = torch.from_numpy(first[np.argsort(order)]).to(device)  # (n,)

    dense = F.normalize(hidden[starts].float(), dim=-1)  # (n, d)
    flat_weights = torch.relu(network.sparse_linear(hidden)).float()[:, 0]  # (T,)
    weights = _padded(flat_weights, rows, columns, token_ids.shape)  # (n, l)
    special = torch.tensor(sorted(unweighted), device=device)
    weights = weights.masked_fill(torch.isin(token_ids, special), 0.0)
    content = (columns > 0).nonzero()[:, 0]  # (T - n,)
    vectors = F.normalize(network.colbert_linear(hidden[content]).float(), dim=-1)  # (T - n, c)
    shape = (len(texts), ids.shape[1] - 1, vectors.shape[1])
    colbert = _padded(vectors, rows[content], columns[content] - 1, shape)
    return Views(dense, weights, colbert, token_ids, real[:, 1:])


def joined(parts: Sequence[Views], pad: int) -> Views:
    """Return the views of several parts, one after the other, padded to the longest."""
    longest = max(part.ids.shape[1] for part in parts)
    padded = []
    for part in parts:
        missing = longest - part.ids.shape[1]
        padded.append(
            Views(
                part.dense,
                F.pad(part.weights, (0, missing)),
                F.pad(part.colbert, (0, 0, 0, missing)),
                F.pad(part.ids, (0, missing), value=pad),
                F.pad(part.mask, (0, missing)),
            )
        )
    return Views(*(torch.cat(view) for view in zip(*padded, strict=True)))


def _padded(values: Tensor, rows: Tensor, columns: Tensor, shape: Sequence[int]) -> Tensor:
    return values.new_zeros(shape).index_put((rows, columns), values)
