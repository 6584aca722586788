"""A small real training set: questions and their paragraphs, from the test data of evaluation."""

import json
from pathlib import Path

import pytest
import torch

from m3rag.training import TrainingSettings
from m3rag.training.losses import VIEWS

HELD_OUT = Path(__file__).parents[1] / "evaluation" / "data"


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def random_scores(seed, n, m, dtype=torch.float64):
    """Return random scores `(n, m)` of each view, with gradients."""
    rng = torch.Generator().manual_seed(seed)
    return {view: torch.rand(n, m, generator=rng, dtype=dtype).requires_grad_() for view in VIEWS}


@pytest.fixture(scope="session")
def rows():
    """66 questions in three languages, each with its paragraph in all three."""
    documents, queries = (
        [json.loads(line) for line in (HELD_OUT / name).read_text(encoding="utf-8").splitlines()]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    texts = {document["_id"]: document["text"] for document in documents}
    relevant: dict[str, list[str]] = {}
    for line in (HELD_OUT / "qrels.tsv").read_text().splitlines()[1:]:
        query, document = line.split("\t")[:2]
        relevant.setdefault(query, []).append(document)
    return [
        {
            "query": query["text"],
            "pos": [texts[document] for document in relevant[query["_id"]]],
            "key": relevant[query["_id"]][0].rpartition("-")[0],
        }
        for query in queries
    ]


@pytest.fixture(scope="session")
def pairs(rows, tmp_path_factory):
    return write(tmp_path_factory.mktemp("training") / "pairs.jsonl", rows)


@pytest.fixture(scope="session")
def quick():
    """A function that returns the settings of a short run; keyword arguments change them."""

    def settings(**changes):
        defaults = {
            "max_steps": 4,
            "epochs": 100,
            "batch": 8,
            "max_query_length": 24,
            "max_passage_length": 48,
            "learning_rate": 3e-4,
            "dtype": "float32",
            "freeze": ("embeddings", "positions"),  # nine tenths of the parameters of "tiny"
        }
        return TrainingSettings(**defaults | changes)

    return settings
