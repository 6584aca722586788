"""Start the transformer where the static bag ended: its dense vector *is* the static one, about.

LayerNorm erases the length of an embedding, and with it the importance that the static stage
learned. So every embedding gets one common length, and importance goes elsewhere:

* The shorter the static vector, the less of the embedding is its direction; the rest of the length
  goes into MARK, a dimension that means nothing. Unimportant tokens thus become mostly their
  context, which is what MaxSim, with its equal say for every query token, needs.
* What log-importance is left goes into a dimension of its own. Layer 0's keys read it and its
  queries ask for it, so that every token, ``<s>`` above all, attends such that directions are added
  with weight proportional to the static length.
* One direction, the least used, is given up for a dimension that is empty but in ``<s>``. Layer 1
  attends to ``<s>`` against all other tokens, which counts them, and writes the count there:
  LayerNorm then makes everything else the smaller, the longer the text. Unit vectors do not mind;
  sparse weights get the length normalisation that they need.

Values and output are identities; everything else starts small.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from data import Pool
from sampling import Sampler
from torch import Tensor, nn
from torch.nn import functional
from transformers import XLMRobertaConfig

from m3rag.model import Tokenizer
from m3rag.model.checkpoint import Checkpoint, write
from m3rag.model.network import M3Network

CLS, PAD, EOS, SPECIALS = 0, 1, 2, 4
POSITIONS = 8194
TABLES = ("word_embeddings.weight", "position_embeddings.weight")
SHARES = {"needle": 0.3, "cloze": 0.2, "heading": 0.1, "question": 0.4}  # texts for the sparse fit
MAX_TOKENS = 400

# The dimensions that hold the length, what is no meaning, and log-importance:
LENGTH, MARK, IMPORTANCE = -3, -2, -1
SPREAD = 2.0  # units of the importance dimension per unit of log-importance
USUAL = 4.2  # the length of a static vector from which a word is all its own
SHRINK = 1.5  # how fast a shorter one loses itself to its context
CONTEXT = 4.0  # length of a token's context, as it is added to the token, per unit of its own
ASIDE = -3.0  # log-importance of <s> and </s>
READ = 0.1  # how much of the three dimensions the last layer shows
CLS_LENGTH = 0.82  # what layer 0 leaves of the length that <s> has in LENGTH, about
USUAL_LENGTH = 200.0  # tokens of a text for which the count is halfway between none and all
COUNTED = 2.0  # the count of an endless text, in units of all other dimensions together
SPARSE_SLOPE, SPARSE_BIAS = 0.10, 0.12  # a sparse weight = slope * log-importance + bias


def config(vocab: int, width: int) -> dict[str, object]:
    """Return the transformers configuration."""
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": CLS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": 2 * width,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": width // 64,
        "num_hidden_layers": 2,
        "position_embedding_type": "absolute",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": vocab,
        "dtype": "float32",  # what to compute in; the file itself is float8 and float16
    }


def without_least(table: Tensor) -> Tensor:
    """Rotate the table ``(vocab, d)`` and leave out the direction that matters least."""
    _, directions = torch.linalg.eigh(table.T @ table)  # ascending
    return table @ directions[:, 1:]


def words(table: Tensor, width: int) -> Tensor:
    """Turn the static table ``(vocab, width - 2)`` into embeddings ``(vocab, width)``."""
    length = width**0.5  # LayerNorm's own length
    table = without_least(table)
    norm = table.norm(dim=1).clamp(min=1e-6)
    direction = table / norm[:, None]
    direction = functional.normalize(direction - direction.mean(dim=1, keepdim=True), dim=1)
    own = (norm / USUAL).clamp(max=1).pow(SHRINK).clamp(min=0.1)
    importance = norm.log() - norm.log().median() - own.log()
    out = torch.zeros(len(table), width)
    out[:, :LENGTH] = direction * own[:, None] * length
    out[:, MARK] = (1 - own**2).sqrt() * length
    out[:, IMPORTANCE] = importance.clamp(-3, 3) * SPREAD
    out[[CLS, EOS, PAD]] = 0.0
    out[CLS, LENGTH] = length
    out[EOS, MARK] = -length
    out[[CLS, EOS], IMPORTANCE] = ASIDE * SPREAD
    return out


def small(linear: nn.Linear, std: float) -> None:
    """Start a linear map with small random weights and no bias."""
    nn.init.normal_(linear.weight, std=std)
    nn.init.zeros_(linear.bias)


def attend_by_importance(layer: nn.Module, width: int, heads: int) -> None:
    """Make every position attend by importance, and add what it reads to itself."""
    attention, size = layer.attention.self, width // heads
    firsts = torch.arange(heads) * size
    attention.query.bias[firsts] = size**0.5
    attention.key.weight[firsts] = 0.0
    attention.key.weight[firsts, IMPORTANCE] = 1.0 / SPREAD
    identity = torch.eye(width)
    attention.value.weight += identity
    for kept in (LENGTH, MARK, IMPORTANCE):
        identity[kept, kept] = 0.0
    layer.attention.output.dense.weight += CONTEXT * identity


def count_tokens(layer: nn.Module, width: int, heads: int) -> None:
    """Make the last head attend to ``<s>`` as if it were ``USUAL_LENGTH`` tokens, and note it."""
    attention, out = layer.attention.self, layer.attention.output.dense
    size, length = width // heads, width**0.5
    head, first = slice(width - size, None), width - size
    for part in (attention.query, attention.key, attention.value):
        part.weight[head] = 0.0
    marked = length * CLS_LENGTH
    attention.query.bias[first] = size**0.5
    attention.key.weight[first, LENGTH] = math.log(USUAL_LENGTH) / marked
    attention.value.weight[first, LENGTH] = 1 / marked  # its output is the share of <s>
    out.weight[:, head] = 0.0
    out.weight[LENGTH, first] = -COUNTED * length
    out.bias[LENGTH] = COUNTED * length


@torch.no_grad()
def start(table: Tensor) -> tuple[M3Network, dict[str, object]]:
    """Return a network made from the static table ``(vocab, d)``, and its configuration."""
    torch.manual_seed(0)
    width = table.shape[1] + 2
    settings = config(len(table), width)
    shape = XLMRobertaConfig(**settings)
    shape._attn_implementation = "m3rag_packed"
    network = M3Network(shape, colbert_dim=width).eval()
    embeddings, layers = network.encoder.embeddings, network.encoder.encoder.layer
    embeddings.word_embeddings.weight.copy_(words(table, width))
    for unused in (embeddings.position_embeddings, embeddings.token_type_embeddings):
        nn.init.zeros_(unused.weight)
    for i, layer in enumerate(layers):
        small(layer.attention.self.query, 0.02)
        small(layer.attention.self.key, 0.02)
        small(layer.attention.self.value, 0.002 if i == 0 else 0.02)
        small(layer.attention.output.dense, 0.002)
        small(layer.intermediate.dense, 0.06)
        small(layer.output.dense, 0.002)
    heads = shape.num_attention_heads
    attend_by_importance(layers[0], width, heads)
    count_tokens(layers[-1], width, heads)
    layers[-1].output.LayerNorm.weight[LENGTH:] = READ
    small(network.colbert_linear, 0.002)
    network.colbert_linear.weight += torch.eye(width)
    network.colbert_linear.weight[:, LENGTH:] = 0.0
    return network, settings


def shrinkage(tokens: int) -> float:
    """Return what the count makes of a weight in a text of so many tokens."""
    return float((1 + (COUNTED * tokens / (tokens + USUAL_LENGTH)) ** 2) ** -0.5)


@torch.no_grad()
def fit_sparse(
    network: M3Network, table: Tensor, counts: Tensor, texts: Iterable[list[int]]
) -> None:
    """Set the sparse head to a line in the static log-importance, less in longer texts.

    Args:
        network: A started network.
        table: The static table it was started from ``(vocab, d)``.
        counts: How often each piece occurs ``(vocab,)``; the fit weighs by its power -1/2.
        texts: Token ids, ``<s> … </s>``.
    """
    log_norm = table.norm(dim=1).clamp(min=1e-6).log()
    wanted = SPARSE_BIAS + SPARSE_SLOPE * (log_norm - log_norm.median())
    size = network.sparse_linear.in_features + 1
    left, right = torch.eye(size) * 1e-3, torch.zeros(size)
    for ids in texts:
        hidden = functional.pad(network.hidden([ids])[0], (0, 1), value=1.0)[1:-1]  # (l - 2, d + 1)
        inner = torch.tensor(ids[1:-1])
        weighted = hidden * counts[inner, None].clamp(min=1).rsqrt()
        left += weighted.T @ hidden
        right += weighted.T @ (wanted[inner] * shrinkage(len(ids)))
    solved = torch.linalg.solve(left, right)
    network.sparse_linear.weight[0], network.sparse_linear.bias[0] = solved[:-1], solved[-1]


def stored(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of one part as the file has them, under their names within it.

    Embeddings are float8, three bits of mantissa: a vector of 256 of them is off by 2.6 % of its
    length, in a random direction, and the vocabulary can be twice as large. The rest is float16.
    """
    return {
        name.removeprefix(prefix): tensor.to(
            torch.float8_e4m3fn if name.endswith(TABLES) else torch.float16
        )
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path, help="what data.py wrote")
    parser.add_argument("static", type=Path, help="the table that static.py saved")
    parser.add_argument("tokenizer", type=Path, help="the pruned tokenizer.json")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pool, table = Pool.load(args.pool), torch.load(args.static, weights_only=True)
    network, settings = start(table)
    pairs = Sampler(pool, 3).batch(1024, 32, SHARES)
    texts = [text for pair in pairs for text in (pair.query, pair.passage)]
    counts = torch.from_numpy(np.bincount(pool.ids, minlength=len(table))).float()
    ids = ([CLS, *text[: MAX_TOKENS - 2].tolist(), EOS] for text in texts)
    fit_sparse(network, table, counts, ids)
    state = network.state_dict()
    heads = {name: stored(state, f"{name}.") for name in ("sparse_linear", "colbert_linear")}
    write(
        Checkpoint(settings, Tokenizer(args.tokenizer), stored(state, "encoder."), heads),
        args.folder,
    )


if __name__ == "__main__":
    main()
