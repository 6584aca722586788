"""Write training pairs for `m3rag train`: JSON lines of a query, its passage, a key and a source.

The pairs of a batch are drawn together (see sampling.py), so each batch is a source of its own.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import zstandard
from data import Pool
from sampling import Sampler, Tokens
from tokenizers import Tokenizer

SHARES = {
    "translation": 0.25,
    "needle": 0.20,
    "cloze": 0.14,
    "heading": 0.09,
    "question": 0.18,
    "words": 0.14,
}
BLOCK = 64  # pairs of one task, one source and, half of the time, one passage language


def lines(pool: Pool, tokenizer: Tokenizer, count: int, batch: int, seed: int) -> Iterator[str]:
    """Yield `count` pairs as JSON, `batch` of each source."""
    sampler = Sampler(pool, seed)

    def text(tokens: Tokens) -> str:
        return tokenizer.decode(tokens.tolist()).strip()

    for number in range(-(-count // batch)):
        for pair in sampler.batch(batch, BLOCK, SHARES):
            query, passage = text(pair.query), text(pair.passage)
            if query and passage:
                row = {"query": query, "pos": [passage], "key": pair.key, "source": number}
                yield json.dumps(row, ensure_ascii=False)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path, help="the .npz file that data.py wrote")
    parser.add_argument("tokenizer", type=Path, help="the pruned tokenizer.json")
    parser.add_argument("output", type=Path, help="the .jsonl.zst file to write")
    parser.add_argument("--count", type=int, default=250_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pool, tokenizer = Pool.load(args.pool), Tokenizer.from_file(str(args.tokenizer))
    with args.output.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as packed:
        file = io.TextIOWrapper(packed, encoding="utf-8")
        for line in lines(pool, tokenizer, args.count, args.batch, args.seed):
            file.write(line + "\n")
        file.flush()


if __name__ == "__main__":
    main()
