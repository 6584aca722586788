"""Where scores go, and that they do not make two results of one document."""

import copy
import json
import pickle  # noqa: TID251  # users' processes do

import pytest
from langchain_classic.retrievers import EnsembleRetriever  # noqa: TID251  # users combine them
from langchain_classic.retrievers.multi_query import MultiQueryRetriever  # noqa: TID251
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps

from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever, M3VectorStore, scores_of
from tests.langchain.conftest import DOCUMENTS, QUERY, ids

KEYS = ["relevance_score", "dense_score", "sparse_score", "colbert_score"]


def rewrites():
    return FakeListChatModel(responses=["when is it watered\nwhat waters plants\nwatering time"])


@pytest.mark.parametrize("scores", [True, False, "m3_"])
async def test_a_document_found_by_several_queries_comes_once(shared_index, scores):
    retriever = M3EnsembleRetriever(shared_index, k=3, scores=scores)
    several = MultiQueryRetriever.from_llm(retriever=retriever, llm=rewrites())
    found = several.invoke("When are the plants watered?")
    assert len(found) == len(set(ids(found)))
    several = MultiQueryRetriever.from_llm(retriever=retriever, llm=rewrites())
    assert ids(await several.ainvoke("When are the plants watered?")) == ids(found)


def test_classic_ensembles_merge_results(shared_index):
    both = EnsembleRetriever(
        retrievers=[M3EnsembleRetriever(shared_index), M3SparseRetriever(shared_index)],
        weights=[0.5, 0.5],
    )
    found = both.invoke(QUERY)
    assert len(found) == len(set(ids(found)))


def test_no_scores(shared_index):
    found = M3EnsembleRetriever(shared_index, scores=False).invoke(QUERY)
    assert all(document in DOCUMENTS for document in found)
    assert M3EnsembleRetriever(shared_index).invoke(QUERY, scores=False) == found


def test_a_prefix(shared_index):
    scored, prefixed = (
        M3EnsembleRetriever(shared_index, k=1, scores=scores).invoke(QUERY)[0].metadata
        for scores in (True, "m3_")
    )
    assert {f"m3_{key}": scored[key] for key in KEYS}.items() <= prefixed.items()
    assert not set(KEYS) & prefixed.keys()


def test_scores_by_channel(shared_index):
    for scores, prefix in [(True, ""), ("m3_", "m3_")]:
        (found,) = M3EnsembleRetriever(shared_index, k=1, scores=scores).invoke(QUERY)
        (hit,) = shared_index.search(QUERY, 1)
        channels = {"dense": hit.dense, "sparse": hit.sparse, "colbert": hit.colbert}
        assert scores_of(found, prefix) == channels
    assert scores_of(DOCUMENTS[0]) == {}


def test_results_are_equal_whatever_their_scores(shared_index):
    retriever = M3EnsembleRetriever(shared_index, k=5)
    first, second = (
        sorted(retriever.invoke(query), key=lambda d: str(d.id)) for query in (QUERY, "a pump")
    )
    assert first == second
    assert first[0].metadata == second[0].metadata
    assert first[0].metadata["relevance_score"] != second[0].metadata["relevance_score"]
    assert first[0] != first[1]


def test_the_scores_of_a_result_count_otherwise(shared_index):
    (found,) = M3EnsembleRetriever(shared_index, k=1).invoke(QUERY)
    plain = dict(found.metadata)
    assert found.metadata == plain
    assert found.metadata != {**plain, "dense_score": 0.123}
    assert found != next(d for d in DOCUMENTS if d.id == found.id)


def test_scores_survive_copies_and_other_processes(shared_index):
    (found,) = M3EnsembleRetriever(shared_index, k=1).invoke(QUERY)
    for again in (
        copy.deepcopy(found),
        pickle.loads(pickle.dumps(found)),
        found.model_copy(deep=True),
        Document(**found.model_dump()),
        Document.model_validate_json(found.model_dump_json()),
        Document(**json.loads(dumps(found))["kwargs"]),
    ):
        assert dict(again.metadata) == dict(found.metadata)
    assert json.loads(json.dumps(found.metadata)) == dict(found.metadata)


def test_added_results_keep_no_scores(shared_index, empty):
    found = M3EnsembleRetriever(shared_index).invoke(QUERY)
    store = M3VectorStore(empty)
    store.add_documents(found)
    assert all(document in DOCUMENTS for document in store.documents())
