"""M3VectorStore: every query mode, filters, and all ways to forget."""

import json
from itertools import pairwise

import numpy as np
import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import Document, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.llama_index import M3Embedding, M3VectorStore
from m3rag.llama_index.querying import mmr
from tests.conftest import passes_need_the_loop
from tests.llama_index.conftest import QUESTIONS, TEXTS, make_nodes

MODES = ["default", "sparse", "text_search", "hybrid", "mmr"]
IDS = set(TEXTS)


def open_store(request, tmp_path, model):
    path = None if request.param == "memory" else tmp_path / "kb"
    return M3VectorStore(M3Index.open(path, model=model))


@pytest.fixture(scope="module", params=["memory", "folder"])
def shared(request, tmp_path_factory, tiny):
    """A store to read from."""
    store = open_store(request, tmp_path_factory.mktemp("store"), tiny)
    store.add(make_nodes())
    yield store
    assert len(store.index) == len(TEXTS)
    store.index.close()


@pytest.fixture(params=["memory", "folder"])
def own(request, tmp_path, tiny):
    """A store to change."""
    store = open_store(request, tmp_path, tiny)
    store.add(make_nodes())
    yield store
    store.index.close()


def ask(text="soil moisture sensor", mode="default", k=3, **settings):
    return VectorStoreQuery(
        query_str=text, mode=VectorStoreQueryMode(mode), similarity_top_k=k, **settings
    )


def only(key, value, operator="==", condition="and"):
    one = MetadataFilter(key=key, value=value, operator=FilterOperator(operator))
    return MetadataFilters(filters=[one], condition=condition)


def test_it_is_a_vector_store(shared):
    assert isinstance(shared, BasePydanticVectorStore)
    assert M3VectorStore.class_name() == "M3VectorStore"
    assert shared.stores_text
    assert shared.is_embedding_query
    assert shared.client is shared.index


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 4])
def test_every_mode_gives_k_nodes_with_falling_scores(shared, mode, k):
    result = shared.query(ask("the soil and the plants", mode, k))
    assert len(result.nodes) == len(result.similarities) == len(result.ids) == k
    assert [node.node_id for node in result.nodes] == result.ids
    assert {type(score) for score in result.similarities} == {float}
    if mode != "mmr":
        assert result.similarities == sorted(result.similarities, reverse=True)


@pytest.mark.parametrize("mode", MODES)
async def test_async_gives_what_sync_gives(shared, mode):
    assert await shared.aquery(ask(mode=mode)) == shared.query(ask(mode=mode))


@pytest.mark.parametrize(
    ("mode", "channel"), [("default", "dense"), ("sparse", "sparse"), ("text_search", "bm25")]
)
def test_a_mode_of_one_channel_scores_by_that_alone(shared, mode, channel):
    hits = shared.index.search("soil moisture sensor", 3, channels=[channel])
    result = shared.query(ask(mode=mode))
    assert result.ids == [hit.passage.id for hit in hits]
    assert result.similarities == [getattr(hit, channel) for hit in hits]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_goes_from_sparse_to_dense(shared, alpha):
    result = shared.query(ask(mode="hybrid", alpha=alpha, k=8))
    hits = {
        hit.passage.id: hit
        for hit in shared.index.search("soil moisture sensor", 8, channels=["dense", "sparse"])
    }
    for name, score in zip(result.ids, result.similarities, strict=True):
        expected = alpha * hits[name].dense + (1 - alpha) * hits[name].sparse
        assert score == pytest.approx(expected, abs=1e-6)


def test_hybrid_without_alpha_weighs_as_the_store_does(shared):
    store = M3VectorStore(shared.index, weights=[0, 0, 1])
    hits = shared.index.search("soil moisture sensor", 3, weights={"colbert": 1})
    assert store.query(ask(mode="hybrid")).similarities == [hit.score for hit in hits]


def test_a_retriever_may_weigh_otherwise(shared):
    index = VectorStoreIndex.from_vector_store(shared, embed_model=shared.embed_model)
    retriever = index.as_retriever(
        vector_store_query_mode="hybrid",
        similarity_top_k=3,
        vector_store_kwargs={"weights": "cross-lingual", "fusion": "rrf", "candidates": 5},
    )
    hits = shared.index.search("shade", 3, weights="cross-lingual", fusion="rrf", candidates=5)
    assert [found.score for found in retriever.retrieve("shade")] == [hit.score for hit in hits]


def test_hybrid_and_sparse_may_have_a_k_of_their_own(shared):
    assert len(shared.query(ask(mode="hybrid", k=3, hybrid_top_k=2)).ids) == 2
    assert len(shared.query(ask("the soil", mode="sparse", k=3, sparse_top_k=1)).ids) == 1


@pytest.mark.parametrize("mode", ["default", "mmr"])
def test_an_embedding_alone_will_do(shared, tiny, mode):
    vector = tiny.encode(["soil moisture sensor"]).dense[0].tolist()
    query = VectorStoreQuery(
        query_embedding=vector, mode=VectorStoreQueryMode(mode), similarity_top_k=3
    )
    assert shared.query(query).ids == shared.query(ask(mode=mode)).ids


def test_an_embedding_goes_before_the_text(shared, tiny):
    """HyDE embeds other words than those of the question."""
    index = VectorStoreIndex.from_vector_store(shared, embed_model=shared.embed_model)
    bundle = QueryBundle("helechos", custom_embedding_strs=["A cactus needs sun."])
    (best,) = index.as_retriever(similarity_top_k=1).retrieve(bundle)
    assert best.node_id == "cactus"


def test_an_embedding_of_another_width_is_an_error(shared):
    with pytest.raises(InputError, match=r"256 finite numbers.*\(3,\)"):
        shared.query(VectorStoreQuery(query_embedding=[0.1, 0.2, 0.3]))


def test_mmr_with_threshold_one_is_the_default_order(shared):
    found = shared.query(ask(mode="mmr", k=5), mmr_threshold=1.0)
    assert found.ids == shared.query(ask(k=5)).ids


def test_mmr_with_a_low_threshold_avoids_what_is_alike(shared):
    alike = shared.query(ask(k=2)).ids
    other = shared.query(ask(mode="mmr", k=2, mmr_threshold=0.05)).ids
    assert alike[0] == other[0]
    assert alike[1] != other[1]


def test_mmr_follows_its_formula():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(12, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query, passages = vectors[0], vectors[1:]
    chosen = mmr(query, passages, 6, 0.3)
    for n, (row, score) in enumerate(chosen):
        before = [earlier for earlier, _ in chosen[:n]]
        every = {
            i: 0.3 * float(passages[i] @ query)
            - 0.7 * max((float(passages[i] @ passages[j]) for j in before), default=0.0)
            for i in range(len(passages))
            if i not in before
        }
        assert row == max(every, key=every.get)
        assert score == pytest.approx(every[row], abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_store_finds_nothing(tiny, mode):
    assert M3VectorStore(M3Index.open(model=tiny)).query(ask(mode=mode)).ids == []


@pytest.mark.parametrize("mode", ["semantic_hybrid", "svm", "linear_regression"])
def test_other_modes_are_an_error_that_lists_ours(shared, mode):
    with pytest.raises(InputError, match=f"no mode '{mode}'.*default, sparse, text_search"):
        shared.query(ask(mode=mode))


def test_a_mode_of_words_needs_words(shared, tiny):
    query = VectorStoreQuery(query_embedding=[0.0] * 256, mode=VectorStoreQueryMode.SPARSE)
    with pytest.raises(InputError, match="'sparse' needs query_str"):
        shared.query(query)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"alpha": 1.5, "mode": "hybrid"}, {}, r"alpha must be 0 to 1, got 1\.5"),
        ({"mode": "mmr"}, {"mmr_threshold": -1}, "mmr_threshold must be 0 to 1, got -1"),
        ({}, {"ef": 10}, "No option 'ef'; a query has weights, fusion"),
    ],
)
def test_what_is_out_of_range_is_an_error(shared, settings, options, message):
    with pytest.raises(InputError, match=message):
        shared.query(ask(**settings), **options)


FILTERS = [
    (only("lang", "es"), {"sombra"}),
    (only("lang", "en", "!="), {"sombra", "植物", "boden"}),
    (only("year", 2023), {"sensor", "hub", "boden"}),
    (only("year", 2022, ">"), {"sensor", "hub", "boden"}),
    (only("year", 2022, ">="), {"植物", "sensor", "hub", "boden"}),
    (only("year", 2020, "<"), {"shade"}),
    (only("year", 2020, "<="), {"shade", "water"}),
    (only("lang", ["es", "zh"], "in"), {"sombra", "植物"}),
    (only("lang", ["en", "de"], "nin"), {"sombra", "植物"}),
    (only("tags", "es", "contains"), {"sombra"}),
    (only("tags", ["es", "zh"], "any"), {"sombra", "植物"}),
    (only("tags", ["es", "demo"], "all"), {"sombra"}),
    (only("nowhere", 1), set()),
    (only("nowhere", 1, "!="), IDS),
    (only("document_id", "iot.md"), {"sensor", "hub"}),
    (MetadataFilters(filters=[]), IDS),
    (
        MetadataFilters(
            filters=[*only("lang", "es").filters, *only("year", 2019).filters], condition="or"
        ),
        {"sombra", "shade"},
    ),
    (
        MetadataFilters(
            filters=[*only("lang", "en").filters, *only("year", 2023).filters], condition="and"
        ),
        {"sensor", "hub"},
    ),
    (
        MetadataFilters(
            filters=[*only("lang", "en").filters, *only("lang", "es").filters], condition="not"
        ),
        {"植物", "boden"},
    ),
    (
        MetadataFilters(
            filters=[
                only("lang", "en", condition="not"),
                MetadataFilters(filters=[only("year", 2021), only("year", 2022)], condition="or"),
            ]
        ),
        {"sombra", "植物"},
    ),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_filters(shared, filters, expected):
    assert set(shared.query(ask(k=8, filters=filters)).ids) == expected
    assert {node.node_id for node in shared.get_nodes(filters=filters)} == expected


@pytest.mark.parametrize("mode", MODES)
def test_filters_count_in_every_mode(shared, mode):
    result = shared.query(ask("the soil", mode, 8, filters=only("lang", "en")))
    assert result.ids
    assert {node.metadata["lang"] for node in result.nodes} == {"en"}


@pytest.mark.parametrize("operator", ["text_match", "text_match_insensitive", "is_empty"])
def test_an_operator_that_the_index_lacks_is_an_error(shared, operator):
    with pytest.raises(InputError, match=f"cannot filter by '{operator}'; it has ==, contains"):
        shared.query(ask(filters=only("lang", "x", operator)))


def test_a_list_operator_needs_a_list(shared):
    with pytest.raises(InputError, match="takes a list of values, got 'en'"):
        shared.query(ask(filters=only("lang", "en", "in")))


def test_a_range_needs_numbers(shared):
    with pytest.raises(InputError, match="bounds must be numbers, got 'en'"):
        shared.query(ask(filters=only("lang", "en", ">")))


def test_documents_and_nodes_can_be_asked_for(shared):
    assert set(shared.query(ask(k=8, doc_ids=["iot.md", "zh.md"])).ids) == {"sensor", "hub", "植物"}
    assert set(shared.query(ask(k=8, node_ids=["hub", "shade", "no"])).ids) == {"hub", "shade"}


def test_nodes_come_back_as_they_were(shared):
    originals = {node.node_id: node for node in make_nodes()}
    for node in shared.query(ask(k=8)).nodes:
        assert node == originals[node.node_id]
        assert node.hash == originals[node.node_id].hash


def test_results_become_json(shared):
    index = VectorStoreIndex.from_vector_store(shared, embed_model=shared.embed_model)
    for found in index.as_retriever().retrieve("soil"):
        assert json.loads(found.model_dump_json())["score"] == found.score


def test_get_nodes_keeps_the_order_asked_for(shared):
    assert [n.node_id for n in shared.get_nodes(["hub", "no", "shade"])] == ["hub", "shade"]
    assert {n.node_id for n in shared.get_nodes()} == IDS
    assert shared.get_nodes([]) == []
    assert [n.node_id for n in shared.get_nodes(["hub", "shade"], only("year", 2019))] == ["shade"]


def test_add_gives_the_ids_and_leaves_nodes_alone(own, nodes):
    assert own.add(nodes) == list(TEXTS)
    assert nodes == make_nodes()


def test_the_same_id_replaces(own):
    own.add([TextNode(id_="hub", text="Nothing about clouds.")])
    assert len(own.index) == len(TEXTS)
    assert own.get_nodes(["hub"])[0].text == "Nothing about clouds."


def test_delete_forgets_a_source_document(own):
    own.delete("iot.md")
    assert {n.node_id for n in own.get_nodes()} == IDS - {"sensor", "hub"}
    own.delete("nowhere.md")


def test_delete_nodes_by_ids_and_filters(own):
    own.delete_nodes(["hub", "no"])
    own.delete_nodes(filters=only("lang", "es"))
    own.delete_nodes(["shade", "water"], only("year", 2019))
    own.delete_nodes([])
    assert {n.node_id for n in own.get_nodes()} == IDS - {"hub", "sombra", "shade"}


def test_delete_nodes_without_either_is_an_error(own):
    with pytest.raises(InputError, match=r"clear\(\) forgets everything"):
        own.delete_nodes()


def test_clear_forgets_everything(own):
    own.clear()
    assert own.get_nodes() == []


async def test_all_this_works_asynchronously(own, nodes):
    await own.adelete("iot.md")
    await own.adelete_nodes(["shade"], filters=only("lang", "en"))
    assert {n.node_id for n in await own.aget_nodes()} == IDS - {"sensor", "hub", "shade"}
    assert await own.async_add(nodes) == list(TEXTS)
    await own.aclear()
    assert await own.aget_nodes() == []


async def test_the_event_loop_goes_on_while_it_works(fresh, nodes, monkeypatch):
    store = M3VectorStore(M3Index.open(model=fresh))
    passes_need_the_loop(fresh, monkeypatch)
    await store.async_add(nodes)
    await store.aquery(ask(mode="hybrid"))
    assert fresh.passes == 2


def test_without_an_index_it_makes_one_in_memory(monkeypatch, tiny):
    monkeypatch.setattr("m3rag.model.shared.shared_model", lambda *name: tiny)
    assert len(M3VectorStore().index) == 0


def test_from_nodes(tiny, nodes, tmp_path):
    store = M3VectorStore.from_nodes(nodes, model=tiny, path=tmp_path / "kb", colbert="off")
    assert (len(store.index), store.index.manifest.colbert) == (len(TEXTS), "off")
    store.index.close()


def test_a_vector_store_index_costs_one_pass_a_text_and_one_a_query(fresh, nodes):
    store = M3VectorStore(M3Index.open(model=fresh))
    index = VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=store.embed_model,
    )
    assert fresh.encoded == len(nodes)
    for mode in MODES:
        found = index.as_retriever(vector_store_query_mode=mode).retrieve("soil moisture sensor")
        assert found[0].node_id == "sensor"
    assert fresh.encoded == len(nodes) + 1


async def test_a_vector_store_index_works_asynchronously(own):
    index = VectorStoreIndex.from_vector_store(own, embed_model=own.embed_model)
    await index.ainsert_nodes([TextNode(id_="new", text="Tulips bloom in spring.")])
    (found,) = await index.as_retriever(similarity_top_k=1).aretrieve("When do tulips bloom?")
    assert found.node_id == "new"
    assert type(found.score) is float


def test_a_document_can_be_inserted_and_deleted_through_the_index(own):
    index = VectorStoreIndex.from_vector_store(own, embed_model=own.embed_model)
    index.insert(Document(text="Tulips bloom in spring.", id_="tulips.md"))
    assert (
        index.as_retriever(similarity_top_k=1).retrieve("tulips")[0].node.ref_doc_id == "tulips.md"
    )
    index.delete_ref_doc("tulips.md")
    assert {n.node_id for n in own.get_nodes()} == IDS


def test_an_m3_embedding_will_do_as_well(fresh, nodes):
    store = M3VectorStore(M3Index.open(model=fresh))
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=M3Embedding(model=fresh))
    assert index.as_retriever().retrieve("soil moisture sensor")[0].node_id == "sensor"


def test_embeddings_of_another_model_are_refused(own):
    index = VectorStoreIndex.from_vector_store(own, embed_model=MockEmbedding(embed_dim=256))
    with pytest.raises(InputError, match="Node 'new' was embedded by another model"):
        index.insert_nodes([TextNode(id_="new", text="Tulips bloom in spring.")])
    assert {n.node_id for n in own.get_nodes()} == IDS


@pytest.mark.parametrize("question", QUESTIONS)
def test_memory_and_folder_agree(tiny, tmp_path, question):
    found = []
    for path in (None, tmp_path / "kb"):
        store = M3VectorStore.from_nodes(make_nodes(), model=tiny, path=path)
        found.append([store.query(ask(question, mode)) for mode in MODES])
        store.index.close()
    for memory, folder in pairwise(found):
        for one, other in zip(memory, folder, strict=True):
            assert one.ids == other.ids
            assert one.similarities == pytest.approx(other.similarities, abs=5e-3)
