"""The two retrievers: nodes, scores, settings and passes."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.schema import Document, IndexNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.llama_index import (
    M3EnsembleRetriever,
    M3NodeParser,
    M3NodeWithScore,
    M3SparseRetriever,
)
from tests.conftest import passes_need_the_loop
from tests.llama_index.conftest import QUERIES, ids, make_nodes

BOTH = [M3EnsembleRetriever, M3SparseRetriever]
ENGLISH = MetadataFilters(filters=[MetadataFilter(key="lang", value="en")])


@pytest.mark.parametrize("kind", BOTH)
def test_it_is_a_retriever(kind):
    assert issubclass(kind, BaseRetriever)


@pytest.mark.parametrize("query", QUERIES)
def test_nodes_and_scores_equal_the_hits_of_the_index(ensemble, query):
    hits = ensemble.index.search(query, 4)
    found = ensemble.retrieve(query)
    assert ids(found) == [hit.passage.id for hit in hits]
    assert [one.score for one in found] == [hit.score for hit in hits]


@pytest.mark.parametrize("kind", BOTH)
async def test_async_equals_sync(tiny, nodes, kind):
    retriever = kind.from_nodes(nodes, model=tiny)
    for query in QUERIES:
        assert await retriever.aretrieve(query) == retriever.retrieve(query)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("k", [1, 3])
async def test_similarity_top_k(tiny, nodes, kind, k):
    retriever = kind.from_nodes(nodes, model=tiny, similarity_top_k=k)
    assert len(retriever.retrieve("the soil and the plants")) == k
    assert len(await retriever.aretrieve("the soil and the plants")) == k


def test_each_node_has_all_scores_as_floats(ensemble):
    for found in ensemble.retrieve("soil moisture sensor"):
        assert isinstance(found, M3NodeWithScore)
        assert list(found.scores) == ["dense", "sparse", "colbert"]
        assert {type(score) for score in (found.score, *found.scores.values())} == {float}


def test_the_fused_score_is_the_weighted_mean_of_the_others(tiny, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=tiny, weights=(0.5, 2.0, 1.5))
    for found in retriever.retrieve("soil moisture sensor"):
        dense, sparse, colbert = found.scores.values()
        expected = (0.5 * dense + 2.0 * sparse + 1.5 * colbert) / 4.0
        assert found.score == pytest.approx(expected, abs=1e-6)


def test_rrf_uses_the_weights(tiny, nodes):
    """LlamaIndex's own fusion ignores the weights."""

    def order(weights, fusion="rrf"):
        retriever = M3EnsembleRetriever.from_nodes(
            nodes, model=tiny, weights=weights, fusion=fusion, similarity_top_k=8
        )
        return ids(retriever.retrieve("Who likes shade?"))

    by_dense, by_colbert = (order({channel: 1}, "weighted") for channel in ("dense", "colbert"))
    assert by_dense != by_colbert
    assert order({"dense": 1000, "colbert": 0.001}) == by_dense
    assert order({"dense": 0.001, "colbert": 1000}) == by_colbert


def test_rrf_scores_follow_the_formula(tiny, nodes):
    retriever = M3EnsembleRetriever.from_nodes(
        nodes, model=tiny, weights={"dense": 2, "colbert": 1}, fusion="rrf", similarity_top_k=8
    )
    found = retriever.retrieve("shade")
    for one in found:
        ranks = {
            channel: 1 + sum(other.scores[channel] > one.scores[channel] for other in found)
            for channel in ("dense", "colbert")
        }
        expected = 2 / (60 + ranks["dense"]) + 1 / (60 + ranks["colbert"])
        assert one.score == pytest.approx(expected, rel=1e-5)


def test_a_preset_of_weights(tiny, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=tiny, weights="cross-lingual")
    assert "sombra" in ids(retriever.retrieve("Los helechos y la sombra"))


def test_bm25_as_a_channel(tiny, nodes):
    retriever = M3EnsembleRetriever.from_nodes(
        nodes, model=tiny, channels=["dense", "bm25"], weights={"dense": 1}
    )
    assert list(retriever.retrieve("soil")[0].scores) == ["dense", "bm25"]


@pytest.mark.parametrize("kind", BOTH)
def test_filters(tiny, nodes, kind):
    retriever = kind.from_nodes(nodes, model=tiny, filters=ENGLISH, similarity_top_k=8)
    assert {found.metadata["lang"] for found in retriever.retrieve("soil Sensor")} == {"en"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 2}, "candidates=2 cannot give k=4"),
        ({"balance": "lang", "fusion": "rrf"}, "uses ranks only"),
        ({"similarity_top_k": 0}, "`k` must be an integer"),
        ({"weights": "best"}, "Unknown weights 'best'"),
        ({"fusion": "sum"}, "got 'sum'"),
    ],
)
def test_invalid_settings_are_refused_before_encoding(fresh, nodes, settings, message):
    with pytest.raises(InputError, match=message):
        M3EnsembleRetriever.from_nodes(nodes, model=fresh, **settings)
    assert fresh.encoded == 0


def test_nodes_are_returned_as_they_were_added(ensemble):
    originals = {node.node_id: node for node in make_nodes()}
    for found in ensemble.retrieve("soil moisture sensor"):
        assert found.node == originals[found.node_id]
        assert found.node.hash == originals[found.node_id].hash


@pytest.mark.parametrize("kind", BOTH)
def test_added_nodes_are_not_changed(tiny, nodes, kind):
    kind.from_nodes(nodes, model=tiny).retrieve("soil")
    assert nodes == make_nodes()


async def test_equal_texts_with_different_ids_are_two_nodes(tiny):
    """LlamaIndex's own fusion merges nodes by their hash, LangChain's by their text."""
    twins = [TextNode(id_=i, text="Ferns like shade.") for i in ("a", "b")]
    retriever = M3EnsembleRetriever.from_nodes(twins, model=tiny)
    found = retriever.retrieve("Who likes shade?")
    assert ids(found) == ids(await retriever.aretrieve("Who likes shade?")) == ["a", "b"]
    assert found[0].score == found[1].score


def test_scores_below_zero_keep_their_order(tiny, nodes):
    retriever = M3EnsembleRetriever.from_nodes(
        nodes, model=tiny, weights={"dense": 1}, similarity_top_k=8
    )
    scores = [found.get_score() for found in retriever.retrieve("Hub")]
    assert min(scores) < 0
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", BOTH)
def test_results_can_be_saved_as_json(tiny, nodes, kind):
    for found in kind.from_nodes(nodes, model=tiny).retrieve("soil moisture sensor"):
        saved = json.loads(found.model_dump_json())
        assert saved["score"] == found.score
        assert saved["scores"] == found.scores


def test_one_pass_per_text_and_query(fresh, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=fresh)
    assert fresh.encoded == len(nodes)
    retriever.retrieve("soil moisture sensor")
    assert fresh.encoded == len(nodes) + 1


async def test_concurrent_queries_share_passes(fresh, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=fresh)
    before = fresh.passes
    await asyncio.gather(*(retriever.aretrieve(f"query {i}") for i in range(20)))
    assert fresh.passes - before < 20


@pytest.mark.parametrize("kind", BOTH)
async def test_retrieving_does_not_block_the_event_loop(fresh, nodes, kind, monkeypatch):
    retriever = kind.from_nodes(nodes, model=fresh)
    before = fresh.passes
    passes_need_the_loop(fresh, monkeypatch)
    assert all(await asyncio.gather(*(retriever.aretrieve(query) for query in QUERIES)))
    assert fresh.passes > before


def test_threads_get_the_same_nodes(ensemble):
    expected = [ensemble.retrieve(query) for query in QUERIES * 5]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ensemble.retrieve, QUERIES * 5)) == expected


def test_retrieving_sends_events(ensemble, listener):
    found = ensemble.retrieve("soil")
    (event,) = listener.of(RetrievalEndEvent)
    assert ids(event.nodes) == ids(found)
    assert event.nodes[0].scores == found[0].scores


def test_a_query_bundle(ensemble):
    assert ensemble.retrieve(QueryBundle("soil")) == ensemble.retrieve("soil")


def test_an_index_node_leads_to_its_object(tiny):
    node = IndexNode(id_="i", text="Everything about soil.", index_id="other")
    inner = TextNode(id_="inner", text="the object")
    retriever = M3EnsembleRetriever.from_nodes([node], model=tiny, object_map={"other": inner})
    assert ids(retriever.retrieve("soil")) == ["inner"]


def test_an_existing_index(tiny):
    index = M3Index.open(model=tiny)
    index.add(["Ferns like shade.", "A cactus needs sun."])
    (found,) = M3EnsembleRetriever(index, similarity_top_k=1).retrieve("Who likes shade?")
    assert found.text == "Ferns like shade."


def test_an_index_in_a_folder_persists(tiny, nodes, tmp_path):
    first = M3EnsembleRetriever.from_nodes(nodes, model=tiny, path=tmp_path / "kb")
    expected = first.retrieve("soil moisture sensor")
    first.index.close()
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        found = M3EnsembleRetriever(index).retrieve("soil moisture sensor")
    assert ids(found) == ids(expected)
    assert [one.node for one in found] == [one.node for one in expected]


def test_from_documents_splits_them(tiny):
    text = "# Ferns\n\nThey like shade.\n\n# Cacti\n\n" + "They need sun and little water. " * 12
    document = Document(text=text, id_="plants.md")
    retriever = M3EnsembleRetriever.from_documents(
        [document],
        model=tiny,
        node_parser=M3NodeParser(model=tiny, max_tokens=64, overlap=0),
        similarity_top_k=1,
    )
    (found,) = retriever.retrieve("sun and water")
    assert found.node.ref_doc_id == "plants.md"
    assert found.metadata["headings"] == ["Cacti"]
    assert text[found.node.start_char_idx : found.node.end_char_idx] == found.text


def test_the_default_is_the_shared_model(monkeypatch, tiny, nodes):
    monkeypatch.setattr("m3rag.model.shared.shared_model", lambda *name: tiny)
    assert M3EnsembleRetriever.from_nodes(nodes).index.model is tiny


def test_sparse_finds_only_nodes_that_share_a_token(tiny, nodes):
    retriever = M3SparseRetriever.from_nodes(nodes, model=tiny, similarity_top_k=8)
    found = retriever.retrieve("moisture")
    assert ids(found)[0] == "sensor"
    assert len(found) < len(nodes)
    assert all(one.scores == {"sparse": one.score} and one.score > 0 for one in found)


def test_sparse_stores_no_colbert_vectors(tiny, nodes):
    assert M3SparseRetriever.from_nodes(nodes, model=tiny).index.manifest.colbert == "off"


async def test_an_empty_query_finds_nothing(ensemble):
    """Agents send it."""
    assert ensemble.retrieve(" ") == await ensemble.aretrieve("") == []
