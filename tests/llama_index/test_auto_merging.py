"""Sections in place of their nodes, without a docstore."""

from collections import Counter

import pytest
from llama_index.core import StorageContext
from llama_index.core.node_parser import get_leaf_nodes
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore

from m3rag.errors import ArgumentError, InputError
from m3rag.llama_index import (
    M3AutoMergingRetriever,
    M3EnsembleRetriever,
    M3NodeParser,
    M3VectorStore,
)
from tests.llama_index.conftest import hierarchy

FERNS = " ".join(f"Fern number {i} likes shade and water." for i in range(6))
CACTI = " ".join(f"Cactus number {i} likes sun and sand." for i in range(6))
DOCUMENT = Document(id_="plants.md", text=f"# Ferns\n\n{FERNS}\n\n# Cacti\n\n{CACTI}")
QUERY = "Fern number 3 likes shade and water."


def spaced(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def levels():
    return hierarchy([DOCUMENT], [80, 20])


@pytest.mark.parametrize("k", [4, 8, 20])
@pytest.mark.parametrize("ratio", [0.1, 0.3])
def test_it_merges_like_that_of_llama_index(tiny, levels, k, ratio):
    """That one needs a docstore with the parents."""
    retriever = M3EnsembleRetriever.from_nodes(
        get_leaf_nodes(levels), model=tiny, similarity_top_k=k
    )
    docstore = SimpleDocumentStore()
    docstore.add_documents(levels)
    reference = AutoMergingRetriever(
        retriever, StorageContext.from_defaults(docstore=docstore), simple_ratio_thresh=ratio
    )
    leaves = retriever.retrieve(QUERY)
    found_in = Counter(leaf.node.parent_node.node_id for leaf in leaves)
    merged, _ = reference._get_parents_and_merge(leaves)
    # A single leaf stays as it is, even if it is all that its parent has.
    expected = {one.node_id: one for one in merged if found_in[one.node_id] > 1}
    assert expected
    found = {
        one.node_id: one
        for one in M3AutoMergingRetriever(retriever, ratio=ratio).retrieve(QUERY)
        if one.node_id in found_in
    }
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        assert found[name].score == pytest.approx(one.score)
        assert spaced(found[name].text) == spaced(one.text)


@pytest.fixture
def store(tiny):
    parser = M3NodeParser(model=tiny, max_tokens=24, overlap=0)
    return M3VectorStore.from_documents([DOCUMENT], node_parser=parser, model=tiny)


async def test_nodes_under_the_same_headings(store):
    retriever = M3AutoMergingRetriever(M3EnsembleRetriever(store, similarity_top_k=5))
    found = retriever.retrieve(QUERY)
    assert [one.node_id for one in await retriever.aretrieve(QUERY)] == [n.node_id for n in found]
    best = found[0]
    assert spaced(best.text) == f"# Ferns {FERNS}"
    assert DOCUMENT.text[best.node.start_char_idx : best.node.end_char_idx].endswith("water.")
    assert set(best.scores) == {"dense", "sparse", "colbert"}
    leaves = [
        one
        for one in M3EnsembleRetriever(store, similarity_top_k=5).retrieve(QUERY)
        if one.metadata["headings"] == ["Ferns"]
    ]
    assert best.score == pytest.approx(sum(one.score or 0 for one in leaves) / len(leaves))


def test_too_few_nodes_stay(store):
    plain = M3EnsembleRetriever(store, similarity_top_k=2)
    found = M3AutoMergingRetriever(plain, ratio=0.9).retrieve(QUERY)
    assert found == plain.retrieve(QUERY)


def test_arguments(store):
    with pytest.raises(ArgumentError, match="no argument `simple_ratio_thresh`"):
        M3AutoMergingRetriever(M3EnsembleRetriever(store), simple_ratio_thresh=0.3)
    with pytest.raises(InputError, match="`ratio` must be from 0 to 1"):
        M3AutoMergingRetriever(M3EnsembleRetriever(store), ratio=3)
