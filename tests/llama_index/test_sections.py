"""Neighbours of found nodes, from the index itself."""

import pytest
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, NodeWithScore, TextNode

from m3rag.errors import ArgumentError, InputError
from m3rag.llama_index import (
    M3EnsembleRetriever,
    M3NeighbourPostprocessor,
    M3NodeParser,
    M3Reranker,
    M3VectorStore,
)

SENTENCES = [f"Plant number {i} likes {i} litres of water." for i in range(8)]
DOCUMENT = Document(id_="plants.md", text=" ".join(SENTENCES), metadata={"lang": "en"})
QUERY = "Plant number 4 likes 4 litres of water."


@pytest.fixture(params=["M3NodeParser", "SentenceSplitter", "metadata in the text"], scope="module")
def store(request, tiny):
    parsers = {
        "M3NodeParser": M3NodeParser(model=tiny, max_tokens=18, overlap=0),
        "SentenceSplitter": SentenceSplitter(
            chunk_size=14, chunk_overlap=0, include_metadata=False
        ),
        "metadata in the text": M3NodeParser(
            model=tiny, max_tokens=18, overlap=0, embed_metadata=True
        ),
    }
    parser = parsers[request.param]
    store = M3VectorStore.from_documents([DOCUMENT], model=tiny, node_parser=parser)
    assert store.count() == len(SENTENCES)
    return store


def section(first, last):
    return " ".join(SENTENCES[first : last + 1])


def spaced(text):
    """Return a text with a space for all white space: that between nodes is not kept."""
    return " ".join(text.split())


@pytest.mark.parametrize(("neighbours", "expected"), [(0, (4, 4)), (1, (3, 5)), (9, (0, 7))])
async def test_a_retriever_widens_nodes(store, neighbours, expected):
    retriever = M3EnsembleRetriever(store, similarity_top_k=1, neighbours=neighbours)
    (found,) = retriever.retrieve(QUERY)
    text = section(*expected)
    assert spaced(found.text) == text
    assert [found] == await retriever.aretrieve(QUERY)
    assert DOCUMENT.text[found.node.start_char_idx : found.node.end_char_idx] == text
    assert found.node.ref_doc_id == "plants.md"
    assert set(found.scores) == {"dense", "sparse", "colbert"}


def test_the_postprocessor_widens_nodes_of_any_retriever(store):
    found = M3EnsembleRetriever(store, similarity_top_k=1).retrieve(QUERY)
    (wide,) = M3NeighbourPostprocessor(store, neighbours=2).postprocess_nodes(found)
    assert spaced(wide.text) == section(2, 6)
    assert (wide.score, wide.scores, wide.node_id) == (
        found[0].score,
        found[0].scores,
        found[0].node_id,
    )
    plain = [NodeWithScore(node=found[0].node, score=None)]
    (wide,) = M3NeighbourPostprocessor(index=store).postprocess_nodes(plain)
    assert (spaced(wide.text), wide.score, wide.scores) == (section(3, 5), None, {})


def test_sections_that_overlap_become_one(store):
    nodes = sorted(store.get_nodes(), key=lambda node: node.start_char_idx)
    given = [NodeWithScore(node=nodes[i], score=1 - i / 10) for i in (1, 2, 6)]
    wide = M3NeighbourPostprocessor(store).postprocess_nodes(given)
    assert [spaced(one.text) for one in wide] == [section(0, 3), section(5, 7)]
    assert [one.score for one in wide] == [0.9, 0.4]


def test_a_node_from_elsewhere_stays(store):
    given = [NodeWithScore(node=TextNode(id_="x", text="Elsewhere."), score=0.5)]
    (same,) = M3NeighbourPostprocessor(store).postprocess_nodes(given)
    assert (same.node, same.score) == (given[0].node, 0.5)


def test_widened_nodes_can_be_reranked(store):
    retriever = M3EnsembleRetriever(store, similarity_top_k=3, neighbours=1)
    best = M3Reranker(index=store, top_n=1).postprocess_nodes(
        retriever.retrieve(QUERY), query_str=QUERY
    )
    assert SENTENCES[4] in best[0].text


def test_arguments(store):
    with pytest.raises(ArgumentError, match="Did you mean `neighbours`"):
        M3NeighbourPostprocessor(store, neighbors=2)
    with pytest.raises(InputError, match="`neighbours`"):
        M3NeighbourPostprocessor(store, neighbours=-1)
    with pytest.raises(InputError, match="`neighbours`"):
        M3EnsembleRetriever(store, neighbours=-1)
