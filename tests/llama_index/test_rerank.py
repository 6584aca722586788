"""The reranker, with and without an index."""

import json
import pickle  # noqa: TID251  # what users do
import re

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from m3rag import M3Index, M3Model, compute_score
from m3rag.errors import InputError
from m3rag.llama_index import M3EnsembleRetriever, M3Reranker, M3VectorStore
from tests.conftest import passes_need_the_loop
from tests.frameworks.test_reranking import REFUSED
from tests.llama_index.conftest import TEXTS, make_nodes

QUERY = "How do I measure soil moisture?"


@pytest.fixture
def found(nodes):
    return [NodeWithScore(node=node, score=0.1 * i) for i, node in enumerate(nodes)]


@pytest.fixture(params=["memory", "folder"])
def index(request, tmp_path, fresh):
    path = None if request.param == "memory" else tmp_path / "kb"
    with M3Index.open(path, model=fresh) as index:
        M3VectorStore(index).add(make_nodes())
        yield index


def scores_of(mode, tiny):
    pairs = [(QUERY, text) for text, *_ in TEXTS.values()]
    column = compute_score(tiny, pairs, weights=tuple(tiny.presets["default"].values()))[mode]
    return dict(zip(TEXTS, column, strict=True))


def test_it_is_a_postprocessor():
    assert issubclass(M3Reranker, BaseNodePostprocessor)
    assert M3Reranker.class_name() == "M3Reranker"


@pytest.mark.parametrize(
    ("mode", "column"), [("colbert", "colbert"), ("all", "colbert+sparse+dense")]
)
def test_order_and_scores_equal_those_of_the_model(tiny, found, mode, column):
    expected = scores_of(column, tiny)
    best = M3Reranker(model=tiny, mode=mode, top_n=8).postprocess_nodes(found, query_str=QUERY)
    assert [one.node_id for one in best] == sorted(expected, key=expected.get, reverse=True)
    for one in best:
        assert one.score == pytest.approx(expected[one.node_id], abs=1e-5)
        assert type(one.score) is float


def test_each_node_has_the_scores_of_its_channels(tiny, found):
    reranker = M3Reranker(model=tiny, mode="all", weights={"dense": 1, "colbert": 1})
    for one in reranker.postprocess_nodes(found, query_str=QUERY):
        assert set(one.scores) == {"dense", "colbert"}
        assert one.score == pytest.approx(sum(one.scores.values()) / 2, abs=1e-6)


def test_earlier_scores_are_kept(tiny, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=tiny, weights={"dense": 1})
    (best,) = M3Reranker(model=tiny, top_n=1).postprocess_nodes(
        retriever.retrieve(QUERY), query_str=QUERY
    )
    assert set(best.scores) == {"dense", "colbert"}


@pytest.mark.parametrize("n", [1, 3, 100])
def test_top_n(tiny, found, n):
    best = M3Reranker(model=tiny, top_n=n).postprocess_nodes(found, query_str=QUERY)
    assert len(best) == min(n, len(found))


def test_inputs_are_not_changed(tiny, found):
    M3Reranker(model=tiny).postprocess_nodes(found, query_str=QUERY)
    assert [one.node for one in found] == make_nodes()
    assert [one.score for one in found] == [0.1 * i for i in range(len(found))]


def test_equal_scores_keep_their_order(tiny):
    twins = [NodeWithScore(node=TextNode(id_=i, text="Ferns")) for i in ("b", "a", "c")]
    best = M3Reranker(model=tiny).postprocess_nodes(twins, query_str="Ferns")
    assert [one.node_id for one in best] == ["b", "a", "c"]


async def test_async_equals_sync(tiny, found):
    reranker = M3Reranker(model=tiny)
    assert await reranker.apostprocess_nodes(found, query_str=QUERY) == reranker.postprocess_nodes(
        found, query_str=QUERY
    )


async def test_reranking_does_not_block_the_event_loop(fresh, found, monkeypatch):
    passes_need_the_loop(fresh, monkeypatch)
    assert await M3Reranker(model=fresh).apostprocess_nodes(found, query_str=QUERY)
    assert fresh.passes


def test_stored_vectors_are_used(index, fresh, found):
    before = fresh.encoded
    best = M3Reranker(index=index).postprocess_nodes(found, query_str=QUERY)
    assert fresh.encoded == before + 1  # the query
    expected = scores_of("colbert", fresh)
    for one in best:
        assert one.score == pytest.approx(expected[one.node_id], abs=5e-3)


def test_only_unknown_texts_are_encoded(index, fresh, found):
    found[0] = NodeWithScore(node=TextNode(id_="new", text="A node from elsewhere."))
    before = fresh.encoded
    best = M3Reranker(index=index, top_n=8).postprocess_nodes(found, query_str=QUERY)
    assert fresh.encoded == before + 2
    assert {one.node_id for one in best} == {one.node_id for one in found}


def test_a_changed_text_is_encoded_again(index, fresh, found):
    found[0].node.text = "How do I measure soil moisture?"
    before = fresh.encoded
    best = M3Reranker(index=index).postprocess_nodes(found, query_str=QUERY)
    assert fresh.encoded == before + 1  # it equals the query
    assert best[0].node_id == found[0].node_id
    assert best[0].score == pytest.approx(1, abs=1e-4)


def test_the_default_model_is_that_of_the_index(index, fresh):
    assert M3Reranker(index=index).model is fresh


def test_retrieving_and_reranking_needs_one_pass_per_query(fresh, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=fresh)
    reranker = M3Reranker(index=retriever.index)
    reranker.postprocess_nodes(retriever.retrieve(QUERY), query_str=QUERY)
    assert fresh.encoded == len(nodes) + 1


def test_reranking_without_the_index_needs_no_second_pass(fresh, nodes):
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=fresh)
    M3Reranker(model=fresh).postprocess_nodes(retriever.retrieve(QUERY), query_str=QUERY)
    assert fresh.encoded == len(nodes) + 1  # the memo


def test_reranking_sends_events(tiny, found, listener):
    best = M3Reranker(model=tiny, top_n=2).postprocess_nodes(found, query_str=QUERY)
    (start,), (end,) = listener.of(ReRankStartEvent), listener.of(ReRankEndEvent)
    assert (start.top_n, start.model_name) == (2, "tiny")
    assert start.query.query_str == QUERY
    assert len(start.nodes) == len(found)
    assert [one.node_id for one in end.nodes] == [one.node_id for one in best]


def test_reranking_calls_callbacks(tiny, found):
    handler = LlamaDebugHandler(print_trace_on_end=False)
    reranker = M3Reranker(model=tiny, callback_manager=CallbackManager([handler]))
    reranker.postprocess_nodes(found, query_str=QUERY)
    assert len(handler.get_event_pairs(CBEventType.RERANKING)) == 1


def test_no_nodes(tiny):
    assert M3Reranker(model=tiny).postprocess_nodes([], query_str=QUERY) == []


def test_a_query_is_required(tiny, found):
    with pytest.raises(InputError, match="needs a query"):
        M3Reranker(model=tiny).postprocess_nodes(found)


def test_bm25_is_not_supported(tiny):
    with pytest.raises(InputError, match="dense, sparse and colbert"):
        M3Reranker(model=tiny, mode="all", weights={"bm25": 1})


def test_an_index_of_another_model_is_an_error(tiny, tiny_folder, found, monkeypatch):
    with M3Model.load(tiny_folder, dtype="float32") as other:
        monkeypatch.setattr(other, "fingerprint", "0123")
        reranker = M3Reranker(model=other, index=M3Index.open(model=tiny))
        with pytest.raises(RuntimeError, match="0123"):
            reranker.postprocess_nodes(found, query_str=QUERY)


def test_results_can_be_saved_as_json(tiny, found):
    for one in M3Reranker(model=tiny).postprocess_nodes(found, QueryBundle(QUERY)):
        assert json.loads(one.model_dump_json())["scores"] == one.scores


def test_fields_restore_the_component(tiny):
    reranker = M3Reranker(model=tiny, top_n=3, mode="all", weights=[1.0, 0.5, 0.2])
    assert M3Reranker.from_dict(reranker.to_dict()).to_dict() == reranker.to_dict()


def test_a_cross_encoder_sorts_nodes(found, cross_encoder):
    reranker = M3Reranker(mode="cross-encoder", cross_encoder=cross_encoder, top_n=3)
    best = reranker.postprocess_nodes(found, query_str=QUERY)
    expected = cross_encoder.score(QUERY, [node.text for node in found], normalize=True)
    assert [one.score for one in best] == pytest.approx(sorted(expected, reverse=True)[:3])
    assert all(one.scores == {"cross_encoder": one.score} for one in best)
    assert reranker.model_name == cross_encoder.name
    for again in (
        pickle.loads(pickle.dumps(reranker)),
        M3Reranker.from_dict(reranker.to_dict()),
    ):
        assert again.cross_encoder is cross_encoder, "the shared one"
        assert again.postprocess_nodes(found, query_str=QUERY) == best


def test_cross_encoder_scores_in_metadata(found, cross_encoder):
    (best,) = M3Reranker(
        mode="cross-encoder", cross_encoder=cross_encoder, top_n=1, scores_in_metadata=True
    ).postprocess_nodes(found, query_str=QUERY)
    assert best.metadata["cross_encoder_score"] == best.metadata["relevance_score"] == best.score


def test_a_cross_encoder_is_loaded_on_first_use():
    reranker = M3Reranker(mode="cross-encoder")
    assert reranker.model_name == "BAAI/bge-reranker-v2-m3"
    by_name = M3Reranker(mode="cross-encoder", cross_encoder="no/such", max_length=64)
    assert (by_name.model_name, by_name.max_length) == ("no/such", 64)


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_does_not_fit_a_cross_encoder_is_refused(settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        M3Reranker(**{"model_name": "tiny", **settings})
