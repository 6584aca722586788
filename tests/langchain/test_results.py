"""Thresholds, pages, documents, neighbours and diversity of what is found."""

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.index import Preset
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever, M3TextSplitter, M3VectorStore
from tests.langchain.conftest import QUERY, ids

TEXT = "\n\n".join(f"Ferns like shade, says part {i} of the text." for i in range(6))


@pytest.fixture(scope="module")
def parts(tiny):
    """Passages of two documents, in an index."""
    splitter = M3TextSplitter(tiny, chunk_size=24, chunk_overlap=0)
    documents = [Document(TEXT, id="ferns"), Document("A fern in the shade.", id="other")]
    with M3EnsembleRetriever.from_documents(
        splitter.split_documents(documents), model=tiny
    ) as retriever:
        assert retriever.count() == 7
        yield retriever.index


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
async def test_a_minimum_score(parts, kind):
    everything = kind(parts, k=7).invoke("ferns like shade")
    least = everything[2].metadata["relevance_score"]
    few = kind(parts, k=7, min_score=least)
    assert few.invoke("ferns like shade") == everything[:3]
    assert few.invoke("ferns like shade", min_score=1e6) == []
    assert await kind(parts, k=7).ainvoke("ferns like shade", min_score=least) == everything[:3]


def test_the_calibrated_minimum_score(tiny):
    with M3EnsembleRetriever.from_texts(["Ferns like shade.", "A pump."], model=tiny) as retriever:
        retriever.index.save_preset("tuned", Preset({"dense": 1.0}, min_score=0.4))
        tuned = M3EnsembleRetriever(retriever, weights="tuned", min_score="calibrated")
        scored = M3EnsembleRetriever(retriever, weights="tuned").invoke("ferns in the shade")
        assert tuned.invoke("ferns in the shade") == [
            d for d in scored if d.metadata["relevance_score"] >= 0.4
        ]
        with pytest.raises(InputError, match=r"calibrated for this index \(it has tuned\)"):
            M3EnsembleRetriever(retriever, min_score="calibrated")
        with pytest.raises(InputError, match='`min_score` must be a number, None or "calibrated"'):
            tuned.invoke("ferns", min_score="high")
        relevance = M3VectorStore(retriever, weights="tuned")._select_relevance_score_fn()
        assert [relevance(s) for s in (0, 0.2, 0.4, 1)] == pytest.approx([0, 0.25, 0.5, 1])


def test_pages_of_results(parts):
    retriever = M3EnsembleRetriever(parts, k=3)
    first, second = (ids(retriever.invoke("ferns", offset=n)) for n in (0, 3))
    assert first + second == ids(retriever.invoke("ferns", k=6))
    assert ids(M3EnsembleRetriever(parts, k=3, offset=3).invoke("ferns")) == second


def test_at_most_n_passages_of_a_document(parts):
    found = M3EnsembleRetriever(parts, k=7, max_per_document=2).invoke("ferns like shade")
    assert sorted(d.metadata["document_id"] for d in found) == ["ferns", "ferns", "other"]


async def test_neighbours(parts):
    retriever = M3EnsembleRetriever(parts, k=1, neighbours=1)
    (wide,) = retriever.invoke("part 3")
    (found,) = M3EnsembleRetriever(parts, k=1).invoke("part 3")
    start, end = wide.metadata["start"], wide.metadata["end"]
    assert start < found.metadata["start"] < found.metadata["end"] < end
    assert wide.page_content == TEXT[start:end]
    assert wide.metadata["dense_score"] == found.metadata["dense_score"]
    assert retriever.invoke("part 3", neighbours=0) == [found]
    assert await retriever.ainvoke("part 3") == retriever.batch(["part 3"])[0] == [wide]
    with pytest.raises(InputError, match="`neighbours` must be an integer of at least 0"):
        retriever.invoke("part 3", neighbours=-1)


@pytest.mark.parametrize("lambda_mult", [0.0, 0.5, 1.0])
def test_diversity_with_scores_of_a_hybrid_search(shared_index, lambda_mult):
    store = M3VectorStore(shared_index, weights="default")
    found = store.max_marginal_relevance_search_with_score(QUERY, 3, 5, lambda_mult)
    scores = {d.id: s for d, s in store.similarity_search_with_score(QUERY, 5)}
    assert len(found) == 3
    assert {d.id: s for d, s in found}.items() <= scores.items()
    assert found[0][0].id == max(scores, key=scores.__getitem__)
    assert store.max_marginal_relevance_search(QUERY, 3, 5, lambda_mult) == [d for d, _ in found]


def test_dense_diversity_is_that_of_langchain(shared_index, tiny):
    store = M3VectorStore(shared_index)
    near = store.similarity_search_with_vectors(QUERY, 5)
    query = tiny.encode([QUERY]).dense[0]
    chosen = maximal_marginal_relevance(query, [vector for _, vector in near], 0.4, 3)
    found = store.max_marginal_relevance_search_by_vector(query.tolist(), 3, 5, 0.4)
    assert ids(found) == [near[i][0].id for i in chosen]


def test_scores_and_vectors(shared_index, tiny):
    store = M3VectorStore(shared_index)
    vector = store.embeddings.embed_query(QUERY)
    by_text = store.similarity_search_with_score(QUERY, 3)
    by_vector = store.similarity_search_with_score_by_vector(vector, 3)
    assert [d for d, _ in by_vector] == [d for d, _ in by_text]
    assert [s for _, s in by_vector] == pytest.approx([s for _, s in by_text], abs=1e-5)
    ((document, stored),) = store.similarity_search_with_vectors(QUERY, 1)
    assert stored == pytest.approx(tiny.encode([document.page_content]).dense[0], abs=1e-5)
    assert store.similarity_search_with_score_by_vector(vector, 3, min_score=2) == []


UNRELATED = ["The stock market fell.", "Er spielt Klavier.", "Une recette de gâteau."]


def test_thresholds_work_on_relevance(tiny):
    """(1 + cosine) / 2 gives unrelated texts half the relevance there is."""
    texts = ["Ferns like shade and moist soil.", *UNRELATED]
    store = M3VectorStore.from_texts(texts, model=tiny)
    scored = store.similarity_search_with_relevance_scores("ferns like shade", k=4)
    found = {document.page_content: relevance for document, relevance in scored}
    assert found[texts[0]] > 0.5
    assert max(found[text] for text in UNRELATED) < 0.5
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.5, "k": 4}
    )
    assert [d.page_content for d in retriever.invoke("ferns like shade")] == texts[:1]


@pytest.mark.parametrize(
    ("settings", "best"),
    [
        ({"weights": {"dense": 1}}, (0.3, 1)),
        ({"weights": "default"}, (0.3, 1)),
        ({"weights": {"bm25": 1}}, (0.5, 0.99)),
        ({"weights": {"dense": 1, "sparse": 1}, "fusion": "rrf"}, (0.9, 1)),
    ],
)
def test_relevance_of_every_kind_of_score(shared_index, settings, best):
    store = M3VectorStore(shared_index)
    found = store.similarity_search_with_relevance_scores(
        "Ferns like shade and moist soil", k=5, **settings
    )
    values = [value for _, value in found]
    assert values == sorted(values, reverse=True)
    assert best[0] < values[0] <= best[1]
    assert 0 <= values[-1] < values[0]


def test_a_relevance_function_of_your_own(shared_index):
    store = M3VectorStore(shared_index, relevance_score_fn=lambda score: (1 + score) / 2)
    scored = store.similarity_search_with_score(QUERY, 3)
    found = store.similarity_search_with_relevance_scores(QUERY, 3)
    assert [value for _, value in found] == [(1 + score) / 2 for _, score in scored]


def test_an_empty_query_finds_nothing(shared_index):
    store = M3VectorStore(shared_index)
    for find in (
        store.similarity_search,
        store.similarity_search_with_score,
        store.similarity_search_with_relevance_scores,
        store.similarity_search_with_vectors,
        store.max_marginal_relevance_search,
        store.as_retriever().invoke,
        store.as_retriever(search_type="mmr").invoke,
    ):
        assert find(" ") == []


def test_an_index_without_passages(tiny):
    with M3Index.open(model=tiny) as index:
        assert M3EnsembleRetriever(index, neighbours=1).invoke(QUERY) == []
        assert M3VectorStore(index).max_marginal_relevance_search(QUERY) == []
