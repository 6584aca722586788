"""A small real training set: questions and their paragraphs, from the evaluation's test data."""

import json
from pathlib import Path

import pytest

from m3rag.training import TrainingSettings

HELD_OUT = Path(__file__).parents[1] / "evaluation" / "data"


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def rows():
    """66 questions in three languages; each has its paragraph in the three of them."""
    documents, queries = (
        [json.loads(line) for line in (HELD_OUT / name).read_text(encoding="utf-8").splitlines()]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    texts = {document["_id"]: document["text"] for document in documents}
    relevant = {}
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
    """Settings of a short run; keyword arguments change them."""

    def settings(**changes):
        few = {
            "max_steps": 4,
            "epochs": 100,
            "batch": 8,
            "max_query_length": 24,
            "max_passage_length": 48,
            "learning_rate": 3e-4,
            "dtype": "float32",
            "freeze": ("embeddings", "positions"),  # nine tenths of "tiny"
        }
        return TrainingSettings(**few | changes)

    return settings
