"""Centre the dense vectors of a model without changing its other views.

The dense vector is the last hidden state of `<s>`. In e5, all of them have a large common part, so
unrelated texts score .70 to .76. This script subtracts a share of their mean from the bias of the
last LayerNorm, which is a part of every hidden state, and adds what the heads lose to their biases:

    b     <- b - share * mean
    b_c   <- b_c + share * W_c mean
    b_s   <- b_s + share * W_s mean
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m3rag.files import lines
from m3rag.model.checkpoint import Checkpoint, read, write
from m3rag.model.network import M3Network
from m3rag.training.example import parse

TOKENS = 256  # of a text
TOGETHER = 32  # texts in a pass


def sample(files: Sequence[Path], count: int) -> list[str]:
    """Return passages of training data, as many of each file."""
    rng = np.random.default_rng(0)
    texts: list[str] = []
    for file in files:
        rows = list(lines(file))
        chosen = rng.choice(len(rows), min(len(rows), count // len(files)), replace=False)
        examples = (parse(rows[i]) for i in chosen)
        texts += [e.positives[rng.integers(len(e.positives))] for e in examples]
    return texts


def mean_state(checkpoint: Checkpoint, texts: Sequence[str]) -> Tensor:
    """Return the mean of the last hidden states of `<s>`, `(d,)`."""
    cpu = torch.device("cpu")
    network = M3Network.from_checkpoint(checkpoint, device=cpu, dtype=torch.float32)
    ids = sorted((tokens.ids for tokens in checkpoint.tokenizer.cut(texts, TOKENS)), key=len)
    total = torch.zeros(checkpoint.config["hidden_size"])
    for start in range(0, len(ids), TOGETHER):
        with torch.no_grad():
            hidden, first = network.hidden(ids[start : start + TOGETHER])
        total += hidden[torch.from_numpy(first)].sum(0)
    return total / len(ids)


def centred(checkpoint: Checkpoint, mean: Tensor, share: float) -> Checkpoint:
    """Return the checkpoint without a share of the mean in its dense vectors."""
    last = checkpoint.config["num_hidden_layers"] - 1
    name = f"encoder.layer.{last}.output.LayerNorm.bias"
    old = checkpoint.encoder[name]
    bias = (old.float() - share * mean).to(old.dtype)
    removed = old.float() - bias.float()  # after rounding, so that the heads get back all of it
    heads = {
        head: {"weight": parts["weight"], "bias": parts["bias"] + parts["weight"].float() @ removed}
        for head, parts in checkpoint.heads.items()
    }
    return replace(checkpoint, encoder={**checkpoint.encoder, name: bias}, heads=heads)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of the model")
    parser.add_argument("folder", type=Path, help="the folder to write")
    parser.add_argument("data", type=Path, nargs="+", help="training data of data.py")
    parser.add_argument("--share", type=float, default=0.9, help="share of the mean (0.9)")
    parser.add_argument("--texts", type=int, default=1600, help="texts for the mean (1,600)")
    args = parser.parse_args()
    checkpoint = read(args.model)
    mean = mean_state(checkpoint, sample(args.data, args.texts))
    print(f"the mean has the length {mean.norm():.2f}")
    write(centred(checkpoint, mean, args.share), args.folder)


if __name__ == "__main__":
    main()
