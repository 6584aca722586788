"""Measure an exported checkpoint on retrieval sets: every view on its own, and their weighted sum.

A corpus is sliced to one document language (or one subset) at a time; a question has one right
document in a slice. Cross-lingual figures are the mean over all pairs of different languages,
same-language figures over the others.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel

VIEWS = ("dense", "sparse", "colbert")
SPECIALS = 4
MAX_TOKENS = 8192
Floats = NDArray[np.float32]
Weights = tuple[float, ...]  # dense, sparse, colbert


@dataclass
class Encoded:
    """Views of n texts: dense ``(n, d)``, sparse ``(n, vocab)``, ColBERT ``(l - 1, d)`` each."""

    dense: Tensor
    sparse: csr_matrix
    colbert: list[Tensor]

    def take(self, rows: list[int]) -> Encoded:
        """Return some of the texts."""
        return Encoded(self.dense[rows], self.sparse[rows], [self.colbert[row] for row in rows])


class Checkpoint:
    """An M3 folder, loaded with transformers."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.encoder = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.vocab = self.tokenizer.get_vocab_size()
        self.colbert, self.sparse = (
            self._head(folder / f"{name}_linear.pt") for name in ("colbert", "sparse")
        )

    @staticmethod
    def _head(path: Path) -> nn.Linear:
        """Load a head."""
        state = torch.load(path, weights_only=True)
        head = nn.Linear(state["weight"].shape[1], state["weight"].shape[0])
        head.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        return head

    @torch.inference_mode()
    def encode(self, texts: list[str], budget: int = 16_384) -> Encoded:
        """Encode texts, ``budget`` padded tokens at a time."""
        ids = [
            e.ids[: MAX_TOKENS - 1] + e.ids[-1:] if len(e.ids) > MAX_TOKENS else e.ids
            for e in self.tokenizer.encode_batch(texts)
        ]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        dense, colbert = (
            torch.zeros(len(ids), self.colbert.in_features),
            [torch.empty(0)] * len(ids),
        )
        rows, columns, values = [], [], []
        at = 0
        while at < len(order):
            chunk = order[at : at + max(1, budget // len(ids[order[at]]))]
            at += len(chunk)
            for i, hidden in zip(chunk, self._hidden([ids[i] for i in chunk]), strict=True):
                hidden = hidden[: len(ids[i])].float()
                dense[i] = functional.normalize(hidden[0], dim=0)
                colbert[i] = functional.normalize(self.colbert(hidden[1:]), dim=1).bfloat16()
                weights = np.zeros(self.vocab, dtype=np.float32)
                np.maximum.at(weights, ids[i], functional.relu(self.sparse(hidden)[:, 0]).numpy())
                weights[:SPECIALS] = 0
                kept = weights.nonzero()[0]
                rows.append(np.full(len(kept), i))
                columns.append(kept)
                values.append(weights[kept])
        table = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return Encoded(dense, csr_matrix(table, shape=(len(ids), self.vocab)), colbert)

    def _hidden(self, ids: list[list[int]]) -> Tensor:
        """Return the last hidden states ``(n, l, d)`` of texts, longest first."""
        padded = torch.tensor([text + [1] * (len(ids[0]) - len(text)) for text in ids])
        hidden: Tensor = self.encoder(padded, attention_mask=(padded != 1).long()).last_hidden_state
        return hidden


def maxsim(queries: list[Tensor], documents: list[Tensor], chunk: int = 64) -> Tensor:
    """Return the mean over query tokens of the best document token, ``(queries, documents)``."""
    padded = nn.utils.rnn.pad_sequence(documents, batch_first=True)  # (m, l, d)
    absent = torch.arange(padded.shape[1]) >= torch.tensor([len(d) for d in documents])[:, None]
    bias = torch.zeros(absent.shape, dtype=padded.dtype).masked_fill(absent, -torch.inf)
    out = []
    for at in range(0, len(queries), chunk):
        part = queries[at : at + chunk]
        best = (
            ((torch.cat(part) @ padded.flatten(0, 1).T).view(-1, *absent.shape) + bias)
            .amax(dim=2)
            .float()
        )
        out += [rows.mean(dim=0) for rows in torch.split(best, [len(q) for q in part])]
    return torch.stack(out)


@torch.inference_mode()
def scores(queries: Encoded, documents: Encoded, weights: list[Weights]) -> dict[str, Floats]:
    """Return the score matrices of the views and of their weighted means."""
    views: dict[str, Floats] = {
        "dense": (queries.dense @ documents.dense.T).numpy(),
        "sparse": (queries.sparse @ documents.sparse.T).toarray(),
        "colbert": maxsim(queries.colbert, documents.colbert).numpy(),
    }
    fused: dict[str, Floats] = {}
    for parts in weights:
        name = "fusion " + "/".join(f"{part:g}" for part in parts)
        total = sum(w * views[view] for w, view in zip(parts, VIEWS, strict=True))
        fused[name] = np.asarray(total / sum(parts), dtype=np.float32)
    return views | fused


def measures(matrix: Floats, right: NDArray[np.int64]) -> dict[str, float]:
    """Return R@1, R@10, nDCG@10; ``right`` is each row's document, a tie counts against it."""
    own = matrix[np.arange(len(right)), right][:, None]
    rank = (matrix >= own).sum(axis=1)
    return {
        "R@1": float((rank <= 1).mean()),
        "R@10": float((rank <= 10).mean()),
        "nDCG@10": float(np.where(rank <= 10, 1 / np.log2(rank + 1), 0).mean()),
    }


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``.jsonl.zst`` file."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw)
        return [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8")]


def measure_languages(
    model: Checkpoint, folder: Path, weights: list[Weights], every: int
) -> dict[str, Any]:
    """Measure a set of questions and documents that exist in several languages."""
    corpus, queries = read(folder / "corpus.jsonl.zst"), read(folder / "queries.jsonl.zst")
    golds = sorted({q["gold"] for q in queries})
    queries = [q for q in queries if golds.index(q["gold"]) % every == 0 or every == 1]
    documents, questions = (
        model.encode([d["text"] for d in corpus]),
        model.encode([q["text"] for q in queries]),
    )
    result: dict[str, dict[str, list[dict[str, float]]]] = {"cross": {}, "same": {}}
    for lang in sorted({d["lang"] for d in corpus}):
        rows = [i for i, d in enumerate(corpus) if d["lang"] == lang]
        place = {corpus[row]["_id"]: at for at, row in enumerate(rows)}
        known = [i for i, q in enumerate(queries) if f"{q['gold']}-{lang}" in place]
        right = np.array([place[f"{queries[i]['gold']}-{lang}"] for i in known])
        asked = np.array([queries[i]["lang"] for i in known])
        for view, matrix in scores(questions.take(known), documents.take(rows), weights).items():
            for other in np.unique(asked):
                kind = "same" if other == lang else "cross"
                result[kind].setdefault(view, []).append(
                    measures(matrix[asked == other], right[asked == other])
                )
    return {
        kind: {view: average(found) for view, found in views.items()}
        for kind, views in result.items()
    }


def measure_subsets(model: Checkpoint, folder: Path, weights: list[Weights]) -> dict[str, Any]:
    """Measure a set of sentence pairs, each subset on its own; the pairs are row by row."""
    corpus, queries = read(folder / "corpus.jsonl.zst"), read(folder / "queries.jsonl.zst")
    relevant = dict(
        line.split("\t")[:2] for line in read_text(folder / "qrels.tsv.zst").splitlines()[1:]
    )
    result: dict[str, list[dict[str, float]]] = {}
    for subset in sorted({d["set"] for d in corpus}):
        documents = [d for d in corpus if d["set"] == subset]
        asked = [q for q in queries if q["set"] == subset]
        place = {d["_id"]: at for at, d in enumerate(documents)}
        right = np.array([place[relevant[q["_id"]]] for q in asked])
        views = scores(
            model.encode([q["text"] for q in asked]),
            model.encode([d["text"] for d in documents]),
            weights,
        )
        for view, matrix in views.items():
            result.setdefault(view, []).append(measures(matrix, right))
    return {"cross": {view: average(found) for view, found in result.items()}}


def read_text(path: Path) -> str:
    """Return a ``.zst`` file as text."""
    with path.open("rb") as raw:
        return zstandard.ZstdDecompressor().stream_reader(raw).read().decode("utf-8")


def average(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each measure, and over how many slices."""
    return {
        **{name: float(np.mean([one[name] for one in found])) for name in found[0]},
        "slices": len(found),
    }


def speed(model: Checkpoint, folder: Path) -> float:
    """Return tokens per second, tokenising and all three views included, over a set's documents."""
    texts = [d["text"] for d in read(folder / "corpus.jsonl.zst")]
    tokens = sum(len(e.ids) for e in model.tokenizer.encode_batch(texts))
    began = time.monotonic()
    model.encode(texts)
    return tokens / (time.monotonic() - began)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the exported checkpoint")
    parser.add_argument("data", type=Path, help="the folder that holds the evaluation sets")
    parser.add_argument("--sets", nargs="+", default=["xquad", "tatoeba"])
    parser.add_argument("--weights", nargs="+", default=["1/0.3/1"], help="dense/sparse/colbert")
    parser.add_argument("--every", type=int, default=1, help="ask only about every n-th document")
    parser.add_argument("--speed", action="store_true", help="measure tokens per second as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = Checkpoint(args.folder)
    weights = [tuple(float(part) for part in one.split("/")) for one in args.weights]
    figures: dict[str, Any] = {}
    for name in args.sets:
        folder = args.data / name
        subsets = "set" in read(folder / "corpus.jsonl.zst")[0]
        found = (
            measure_subsets(model, folder, weights)
            if subsets
            else measure_languages(model, folder, weights, args.every)
        )
        figures[name] = found
        for kind, views in found.items():
            for view, one in views.items():
                line = "  ".join(
                    f"{measure} {value:.3f}"
                    for measure, value in one.items()
                    if measure != "slices"
                )
                print(
                    f"{name:15} {kind:5} ({one['slices']:2} slices)  {view:15} {line}", flush=True
                )
    if args.speed:
        figures["tokens_per_second"] = round(speed(model, args.data / "xquad"))
        print(f"{figures['tokens_per_second']:,} tokens/s with {args.threads} threads")
    if args.output:
        args.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
