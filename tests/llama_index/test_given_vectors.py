"""Embeddings that nodes bring along: from the store's model, from another one, from other text."""

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import VectorMemoryBlock
from llama_index.core.schema import MetadataMode, TextNode

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.llama_index import M3Embedding, M3VectorStore
from tests.llama_index.conftest import IDS, make_nodes


@pytest.fixture
def store(tiny):
    return M3VectorStore(M3Index.open(model=tiny))


def vector(model, text):
    return model.encode([text]).dense[0].tolist()


def fern(**settings):
    return TextNode(id_="fern", text="Ferns like shade and moist soil.", **settings)


def test_another_model_is_refused(own):
    index = VectorStoreIndex.from_vector_store(own, embed_model=MockEmbedding(embed_dim=256))
    with pytest.raises(InputError, match=r"'tiny': their cosine is -0\.\d\d.*store\.embed_model"):
        index.insert_nodes([TextNode(id_="new", text="Tulips bloom in spring.")])
    assert {n.node_id for n in own.get_nodes()} == IDS


def test_another_width_is_refused(store):
    with pytest.raises(InputError, match=r"Node 'fern' has an embedding of 3 dimensions.*has 256"):
        store.add([fern(embedding=[1.0, 0.0, 0.0])])
    assert store.get_nodes() == []


def test_a_vector_that_is_not_finite_is_refused(store):
    with pytest.raises(InputError, match="'fern' has a number that is not finite"):
        store.add([fern(embedding=[float("nan")] * 256)])


@pytest.mark.parametrize("wrong", [1, 40, 69, 199])
def test_every_vector_is_checked(tiny, store, wrong):
    nodes = [TextNode(id_=f"{i}", text=f"Plant number {i} likes water.") for i in range(200)]
    dense = tiny.encode([node.text for node in nodes], colbert=False).dense
    for node, row in zip(nodes, dense, strict=True):
        node.embedding = row.tolist()
    nodes[wrong].embedding = vector(tiny, "Something else.")
    with pytest.raises(InputError, match=f"node '{wrong}' is not that of its text"):
        store.add(nodes)
    assert str(wrong) not in {node.node_id for node in store.get_nodes()}


def test_a_vector_of_any_length_is_accepted(tiny, store):
    scaled = [3 * x for x in vector(tiny, "Ferns like shade and moist soil.")]
    assert store.add([fern(embedding=scaled)]) == ["fern"]


@pytest.mark.parametrize("mode", [MetadataMode.EMBED, MetadataMode.NONE])
def test_text_with_or_without_metadata(tiny, store, mode):
    node = fern(metadata={"session_id": "350e58de-1602-4a6f", "source": "notes/ferns.txt"})
    node.embedding = vector(tiny, node.get_content(mode))
    store.add([node])
    (back,) = store.get_nodes()
    assert (back.text, back.metadata) == (node.text, node.metadata)
    (stored,) = store.index.dense_vectors(["fern"])
    assert stored == pytest.approx(node.embedding, abs=1e-5)


def test_the_check_needs_no_further_pass(fresh):
    for colbert in ("stored", "off"):
        store = M3VectorStore(M3Index.open(model=fresh, colbert=colbert))
        nodes = make_nodes()
        dense = fresh.encode([node.text for node in nodes], colbert=False).dense
        for node, row in zip(nodes, dense, strict=True):
            node.embedding = row.tolist()
        before = fresh.passes
        store.add(nodes)
        assert fresh.passes - before <= 1  # the ColBERT vectors


def test_passages_encoded_in_their_document(tiny):
    index = M3Index.open(model=tiny, context="document")
    nodes = make_nodes()
    for node in nodes:
        node.embedding = vector(tiny, node.text)
    assert set(M3VectorStore(index).add(nodes)) == IDS


@pytest.mark.parametrize("own_model", [True, False])
async def test_a_vector_memory_block(tiny, store, own_model):
    """It embeds the text of a node whose metadata has the session."""
    embed_model = M3Embedding(model=tiny) if own_model else store.embed_model
    block = VectorMemoryBlock(vector_store=store, embed_model=embed_model, similarity_top_k=1)
    await block.aput(
        [ChatMessage("My fern stands in the shade."), ChatMessage("The pump key is in the box.")],
        session_id="s",
    )
    found = await block.aget([ChatMessage("Where does the fern stand?")], session_id="s")
    assert "in the shade" in found
