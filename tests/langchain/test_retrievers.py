"""The two retrievers: documents, scores, ids and settings."""

import re

import pytest
from langchain_core.documents import Document

from m3rag import M3Index, Passage
from m3rag.errors import ArgumentError, InputError
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever
from tests.langchain.conftest import DOCUMENTS, QUERY, ids


def test_documents_have_all_scores(ensemble, shared_index):
    hits = shared_index.search(QUERY, 3)
    for document, hit in zip(ensemble.invoke(QUERY), hits, strict=True):
        original = next(d for d in DOCUMENTS if d.id == hit.passage.id)
        assert document.id == hit.passage.id
        assert document.page_content == original.page_content
        assert document.metadata == {
            **original.metadata,
            "relevance_score": hit.score,
            "dense_score": hit.dense,
            "sparse_score": hit.sparse,
            "colbert_score": hit.colbert,
        }
        assert {type(v) for k, v in document.metadata.items() if k.endswith("score")} == {float}


def test_the_sparse_retriever_scores_by_common_tokens(shared_index):
    (best, *_) = found = M3SparseRetriever(index=shared_index).invoke("ferns in the shade")
    assert best.id == "fern"
    assert best.metadata["relevance_score"] == best.metadata["sparse_score"] > 0
    assert "dense_score" not in best.metadata
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == sorted(scores, reverse=True)


def test_sparse_finds_nothing_without_a_common_token(shared_index):
    assert M3SparseRetriever(index=shared_index).invoke("ζζζ") == []


def test_added_documents_are_not_changed(documents, fresh):
    M3EnsembleRetriever.from_documents(documents, model=fresh).invoke(QUERY)
    assert documents == DOCUMENTS


def test_returned_documents_are_copies(ensemble):
    first = ensemble.invoke("When does the pump run?", k=1)[0]
    first.metadata["nested"]["a"].append("changed")
    again = ensemble.invoke("When does the pump run?", k=1)[0]
    assert again.metadata["nested"] == {"a": [1, {"b": None}], "c": 0.5, "d": True}


def test_changes_after_adding_do_not_reach_the_index(documents, tiny):
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny, k=1)
    documents[4].metadata["nested"]["a"].clear()
    found = retriever.invoke("The pump waters the plants")[0]
    assert found.metadata["nested"]["a"] == [1, {"b": None}]


def test_equal_texts_with_different_ids_are_two_documents(tiny):
    documents = [Document("the same", id=name, metadata={"n": name}) for name in ("a", "b")]
    found = M3EnsembleRetriever.from_documents(documents, model=tiny).invoke("the same")
    assert [(document.id, document.metadata["n"]) for document in found] == [("a", "a"), ("b", "b")]
    assert found[0].metadata["relevance_score"] == found[1].metadata["relevance_score"]


def test_documents_without_id_get_one_from_their_content(tiny):
    documents = [Document("x", metadata={"n": 1}), Document("x", metadata={"n": 2}), Document("x")]
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny)
    retriever.index.add([])
    again = M3EnsembleRetriever.from_documents(documents, model=tiny)
    assert len(retriever.index) == 3
    assert set(ids(retriever.invoke("x"))) == set(ids(again.invoke("x")))


def test_from_texts(tiny):
    retriever = M3SparseRetriever.from_texts(
        ["a fern", "a pump"], [{"n": 1}, {"n": 2}], ids=["f", "p"], model=tiny, k=1
    )
    found = retriever.invoke("pump")[0]
    assert (found.id, found.metadata["n"]) == ("p", 2)
    assert retriever.index.manifest.colbert == "off"


def test_from_texts_needs_one_id_per_text(tiny):
    with pytest.raises(InputError, match="2 texts and 1 ids"):
        M3EnsembleRetriever.from_texts(["a", "b"], ids=["1"], model=tiny)


def test_a_model_by_name_is_shared():
    first = M3EnsembleRetriever.from_texts(["a"], model="tiny")
    second = M3SparseRetriever.from_texts(["a"], model="tiny")
    assert first.index.model is second.index.model


def test_an_index_that_was_built_elsewhere(tiny, tmp_path):
    passage = Passage("a#0", "Ferns like shade.", {"k": 1}, "a.md", 10, 27, ("Plants", "Ferns"))
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add([passage])
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        found = M3EnsembleRetriever(index=index).invoke("ferns")[0]
    assert found.metadata["document_id"] == "a.md"
    assert (found.metadata["start"], found.metadata["end"]) == (10, 27)
    assert found.metadata["headings"] == ["Plants", "Ferns"]
    assert found.metadata["k"] == 1


def test_a_citation_in_metadata_becomes_fields_of_the_passage(tiny):
    metadata = {"document_id": "a.md", "start": 3, "end": 9, "headings": ["Plants"]}
    documents = [Document("a fern", id="a.md#0", metadata=metadata), Document("a fern", id="b")]
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny)
    assert retriever.index.get(["a.md#0"]) == [
        Passage("a.md#0", "a fern", {}, "a.md", 3, 9, ("Plants",))
    ]
    found = retriever.invoke("fern", filter={"document_id": "a.md"})
    assert ids(found) == ["a.md#0"]
    assert found[0].metadata.items() >= metadata.items()


@pytest.mark.parametrize(
    "metadata",
    [
        {"document_id": 7, "start": "3", "end": None, "headings": "Plants"},
        {"headings": [], "document_id": True, "start": 1.0},
        {"headings": [1, "a"]},
    ],
)
def test_metadata_that_only_look_like_a_citation_are_kept(tiny, metadata):
    documents = [Document("a fern", id="a", metadata=metadata)]
    found = M3EnsembleRetriever.from_documents(documents, model=tiny).invoke("fern")[0]
    rest = {k: v for k, v in found.metadata.items() if not k.endswith("_score")}
    assert rest == metadata


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {1, 2}}, float("nan")])
def test_metadata_that_is_not_json_is_refused(tiny, value):
    with pytest.raises(InputError, match="metadata must be JSON"):
        M3EnsembleRetriever.from_documents([Document("x", metadata={"v": value})], model=tiny)


def test_a_filter(shared_index):
    retriever = M3EnsembleRetriever(index=shared_index, filter={"lang": ["es", "zh"]})
    assert set(ids(retriever.invoke(QUERY))) == {"helecho", "植物"}
    assert ids(retriever.invoke(QUERY, filter={"year": {"gte": 2000}})) == ["fern"]


def test_settings_reach_the_index(shared_index):
    retriever = M3EnsembleRetriever(
        index=shared_index, k=2, weights=(1, 5, 0), fusion="rrf", channels=["dense", "sparse"],
        candidates=4,
    )  # fmt: skip
    hits = shared_index.search(
        QUERY, 2, weights=(1, 5, 0), fusion="rrf", channels=["dense", "sparse"], candidates=4
    )
    found = retriever.invoke(QUERY)
    assert [d.metadata["relevance_score"] for d in found] == [hit.score for hit in hits]
    assert "colbert_score" not in found[0].metadata


def test_rrf_uses_the_weights(shared_index):
    """LlamaIndex's own fusion ignores the weights."""
    scores = [
        M3EnsembleRetriever(index=shared_index, fusion="rrf", weights=weights)
        .invoke(QUERY)[0]
        .metadata["relevance_score"]
        for weights in [(1, 1, 1), (4, 1, 1)]
    ]
    assert scores == pytest.approx([3 / 61, 6 / 61])


def test_a_channel_with_equal_scores(tiny):
    """Fusions that normalize scores divide by zero here."""
    retriever = M3EnsembleRetriever.from_texts(["same", "same"], ids=["a", "b"], model=tiny)
    assert ids(retriever.invoke("other words")) == ["a", "b"]


def test_negative_scores_keep_their_order(tiny, monkeypatch):
    texts = [document.page_content for document in DOCUMENTS]
    retriever = M3EnsembleRetriever.from_texts(texts, model=tiny, weights=(1, 0, 0), k=5)
    vector = -tiny.encode([QUERY]).dense[0]
    expected = [hit.passage.id for hit in retriever.index.search_by_vector(vector, 5)]
    assert ids(retriever.invoke(QUERY)) == expected[::-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "`k` must be an integer of at least 1, got 0"),
        ({"weights": "nonsense"}, "The presets are .default., .long-document."),
        ({"fusion": "max"}, "must be .weighted. or .rrf."),
        ({"candidates": 2}, "candidates=2 cannot give k=4"),
        ({"balance": "lang", "fusion": "rrf"}, "uses ranks only"),
    ],
)
def test_invalid_settings_are_refused_at_construction(shared_index, settings, message):
    with pytest.raises(InputError, match=message):
        M3EnsembleRetriever(index=shared_index, **settings)


def test_an_unknown_field_is_refused(shared_index):
    message = "M3EnsembleRetriever has no argument `top_k`. Did you mean `k`?"
    with pytest.raises(ArgumentError, match=re.escape(message)):
        M3EnsembleRetriever(index=shared_index, top_k=3)


def test_an_unknown_argument_of_a_call_is_refused(ensemble):
    with pytest.raises(ArgumentError, match=r"no argument `top_k`\. Did you mean `k`"):
        ensemble.invoke(QUERY, top_k=3)


def test_sparse_and_ensemble_may_share_a_folder(tiny, tmp_path):
    path = tmp_path / "kb"
    with M3EnsembleRetriever.from_texts(["a fern"], model=tiny, path=path).index:
        pass
    with M3SparseRetriever.from_texts(["a pump"], model=tiny, path=path).index as index:
        assert len(index) == 2


def test_repr_does_not_contain_the_documents(ensemble):
    assert "Ferns" not in repr(ensemble)
    assert len(repr(ensemble)) < 300
