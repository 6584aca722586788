"""Extend a static table to a larger vocabulary: a new piece starts as the sum of its old pieces.

In the static stage, the vector of a text is the sum of those of its pieces. So a text that the
larger tokenizer splits at the same places, less finely, keeps its vector.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

SPACE = "▁"  # the start of a word in an XLM-R vocabulary


def pieces_of(tokenizer: Tokenizer, piece: str) -> list[int]:
    """Return the ids into which a tokenizer splits a piece of a larger tokenizer."""
    ids = tokenizer.encode(piece.replace(SPACE, " "), add_special_tokens=False).ids
    if not piece.startswith(SPACE):  # the tokenizer puts a space before every text
        first = piece_of(tokenizer, ids[0]) if ids else ""
        if first == SPACE:
            return ids[1:]
        inner = tokenizer.token_to_id(first.removeprefix(SPACE))
        return ids if inner is None else [inner, *ids[1:]]
    return ids


def piece_of(tokenizer: Tokenizer, number: int) -> str:
    """Return the piece with an id."""
    piece = tokenizer.id_to_token(number)
    assert piece is not None
    return piece


def widen(table: Tensor, small: Tokenizer, large: Tokenizer) -> Tensor:
    """Return the table `(large vocab, d)` that gives texts the vectors of `(small vocab, d)`."""
    known = small.get_vocab()
    rows = []
    for number in range(large.get_vocab_size()):
        piece = piece_of(large, number)
        ids = [known[piece]] if piece in known else pieces_of(small, piece)
        rows.append(table[ids].sum(dim=0))
    return torch.stack(rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="the .pt file that static.py saved")
    parser.add_argument("small", type=Path, help="its tokenizer.json")
    parser.add_argument("large", type=Path, help="the tokenizer.json with more pieces")
    parser.add_argument("output", type=Path, help="the .pt file to write")
    args = parser.parse_args()
    small, large = (Tokenizer.from_file(str(path)) for path in (args.small, args.large))
    table = widen(torch.load(args.table, weights_only=True), small, large)
    torch.save(table, args.output)
    new = len(set(large.get_vocab()) - set(small.get_vocab()))
    print(json.dumps({"pieces": len(table), "new": new, "width": table.shape[1]}))


if __name__ == "__main__":
    main()
