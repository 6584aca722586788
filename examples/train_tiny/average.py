"""Average the weights of a checkpoint before and after training.

A short training on few domains costs other domains about as much as it gains. Weights between its
start and its end are often better at both (Wortsman et al., arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from m3rag.model.checkpoint import read, write


def between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return `first + share · (second - first)` in the type of `first`."""
    return first.float().lerp(second.float(), share).to(first.dtype)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path, help="the checkpoint before training")
    parser.add_argument("second", type=Path, help="the checkpoint after training")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write")
    parser.add_argument(
        "--share", type=float, default=0.5, help="weight of the second, 0 to 1 (0.5)"
    )
    args = parser.parse_args()
    before, after = read(args.first), read(args.second)
    encoder = {n: between(t, after.encoder[n], args.share) for n, t in before.encoder.items()}
    heads = {
        head: {n: between(t, after.heads[head][n], args.share) for n, t in parts.items()}
        for head, parts in before.heads.items()
    }
    write(replace(before, encoder=encoder, heads=heads), args.folder)


if __name__ == "__main__":
    main()
