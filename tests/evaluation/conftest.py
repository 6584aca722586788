"""A small set of real data: twelve XQuAD paragraphs and their questions in three languages."""

from pathlib import Path

import pytest

from m3rag.evaluation import RetrievalSet, measure, score

FOLDER = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def xquad():
    return RetrievalSet.read(FOLDER)


@pytest.fixture(scope="session")
def scores(tiny, xquad):
    return score(tiny, xquad)


@pytest.fixture(scope="session")
def report(scores):
    return measure(scores)


@pytest.fixture(scope="session")
def passage_scores(tiny, xquad):
    return score(tiny, xquad, level="passage", max_tokens=64, overlap=16)
