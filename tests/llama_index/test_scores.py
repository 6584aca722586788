"""Scores in the metadata, on request: they survive what drops the scores of a node."""

import json

import pytest
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.schema import MetadataMode, NodeWithScore
from pydantic import TypeAdapter

from m3rag.errors import InputError
from m3rag.llama_index import M3EnsembleRetriever, M3NodeParser, M3Reranker, scores_of
from tests.llama_index.conftest import make_nodes

KEYS = ["relevance_score", "dense_score", "sparse_score", "colbert_score"]


@pytest.fixture(scope="module")
def plain(tiny):
    return M3EnsembleRetriever.from_nodes(make_nodes(), model=tiny)


@pytest.fixture
def retriever(plain):
    return M3EnsembleRetriever(plain, scores_in_metadata="m3_")


def scores_in(metadata):
    return {key for key in metadata if key.startswith("m3_")}


def test_they_are_not_there_unless_requested(plain):
    assert not any(key.endswith("score") for key in plain.retrieve("soil")[0].metadata)


@pytest.mark.parametrize(("option", "prefix"), [(True, ""), ("m3_", "m3_")])
def test_the_scores_of_all_channels(plain, option, prefix):
    retriever = M3EnsembleRetriever(plain, scores_in_metadata=option)
    for found, without in zip(retriever.retrieve("soil"), plain.retrieve("soil"), strict=True):
        assert found.scores == without.scores == scores_of(found)
        assert [found.metadata[prefix + key] for key in KEYS] == [
            found.score,
            *found.scores.values(),
        ]
        for mode in (MetadataMode.EMBED, MetadataMode.LLM):
            assert found.node.get_content(mode) == without.node.get_content(mode)


def test_they_survive_a_dump_of_plain_nodes(retriever):
    found = retriever.retrieve("soil")
    (first, *_) = TypeAdapter(list[NodeWithScore]).dump_python(found)
    assert "scores" not in first
    assert len(scores_in(first["node"]["metadata"])) == 4
    event = RetrievalEndEvent(str_or_query_bundle="soil", nodes=found)
    assert len(scores_in(json.loads(event.model_dump_json())["nodes"][0]["node"]["metadata"])) == 4


def test_they_survive_a_citation_query_engine(retriever, tiny):
    engine = CitationQueryEngine.from_args(
        None, llm=MockLLM(), retriever=retriever, text_splitter=M3NodeParser(model=tiny)
    )
    for found in engine.query("soil").source_nodes:
        assert len(scores_in(found.metadata)) == 4


def test_the_reranker_adds_its_own(retriever, tiny):
    reranker = M3Reranker(model=tiny, scores_in_metadata="m3_", top_n=2)
    best = reranker.postprocess_nodes(retriever.retrieve("soil"), query_str="soil")
    assert best[0].metadata["m3_relevance_score"] == best[0].score
    assert best[0].metadata["m3_colbert_score"] == best[0].scores["colbert"]


def test_a_plain_node_has_no_scores(nodes):
    assert scores_of(NodeWithScore(node=nodes[0], score=1.0)) == {}


@pytest.mark.parametrize("wrong", [3, None, ["m3"]])
def test_an_option_of_another_kind(plain, tiny, wrong):
    with pytest.raises(InputError, match="`scores_in_metadata`"):
        M3EnsembleRetriever(plain, scores_in_metadata=wrong)
    with pytest.raises(InputError, match="`scores_in_metadata`"):
        M3Reranker(model=tiny, scores_in_metadata=wrong)
