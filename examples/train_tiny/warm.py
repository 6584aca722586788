"""Start the transformer where the static bag ended: at step 0 its dense vector *is* the static one.

LayerNorm erases the length of an embedding, and with it the importance that the static stage
learned. So every embedding gets one common length, and importance goes elsewhere:

* The shorter the static vector, the less of the embedding is its direction; the rest of the length
  goes into a dimension that means nothing. Unimportant tokens thus become mostly their context,
  which is what MaxSim, with its equal say for every query token, needs.
* What log-importance is left goes into a dimension of its own. Layer 0's keys read it and its
  queries ask for it, so that every token, ``<s>`` above all, attends such that directions are added
  with weight proportional to the static length.

Values and output are identities; everything else starts small.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from network import CLS, EOS, PAD, SPECIALS, Layer, TinyM3
from torch import Tensor, nn
from torch.nn import functional

MARK, IMPORTANCE = -2, -1  # the dimensions that hold what is no meaning, and log-importance
SPREAD = 2.0  # units of the importance dimension per unit of log-importance
USUAL = 4.2  # the length of a static vector from which a word is all its own
SHRINK = 1.5  # how fast a shorter one loses itself to its context
CONTEXT = 4.0  # length of a token's context, as it is added to the token, per unit of its own
ASIDE = -3.0  # log-importance of <s> and </s>
READ = 0.1  # how much of those two dimensions the last layer shows
SPARSE_SLOPE, SPARSE_BIAS = 0.10, 0.12  # a first sparse weight = slope * log-importance + bias


def words(table: Tensor, width: int) -> Tensor:
    """Turn the static table ``(vocab, width - 2)`` into embeddings ``(vocab, width)``."""
    length = width**0.5  # LayerNorm's own length
    norm = table.norm(dim=1).clamp(min=1e-6)
    direction = table / norm[:, None]
    direction = functional.normalize(direction - direction.mean(dim=1, keepdim=True), dim=1)
    own = (norm / USUAL).clamp(max=1).pow(SHRINK).clamp(min=0.1)
    importance = norm.log() - norm.log().median() - own.log()
    out = torch.zeros(len(table), width)
    out[:, :MARK] = direction * own[:, None] * length
    out[:, MARK] = (1 - own**2).sqrt() * length
    out[:, IMPORTANCE] = importance.clamp(-3, 3) * SPREAD
    out[[CLS, EOS, PAD]] = 0.0
    out[CLS, MARK], out[EOS, MARK] = length, -length
    out[[CLS, EOS], IMPORTANCE] = ASIDE * SPREAD
    return out


def small(module: nn.Linear, std: float) -> None:
    """Start a linear map with small random weights and no bias."""
    nn.init.normal_(module.weight, std=std)
    nn.init.zeros_(module.bias)


def attend_by_importance(layer: Layer, width: int) -> None:
    """Make every position attend by importance, and add what it reads to itself."""
    size = width // layer.heads
    firsts = torch.arange(layer.heads) * size
    layer.query.bias[firsts] = size**0.5
    layer.key.weight[firsts] = 0.0
    layer.key.weight[firsts, IMPORTANCE] = 1.0 / SPREAD
    identity = torch.eye(width)
    layer.value.weight += identity
    identity[MARK, MARK] = identity[IMPORTANCE, IMPORTANCE] = 0.0
    layer.mix.weight += CONTEXT * identity


@torch.no_grad()
def start(model: TinyM3, table: Tensor) -> None:
    """Set all parameters of a fresh model from the static table ``(vocab, width - 2)``."""
    width = model.shape.width
    model.words.weight.copy_(words(table, width))
    nn.init.zeros_(model.positions.weight)
    for layer in model.stack:
        for part in (layer.query, layer.key):
            small(part, 0.02)
        small(layer.value, 0.02 if layer is not model.stack[0] else 0.002)
        small(layer.mix, 0.002)
        small(layer.up, 0.06)
        small(layer.down, 0.002)
    attend_by_importance(model.stack[0], width)
    last = model.stack[-1].norm.weight
    last[MARK] = last[IMPORTANCE] = READ
    small(model.colbert, 0.002)
    model.colbert.weight += torch.eye(width)
    model.colbert.weight[:, [MARK, IMPORTANCE]] = 0.0
    small(model.sparse, 0.002)


@torch.no_grad()
def fit_sparse(model: TinyM3, table: Tensor, counts: Tensor, batches: Iterable[Tensor]) -> None:
    """Set the sparse head, by least squares over texts, to a line in the static log-importance.

    Args:
        model: A started model.
        table: The static table it was started from ``(vocab, width - 2)``.
        counts: How often each piece occurs ``(vocab,)``; the fit weighs by its power -1/2.
        batches: Padded token ids ``(n, l)``.
    """
    log_norm = table.norm(dim=1).clamp(min=1e-6).log()
    wanted = SPARSE_BIAS + SPARSE_SLOPE * (log_norm - log_norm.median())
    width = model.shape.width + 1
    left, right = torch.eye(width) * 1e-3, torch.zeros(width)
    for ids in batches:
        words = ids >= SPECIALS
        hidden = functional.pad(model.hidden(ids)[words].float(), (0, 1), value=1.0)  # (t, d + 1)
        weighted = hidden * counts[ids[words], None].clamp(min=1).rsqrt()
        left += weighted.T @ hidden
        right += weighted.T @ wanted[ids[words]]
    solved = torch.linalg.solve(left, right)
    model.sparse.weight[0], model.sparse.bias[0] = solved[:-1], solved[-1]
