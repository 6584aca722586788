"""A store or a retriever of a tenant: no path leads to the nodes of others."""

import json
import pickle  # noqa: TID251  # what users do

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexAutoRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreInfo,
)

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.llama_index import (
    M3AutoMergingRetriever,
    M3EnsembleRetriever,
    M3NeighbourPostprocessor,
    M3NodeParser,
    M3SparseRetriever,
    M3VectorStore,
    retrieval_tool,
)
from tests.llama_index.conftest import MODES, SpecLLM, make_query, where

QUERY = "a fern in the shade"
OURS = where("tenant", "a")
EVERY_TENANT = MetadataFilters(
    filters=[MetadataFilter(key="tenant", value=tenant) for tenant in "ab"],
    condition=FilterCondition.OR,
)
FILTERS = [None, MetadataFilters(filters=[]), where("tenant", "b"), where("n", [0, 1, 2], "in")]
FILTERS += [EVERY_TENANT, where("tenant", "a", condition="not"), where("other", None, "is_empty")]


def make_node(tenant, n, document="fern.md", **metadata):
    return TextNode(
        id_=f"{tenant}{n}",
        text=f"A fern in the shade, number {n}.",
        metadata={"tenant": tenant, "n": n, **metadata},
        excluded_embed_metadata_keys=["tenant", "n"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"{tenant}/{document}")},
    )


@pytest.fixture
def index(tiny):
    """In memory: tests/stores prove that filters are the same in a folder."""
    with M3Index.open(model=tiny) as index:
        M3VectorStore(index).add([make_node(tenant, n) for tenant in "ab" for n in range(3)])
        yield index


def tenants(found):
    return {node.node_id[0] for node in found}


def all_ids(index):
    return sorted(passage.id for passage in index.passages())


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
async def test_filters_of_a_retriever_narrow(index, kind):
    retriever = kind(index, base_filters=OURS, similarity_top_k=6, neighbours=1)
    for filters in FILTERS:
        retriever.filters = filters
        assert tenants(retriever.retrieve(QUERY)) <= {"a"}
        assert tenants(await retriever.aretrieve(QUERY)) <= {"a"}
    retriever.filters = None
    retriever.node_ids = ["a0", "b0"]
    assert [found.node_id for found in retriever.retrieve(QUERY)] == ["a0"]
    assert tenants(retriever.get_nodes()) == {"a"}


@pytest.mark.parametrize("mode", MODES)
async def test_queries_of_a_store(index, mode):
    store = M3VectorStore(index, base_filters=OURS)
    for filters in FILTERS:
        query = make_query(QUERY, mode, 6, filters=filters, node_ids=["a1", "b1"])
        assert set((await store.aquery(query)).ids) <= {"a1"}
    assert set(store.query(make_query(QUERY, mode, 6)).ids) == {"a0", "a1", "a2"}


def test_reading_changing_and_deleting(index):
    store = M3VectorStore(index, base_filters=OURS)
    assert [n.node_id for n in store.get_nodes(["b0", "a0"])] == ["a0"]
    assert tenants(store.get_nodes(filters=EVERY_TENANT)) == {"a"}
    assert store.count() == store.count(EVERY_TENANT) == 3
    assert store.update_metadata({"seen": True}, filters=EVERY_TENANT) == 3
    assert index.count({"seen": True}) == 3
    store.delete("b/fern.md")
    store.delete_nodes(["b0", "a0"])
    assert all_ids(index) == ["a1", "a2", "b0", "b1", "b2"]
    store.delete_nodes(filters=EVERY_TENANT)
    store.clear()
    assert all_ids(index) == ["b0", "b1", "b2"]


@pytest.mark.parametrize("add", ["add", "from_vector_store", "upsert_documents"])
def test_adding_touches_no_node_of_others(index, add):
    store = M3VectorStore(index, base_filters=OURS)
    before = index.get(["b0", "b1", "b2"])

    def write(name, tenant, document):
        if add == "upsert_documents":
            text = Document(id_=f"{document}/fern.md", text="Ours.", metadata={"tenant": tenant})
            return store.upsert_documents([text])
        node = make_node(tenant, 0, document=document)
        node.id_ = name
        source = RelatedNodeInfo(node_id=f"{document}/fern.md", hash="new")
        node.relationships[NodeRelationship.SOURCE] = source
        if add == "add":
            return store.add([node])
        return VectorStoreIndex.from_vector_store(store, store.embed_model).insert_nodes([node])

    with pytest.raises(InputError, match="does not match `base_filters`"):
        write("new", "b", "new")
    with pytest.raises(InputError, match=r"'b/fern\.md' is taken .* Choose another"):
        write("new", "a", "b")
    if add != "upsert_documents":
        with pytest.raises(InputError, match="'b0' is taken"):
            write("b0", "a", "new")
    assert index.get(["b0", "b1", "b2"]) == before
    assert len(index) == 6
    write("a9", "a", "new")
    assert len(index) == 7


def test_components_over_a_store_have_its_base_filters(index):
    store = M3VectorStore(index, base_filters=OURS)
    vectors = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    wide = M3EnsembleRetriever(index, similarity_top_k=6)
    for given in (store, vectors, M3SparseRetriever(store)):
        retriever = M3EnsembleRetriever(given, similarity_top_k=6)
        assert tenants(retriever.retrieve(QUERY)) == {"a"}
        assert tenants(M3VectorStore(given).get_nodes()) == {"a"}
        assert tenants(retrieval_tool(M3EnsembleRetriever(given)).call(QUERY).raw_output) == {"a"}
    assert tenants(retrieval_tool(store).call(QUERY).raw_output) == {"a"}
    narrow = M3EnsembleRetriever(store, base_filters=where("n", 1), similarity_top_k=6)
    assert [found.node_id for found in narrow.retrieve(QUERY)] == ["a1"]
    wide.index = store
    assert tenants(wide.retrieve(QUERY)) == {"a"}


def test_neighbours_and_sections(tiny):
    text = "# Ferns\n\n" + " ".join(f"Ferns like shade and rain, says line {n}." for n in range(6))
    parser = M3NodeParser(model=tiny, max_tokens=16, overlap=0)
    nodes = parser.get_nodes_from_documents([Document(id_="fern.md", text=text)])
    for n, node in enumerate(nodes):
        node.metadata["tenant"] = "a" if n < 2 else "b"
    index = M3VectorStore.from_nodes(nodes, model=tiny).index
    store = M3VectorStore(index, base_filters=OURS)
    retriever = M3EnsembleRetriever(store, similarity_top_k=2)
    found = retriever.retrieve(QUERY)
    assert {one.node_id for one in found} == {node.node_id for node in nodes[:2]}
    end = nodes[1].end_char_idx
    for widened in (
        M3NeighbourPostprocessor(store, neighbours=9).postprocess_nodes(found),
        M3EnsembleRetriever(store, similarity_top_k=2, neighbours=9).retrieve(QUERY),
        M3AutoMergingRetriever(retriever).retrieve(QUERY),
    ):
        assert [one.node.end_char_idx for one in widened] == [end]


async def test_engines_of_the_framework(index):
    store = M3VectorStore(index, base_filters=OURS)
    vectors = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    settings = {"similarity_top_k": 6, "filters": EVERY_TENANT}
    llm = MockLLM()
    engine = vectors.as_query_engine(llm=llm, **settings)
    memory = ChatMemoryBuffer.from_defaults(token_limit=3000)
    chat = vectors.as_chat_engine("context", llm=llm, memory=memory, **settings)
    assert tenants(engine.query(QUERY).source_nodes) == {"a"}
    assert tenants((await engine.aquery(QUERY)).source_nodes) == {"a"}
    assert tenants(chat.chat(QUERY).source_nodes) == {"a"}
    assert tenants((await chat.achat(QUERY)).source_nodes) == {"a"}


def test_a_language_model_cannot_ask_for_others(index):
    """The filters of an auto-retriever come from a language model."""

    spec = {"query": QUERY, "filters": [{"key": "tenant", "value": "b", "operator": "=="}]}
    llm = SpecLLM(answer=f"```json\n{json.dumps(spec)}\n```")
    store = M3VectorStore(index, base_filters=OURS)
    everything = M3VectorStore(index)
    found = [
        VectorIndexAutoRetriever(
            VectorStoreIndex.from_vector_store(one, embed_model=one.embed_model),
            VectorStoreInfo(content_info="notes", metadata_info=[]),
            llm=llm,
        ).retrieve(QUERY)
        for one in (everything, store)
    ]
    assert tenants(found[0]) == {"b"}
    assert found[1] == []


def test_they_are_checked_shown_and_kept(tiny, tmp_path):
    with M3VectorStore.from_nodes(
        [make_node("a", 0)], path=tmp_path / "kb", model="tiny", base_filters=OURS
    ) as store:
        assert "tenant" in repr(store)
        for component in (store, M3EnsembleRetriever(store), M3NeighbourPostprocessor(store)):
            assert pickle.loads(pickle.dumps(component)).base_filters == OURS
        with pytest.raises(InputError, match="base_filters"):
            store.base_filters = {"tenant": "a"}  # type: ignore[assignment]
        for given in (store.index, store):
            with pytest.raises(InputError, match="`base_filters` must be MetadataFilters"):
                M3EnsembleRetriever(given, base_filters={"tenant": "a"})
        with pytest.raises(InputError, match="does not match `base_filters`"):
            M3VectorStore.from_nodes([make_node("b", 0)], model=tiny, base_filters=OURS)
