"""Copies share the model and the index; pickles name them."""

import copy
import pickle  # noqa: TID251  # what users do
import subprocess
import sys

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from m3rag.errors import InputError
from m3rag.llama_index import (
    M3Embedding,
    M3EnsembleRetriever,
    M3NeighbourPostprocessor,
    M3NodeParser,
    M3Reranker,
    M3SparseEmbedding,
    M3SparseRetriever,
    M3VectorStore,
)
from tests.llama_index.conftest import make_nodes, make_query

OVER_AN_INDEX = [
    lambda index: M3VectorStore(index, weights="cross-lingual"),
    lambda index: M3EnsembleRetriever(index, similarity_top_k=2, weights="cross-lingual"),
    lambda index: M3SparseRetriever(index, similarity_top_k=2),
    lambda index: M3Reranker(index=index, top_n=2, mode="all"),
    lambda index: M3NeighbourPostprocessor(index, neighbours=2),
]
OF_A_MODEL = [M3Embedding, M3SparseEmbedding, M3NodeParser, M3Reranker]
QUERY = "soil moisture sensor"


def use(component):
    """Return what a component does, to compare."""
    found = [NodeWithScore(node=node, score=1.0) for node in make_nodes()]
    if isinstance(component, M3VectorStore):
        return component.query(make_query(QUERY, "hybrid")).ids
    if hasattr(component, "retrieve"):
        return [one.node_id for one in component.retrieve(QUERY)]
    if hasattr(component, "postprocess_nodes"):
        return [one.node_id for one in component.postprocess_nodes(found, query_str=QUERY)]
    if hasattr(component, "split_text"):
        return component.split_text(QUERY)
    return component.get_query_embedding(QUERY)


@pytest.fixture
def folder(tmp_path):
    with M3VectorStore.from_nodes(make_nodes(), path=tmp_path / "kb", model="tiny") as store:
        yield store.index


@pytest.mark.parametrize("make", OVER_AN_INDEX)
def test_a_component_over_a_folder(folder, make):
    component = make(folder)
    expected = use(component)
    for again in (
        pickle.loads(pickle.dumps(component)),
        copy.copy(component),
        copy.deepcopy(component),
    ):
        assert use(again) == expected
        assert again._index is folder


@pytest.mark.parametrize("make", OVER_AN_INDEX)
def test_a_component_over_an_index_in_memory(tiny, make):
    component = make(M3VectorStore.from_nodes(make_nodes(), model=tiny))
    with pytest.raises(InputError, match="An index in memory cannot be pickled"):
        pickle.dumps(component)
    assert use(copy.deepcopy(component)) == use(component)


@pytest.mark.parametrize("kind", OF_A_MODEL)
def test_a_component_of_a_named_model(kind):
    component = kind(model="tiny")
    expected = use(component)
    for again in (pickle.loads(pickle.dumps(component)), copy.deepcopy(component)):
        assert use(again) == expected


@pytest.mark.slow
def test_another_process_opens_the_folder(folder, tmp_path):
    (tmp_path / "retriever").write_bytes(pickle.dumps(M3EnsembleRetriever(folder)))
    expected = use(M3EnsembleRetriever(folder))
    folder.close()
    code = f"""
import pickle  # noqa: TID251  # what users do
retriever = pickle.load(open({str(tmp_path / "retriever")!r}, "rb"))
print([one.node_id for one in retriever.retrieve({QUERY!r})])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"{expected}\n", done.stderr


def test_results(tiny):
    found = M3EnsembleRetriever.from_nodes([TextNode(text="Ferns.")], model=tiny).retrieve("Ferns")
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found
