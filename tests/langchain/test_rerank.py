"""The reranker, with and without an index."""

import copy
import json
import pickle  # noqa: TID251  # what users do
import re

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough

from m3rag import M3CrossEncoder, M3Index, M3Model, compute_score
from m3rag.errors import CheckpointError, InputError, ModelMismatchError, TruncationWarning
from m3rag.langchain import M3EnsembleRetriever, M3Reranker, scores_of
from m3rag.model.scoring_request import normalized
from tests.conftest import passes_need_the_loop
from tests.frameworks.test_reranking import REFUSED
from tests.langchain.conftest import DOCUMENTS, QUERY, ContextualCompressionRetriever, ids


def test_is_a_document_compressor(tiny):
    assert isinstance(M3Reranker(model=tiny), BaseDocumentCompressor)


def test_colbert_scores_equal_those_of_the_model(documents, tiny):
    found = M3Reranker(model=tiny).compress_documents(documents, QUERY)
    expected = compute_score(tiny, [(QUERY, d.page_content) for d in found])["colbert"]
    scores = [d.metadata["relevance_score"] for d in found]
    assert scores == pytest.approx(expected, abs=1e-6) == sorted(scores, reverse=True)
    assert scores == [d.metadata["colbert_score"] for d in found]
    assert len(found) == len(documents)
    assert found[0].id == "fern"


def test_all_scores_equal_those_of_the_model(documents, tiny):
    found = M3Reranker(model=tiny, mode="all", weights=(1, 0.3, 1)).compress_documents(
        documents, QUERY
    )
    scores = compute_score(tiny, [(QUERY, d.page_content) for d in found], weights=(1, 0.3, 1))
    for name, key in [
        ("dense", "dense_score"),
        ("sparse", "sparse_score"),
        ("colbert", "colbert_score"),
        ("colbert+sparse+dense", "relevance_score"),
    ]:
        assert [d.metadata[key] for d in found] == pytest.approx(scores[name], abs=1e-6)
    assert {type(v) for k, v in found[0].metadata.items() if k.endswith("score")} == {float}


def test_documents_are_copied(documents, tiny):
    found = M3Reranker(model=tiny).compress_documents(documents, QUERY)
    assert documents == DOCUMENTS
    assert {d.id for d in found} == {d.id for d in documents}
    json.dumps([d.metadata for d in found])


@pytest.mark.parametrize(("top_n", "expected"), [(None, 5), (2, 2), (9, 5)])
def test_top_n(documents, tiny, top_n, expected):
    assert len(M3Reranker(model=tiny, top_n=top_n).compress_documents(documents, QUERY)) == expected


def test_no_documents(tiny):
    assert M3Reranker(model=tiny).compress_documents([], QUERY) == []


def test_equal_scores_keep_their_order(tiny):
    documents = [Document("same", id=name) for name in "cab"]
    assert ids(M3Reranker(model=tiny).compress_documents(documents, "same")) == ["c", "a", "b"]


def test_an_empty_query(documents, tiny):
    assert M3Reranker(model=tiny, top_n=2).compress_documents(documents, " ") == documents[:2]


@pytest.mark.parametrize("weights", [(0, 0, 0), (1, 0, 0, 1)])
def test_invalid_weights(documents, tiny, weights):
    with pytest.raises(InputError, match="dense, sparse and colbert"):
        M3Reranker(model=tiny, mode="all", weights=weights).compress_documents(documents, QUERY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mode": "dense"},
            "M3Reranker: `mode`: input should be 'colbert', 'all' or 'cross-encoder'",
        ),
        ({"top_n": 0}, "`top_n`: input should be greater than or equal to 1, got 0"),
        ({"topn": 3}, "no argument `topn`. Did you mean `top_n`?"),
        ({"weights": (1, 0, 0)}, '`weights` need mode="all"'),
        ({"mode": "all", "weights": "nope"}, "Unknown weights 'nope'"),
        ({"index": 7}, "`index` must be an M3Index, an M3VectorStore or a retriever"),
        ({"scores": 1}, "`scores` must be True, False or the beginning"),
    ],
)
def test_invalid_settings_are_refused_at_construction(tiny, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        M3Reranker(model=tiny, **settings)


def test_settings_are_checked_when_they_are_assigned(tiny):
    reranker = M3Reranker(model=tiny, mode="all")
    for name, value in [("weights", "nope"), ("top_n", 0), ("topn", 1), ("index", 7)]:
        with pytest.raises(InputError):
            setattr(reranker, name, value)
    reranker.weights = (1, 1, 1)
    assert (reranker.weights, reranker.top_n, reranker.index) == ((1, 1, 1), None, None)


def test_a_minimum_score_and_where_scores_go(documents, tiny):
    found = M3Reranker(model=tiny).compress_documents(documents, QUERY)
    scores = [document.metadata["relevance_score"] for document in found]
    few = M3Reranker(model=tiny, min_score=scores[1]).compress_documents(documents, QUERY)
    assert few == found[:2]
    plain = M3Reranker(model=tiny, scores=False).compress_documents(documents, QUERY)
    assert sorted(ids(plain)) == sorted(ids(documents))
    assert all(document in documents for document in plain)
    (named, *_) = M3Reranker(model=tiny, scores="m3_").compress_documents(documents, QUERY)
    assert named.metadata["m3_relevance_score"] == scores[0]
    assert "relevance_score" not in named.metadata


def test_whatever_has_an_index(documents, tiny):
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny)
    assert M3Reranker(index=retriever).index is retriever.index


async def test_async_equals_sync_and_does_not_block_the_loop(documents, fresh, monkeypatch):
    reranker = M3Reranker(model=fresh)
    with monkeypatch.context() as patch:
        passes_need_the_loop(fresh, patch)
        found = await reranker.acompress_documents(documents, QUERY)
    assert found == reranker.compress_documents(documents, QUERY)


@pytest.fixture(params=["memory", "folder"])
def retriever(request, fresh, tmp_path):
    path = None if request.param == "memory" else tmp_path / "kb"
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh, path=path, k=5)
    with retriever.index:
        yield retriever


@pytest.mark.parametrize("mode", ["colbert", "all"])
def test_stored_vectors_are_used(retriever, mode):
    model = retriever.index.model
    found = retriever.invoke(QUERY)
    before = model.encoded
    stored = M3Reranker(index=retriever.index, mode=mode).compress_documents(found, QUERY)
    assert model.encoded == before
    fresh = M3Reranker(model=model, mode=mode).compress_documents(found, QUERY)
    for one, other in zip(stored, fresh, strict=True):
        assert one.id == other.id
        for key, score in one.metadata.items():
            if key.endswith("_score"):  # stored with 8 bits per dimension
                assert score == pytest.approx(other.metadata[key], abs=5e-3)


def test_retrieving_and_reranking_needs_one_pass_per_text_and_query(retriever):
    model = retriever.index.model
    reranker = M3Reranker(index=retriever.index)
    found = retriever.invoke(QUERY)
    reranker.compress_documents(found, QUERY)
    assert model.encoded == len(DOCUMENTS) + 1


def test_only_unknown_texts_are_encoded(fresh):
    index = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh).index
    changed = Document("Another text now.", id="fern")
    unknown = Document("Ferns grow in the forest.", id="unknown")
    nameless = Document("No id at all.")
    qdrants = Document(DOCUMENTS[1].page_content, metadata={"_id": "helecho"})
    given = [changed, unknown, nameless, DOCUMENTS[2], qdrants]
    before = fresh.encoded
    found = M3Reranker(index=index).compress_documents(given, QUERY)
    assert fresh.encoded - before == 4  # the query and three texts
    expected = M3Reranker(model=fresh).compress_documents(given, QUERY)
    assert [d.page_content for d in found] == [d.page_content for d in expected]
    assert [d.metadata["relevance_score"] for d in found] == pytest.approx(
        [d.metadata["relevance_score"] for d in expected]
    )


@pytest.mark.parametrize("colbert", ["on-demand", "off"])
def test_an_index_without_stored_colbert(documents, fresh, colbert):
    index = M3EnsembleRetriever.from_documents(documents, model=fresh, colbert=colbert).index
    found = M3Reranker(index=index).compress_documents(documents, QUERY)
    assert found == M3Reranker(model=fresh).compress_documents(documents, QUERY)


def test_an_index_of_another_model_is_refused(documents, tiny, monkeypatch):
    index = M3EnsembleRetriever.from_documents(documents, model=tiny).index
    with M3Model.load("tiny", dtype="float32") as other:
        monkeypatch.setattr(other, "fingerprint", "another")
        with pytest.raises(ModelMismatchError, match="The index was built by"):
            M3Reranker(model=other, index=index)


async def test_in_a_contextual_compression_retriever(retriever):
    both = ContextualCompressionRetriever(
        base_compressor=M3Reranker(index=retriever.index, top_n=2), base_retriever=retriever
    )
    found = both.invoke(QUERY)
    assert found == await both.ainvoke(QUERY)
    assert ids(found)[0] == "fern"
    assert len(found) == 2
    assert found[0].metadata["relevance_score"] == found[0].metadata["colbert_score"]
    assert "dense_score" in found[0].metadata  # from the retriever


async def test_in_a_chain_without_langchain_classic(retriever):
    reranker = M3Reranker(index=retriever.index, top_n=2)

    def rerank(found):
        return reranker.compress_documents(found["documents"], found["query"])

    chain = RunnableParallel(documents=retriever, query=RunnablePassthrough()) | RunnableLambda(
        rerank
    )
    assert ids(chain.invoke(QUERY)) == ids(await chain.ainvoke(QUERY))
    assert ids(chain.invoke(QUERY))[0] == "fern"


def test_many_documents_are_encoded_in_batches(tiny):
    documents = [Document(f"text number {i}", id=str(i)) for i in range(150)]
    found = M3Reranker(model=tiny, top_n=3).compress_documents(documents, "text number 77")
    assert "77" in ids(found)


def test_a_cross_encoder_sorts_documents(documents, cross_encoder):
    reranker = M3Reranker(mode="cross-encoder", cross_encoder=cross_encoder, top_n=3)
    found = reranker.compress_documents(documents, QUERY)
    texts = [document.page_content for document in documents]
    expected = cross_encoder.score(QUERY, texts, normalize=True)
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == pytest.approx(sorted(expected, reverse=True)[:3])
    assert scores == [document.metadata["cross_encoder_score"] for document in found]
    assert scores == [scores_of(document)["cross_encoder"] for document in found]
    assert not any("colbert_score" in document.metadata for document in found)
    assert documents == DOCUMENTS
    for again in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):
        assert again.cross_encoder is cross_encoder
        assert again.compress_documents(documents, QUERY) == found


def test_a_cross_encoder_by_its_folder_and_its_limit(documents, cross_folder, cross_encoder):
    reranker = M3Reranker(mode="cross-encoder", cross_encoder=cross_folder, max_length=17)
    with pytest.warns(TruncationWarning):
        found = reranker.compress_documents(documents, QUERY)
    with pytest.warns(TruncationWarning):
        expected = cross_encoder.score(QUERY, [found[0].page_content], max_length=17)
    assert found[0].metadata["relevance_score"] == pytest.approx(normalized(expected)[0], abs=0.02)


async def test_cross_encoding_does_not_block_the_loop(documents, cross_folder, monkeypatch):
    with M3CrossEncoder.load(cross_folder, dtype="float32") as cross:
        reranker = M3Reranker(mode="cross-encoder", cross_encoder=cross)
        with monkeypatch.context() as patch:
            passes_need_the_loop(cross, patch)
            assert len(await reranker.acompress_documents(documents, QUERY)) == len(documents)


@pytest.mark.parametrize(
    ("settings", "message"),
    [*REFUSED, ({"mode": "cross-encoder", "max_length": 9}, "this model takes 17 to")],
)
def test_what_does_not_fit_a_cross_encoder_is_refused(settings, message, cross_encoder):
    if settings.get("mode") == "cross-encoder":
        settings = {"cross_encoder": cross_encoder, **settings}
    with pytest.raises(InputError, match=re.escape(message)):
        M3Reranker(**settings)


def test_the_tiny_model_is_no_cross_encoder():
    with pytest.raises(CheckpointError, match=r"is an M3 model.* Load it with M3Model\.load"):
        M3Reranker(mode="cross-encoder", cross_encoder="tiny")


def test_repr_does_not_contain_the_model(tiny):
    with M3Index.open(model=tiny) as index:
        assert "M3Model" not in repr(M3Reranker(index=index))
