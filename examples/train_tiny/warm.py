"""Start the transformer where the static bag ended, with nearly the same dense vectors.

LayerNorm erases the length of an embedding, and with it the importance that the static stage
learned. So all embeddings get the same length, and importance is stored elsewhere:

* The shorter the static vector, the smaller the part of its direction in the embedding. The rest of
  the length goes into MARK, a dimension without meaning. So unimportant tokens mostly become their
  context. MaxSim needs this, because it gives every query token the same weight.
* The remaining log-importance goes into a dimension of its own. The keys and queries of layer 0 use
  it so that every token, above all `<s>`, adds up directions with weights proportional to their
  static lengths.
* The least used direction is given up for a dimension that is zero except in `<s>`. One head of
  layer 1 attends to `<s>` against all other tokens, which counts them, and writes the count into
  this dimension. LayerNorm then shrinks everything else, and more so in longer texts. Unit vectors
  do not change; sparse weights get the length normalization that they need.

Value and output matrices are identities; everything else starts small.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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

# The dimensions that hold the text length, the part without meaning, and log-importance:
LENGTH, MARK, IMPORTANCE = -3, -2, -1
SPREAD = 2.0  # units of the importance dimension per unit of log-importance
USUAL = 4.2  # from this length of its static vector on, a word is all direction and no MARK
SHRINK = 1.5  # how fast the direction shrinks for shorter vectors
CONTEXT = 4.0  # length of the context added to a token, per unit of its own length
ASIDE = -3.0  # log-importance of <s> and </s>
READ = 0.1  # scale of the three dimensions in the output of the last layer
CLS_LENGTH = 0.82  # about what layer 0 leaves of the length of <s> in LENGTH
USUAL_LENGTH = 200.0  # tokens of a text whose count is half of the maximum
COUNTED = 2.0  # the maximum of the count, in units of all other dimensions together
SPARSE_SLOPE, SPARSE_BIAS = 0.10, 0.12  # a sparse weight = slope * log-importance + bias


def config(vocab: int, width: int) -> dict[str, Any]:
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
        "dtype": "float32",  # for computing; the file holds float8 and float16
    }


def without_least(table: Tensor) -> Tensor:
    """Rotate the table `(vocab, d)` and drop the least used direction."""
    directions: Tensor = torch.linalg.eigh(table.T @ table).eigenvectors  # least used first
    return table @ directions[:, 1:]


def words(table: Tensor, width: int) -> Tensor:
    """Turn the static table `(vocab, width - 2)` into embeddings `(vocab, width)`."""
    length = width**0.5  # of a vector after LayerNorm
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
    """Initialize a linear layer with small random weights and no bias."""
    nn.init.normal_(linear.weight, std=std)
    nn.init.zeros_(linear.bias)


def attend_by_importance(layer: Any, width: int, heads: int) -> None:
    """Make every position of a layer attend by importance and add the result to itself."""
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


def count_tokens(layer: Any, width: int, heads: int) -> None:
    """Make the last head attend to `<s>` as to `USUAL_LENGTH` tokens, and store the count."""
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
def start(table: Tensor) -> tuple[M3Network, dict[str, Any]]:
    """Return a network made from the static table `(vocab, d)`, and its configuration."""
    torch.manual_seed(0)
    width = table.shape[1] + 2
    settings = config(len(table), width)
    shape = XLMRobertaConfig(**settings)
    shape._attn_implementation = "m3rag_packed"
    network = M3Network(shape, colbert_dim=width).eval()
    encoder: Any = network.encoder  # the attributes of its modules are not annotated
    embeddings, layers = encoder.embeddings, encoder.encoder.layer
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
    colbert: Any = network.colbert_linear
    small(colbert, 0.002)
    colbert.weight += torch.eye(width)
    colbert.weight[:, LENGTH:] = 0.0
    return network, settings


def shrinkage(tokens: int) -> float:
    """Return the factor by which the count shrinks a weight in a text of so many tokens."""
    return float((1 + (COUNTED * tokens / (tokens + USUAL_LENGTH)) ** 2) ** -0.5)


@torch.no_grad()
def fit_sparse(
    network: M3Network, table: Tensor, counts: Tensor, texts: Iterable[list[int]]
) -> None:
    """Fit the sparse head to a linear function of static log-importance, less in longer texts.

    Args:
        network: A network that `start` made.
        table: The static table it was made from, `(vocab, d)`.
        counts: How often each piece occurs, `(vocab,)`; the fit weighs by its power -1/2.
        texts: Token ids, `<s> … </s>`.
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
    """Return the tensors of one part in the types of the file, named without the prefix.

    Embeddings are float8 with a mantissa of three bits. A vector of 256 of them is off by 2.6 % of
    its length, in a random direction, and the vocabulary can be twice as large. Everything else is
    float16.
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
    parser.add_argument("pool", type=Path, help="the .npz file that data.py wrote")
    parser.add_argument("static", type=Path, help="the .pt file that static.py saved")
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
