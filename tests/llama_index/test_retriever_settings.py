"""Settings that say which of the ranked nodes a retriever returns."""

import pytest

from m3rag.llama_index import M3EnsembleRetriever, M3SparseRetriever
from tests.llama_index.conftest import ids

BOTH = [M3EnsembleRetriever, M3SparseRetriever]


@pytest.mark.parametrize("kind", BOTH)
def test_a_lowest_score(tiny, nodes, kind):
    retriever = kind.from_nodes(nodes, model=tiny, similarity_top_k=8)
    scores = [found.score for found in retriever.retrieve("the soil")]
    retriever.min_score = scores[2]
    assert [found.score for found in retriever.retrieve("the soil")] == scores[:3]
    retriever.min_score = 99
    assert retriever.retrieve("the soil") == []


@pytest.mark.parametrize("kind", BOTH)
def test_at_most_n_nodes_of_a_document(tiny, nodes, kind):
    retriever = kind.from_nodes(nodes, model=tiny, similarity_top_k=8, max_per_document=1)
    sources = [found.node.ref_doc_id for found in retriever.retrieve("the soil and the plants")]
    assert len(sources) == len(set(sources)) > 1


def test_pages_of_results(ensemble):
    every = ids(M3EnsembleRetriever(ensemble, similarity_top_k=4).retrieve("soil"))
    page = M3EnsembleRetriever(ensemble, similarity_top_k=2, offset=2)
    assert ids(page.retrieve("soil")) == every[2:]


def test_the_constant_of_rrf(ensemble):
    found = M3EnsembleRetriever(ensemble, fusion="rrf", weights={"dense": 1}, rrf_k=1)
    assert found.retrieve("soil")[0].score == pytest.approx(1 / 2)
