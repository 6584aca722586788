"""The network that is trained: XLM-RoBERTa's arithmetic with M3's three heads.

Two things differ from the exported model, and only in how they are stored. Positions are a learned
linear map of fixed sinusoids, so that all 8192 are trained at once, smoothly, from zero; and the
pooler, which M3 does not use, does not exist. :func:`hub_state` writes the plain XLM-RoBERTa
tensors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD = 1
CLS = 0
EOS = 2
SPECIALS = 4
POSITIONS = 8194
FIRST_POSITION = 2  # XLM-R counts positions from padding_idx + 1


@dataclass(frozen=True)
class Shape:
    """The sizes of the network."""

    vocab: int
    width: int = 256
    heads: int = 4
    layers: int = 2
    inner: int = 512
    eps: float = 1e-5

    def config(self) -> dict[str, object]:
        """Return the transformers configuration of this shape."""
        return {
            "architectures": ["XLMRobertaModel"],
            "model_type": "xlm-roberta",
            "attention_probs_dropout_prob": 0.0,
            "bos_token_id": CLS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "hidden_size": self.width,
            "initializer_range": 0.02,
            "intermediate_size": self.inner,
            "layer_norm_eps": self.eps,
            "max_position_embeddings": POSITIONS,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "position_embedding_type": "absolute",
            "type_vocab_size": 1,
            "use_cache": True,
            "vocab_size": self.vocab,
            "dtype": "float32",  # what to compute in; the file itself is float16
        }

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for a checkpoint."""
        return asdict(self)


class Layer(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.mix = nn.Linear(shape.width, shape.width)
        self.mix_norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``x (n, l, d)`` to the same shape; ``mask (n, 1, 1, l)`` is 0, and -inf at padding.

        Attention is written out: on a CPU, for short texts, the backward pass of the fused one is
        many times slower.
        """
        n, length, width = x.shape
        q, k, v = (
            f(x).view(n, length, self.heads, -1).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        weights = torch.softmax(
            q @ k.transpose(2, 3) * (width // self.heads) ** -0.5 + mask, dim=-1
        )
        mixed = weights @ v  # (n, heads, l, d / heads)
        x = self.mix_norm(x + self.mix(mixed.transpose(1, 2).reshape(n, length, width)))
        out: Tensor = self.norm(x + self.down(functional.gelu(self.up(x))))
        return out


def sinusoids(count: int, waves: int) -> Tensor:
    """Return ``(count, 2 * waves)`` sines and cosines with periods from 4 to 16,384 positions."""
    periods = 4.0 * 4096.0 ** (torch.arange(waves) / (waves - 1))
    angles = 2 * torch.pi * torch.arange(count)[:, None] / periods
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TinyM3(nn.Module):
    """Encoder and heads; texts go in padded, three views come out."""

    waves: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocab, shape.width)
        self.register_buffer("waves", sinusoids(POSITIONS, 32), persistent=False)
        self.positions = nn.Linear(self.waves.shape[1], shape.width, bias=False)
        self.embedding_norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.colbert = nn.Linear(shape.width, shape.width)
        self.sparse = nn.Linear(shape.width, 1)

    @property
    def stack(self) -> list[Layer]:
        """The transformer layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def hidden(
        self, ids: Tensor, offsets: Tensor | None = None, words: Tensor | None = None
    ) -> Tensor:
        """Return the last hidden states ``(n, l, d)``; arguments as in :meth:`forward`."""
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        if offsets is not None:
            place = torch.where(place > 0, place + offsets[:, None], place)
        place = (place + FIRST_POSITION).clamp(max=POSITIONS - 1)
        words = self.words(ids) if words is None else words
        hidden: Tensor = self.embedding_norm(words + self.positions(self.waves[place]))
        if torch.is_autocast_enabled("cpu"):
            hidden = hidden.bfloat16()  # the residual stream too: half the memory traffic
        mask = torch.zeros(ids.shape).masked_fill(ids == PAD, -torch.inf)[:, None, None, :]
        for layer in self.stack:
            hidden = layer(hidden, mask)
        return hidden

    def forward(
        self, ids: Tensor, offsets: Tensor | None = None, words: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode padded texts.

        Args:
            ids: Token ids ``(n, l)``, ``<s> … </s>``, padded with 1.
            offsets: First position of each text ``(n,)``, 0 unless given; ``<s>`` stays at 0.
            words: The ids' word embeddings ``(n, l, d)``, when they are looked up already.

        Returns:
            Unit dense vectors ``(n, d)``, sparse weights ``(n, l)`` (0 at special tokens) and unit
            ColBERT vectors ``(n, l - 1, d)`` (0 at padding).
        """
        hidden = self.hidden(ids, offsets, words)
        dense = functional.normalize(hidden[:, 0].float(), dim=-1)
        weights = functional.relu(self.sparse(hidden).squeeze(-1).float()) * (ids >= SPECIALS)
        vectors = self.colbert(hidden[:, 1:]) * (ids[:, 1:] != PAD)[:, :, None]
        return dense, weights, functional.normalize(vectors, dim=-1)


HUB_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "mix_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def hub_state(model: TinyM3) -> dict[str, Tensor]:
    """Return the encoder's tensors under XLM-RoBERTa's names, float32, heads left out."""
    width = model.shape.width
    positions = model.positions(model.waves)
    positions[:FIRST_POSITION] = 0.0
    state = {
        "embeddings.word_embeddings.weight": model.words.weight,
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": torch.zeros(1, width),
        "embeddings.LayerNorm.weight": model.embedding_norm.weight,
        "embeddings.LayerNorm.bias": model.embedding_norm.bias,
        "pooler.dense.weight": torch.eye(width),
        "pooler.dense.bias": torch.zeros(width),
    }
    for i, layer in enumerate(model.stack):
        for ours, theirs in HUB_LAYER.items():
            part = getattr(layer, ours)
            state[f"encoder.layer.{i}.{theirs}.weight"] = part.weight
            state[f"encoder.layer.{i}.{theirs}.bias"] = part.bias
    return {name: tensor.detach().float().contiguous() for name, tensor in state.items()}
