"""Queries in other words (multi-query) and hypothetical answers (HyDE), in all channels."""

import pytest
from langchain_classic.chains import HypotheticalDocumentEmbedder  # noqa: TID251  # in use
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.output_parsers import CommaSeparatedListOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableLambda

from m3rag import Query
from m3rag.errors import InputError
from m3rag.langchain import M3Embeddings, M3EnsembleRetriever, M3SparseRetriever, M3VectorStore
from tests.langchain.conftest import DOCUMENTS, QUERY, ids
from tests.langchain.test_retriever_calls import Recorder

ANSWER = "Ferns grow well in the shade."


def _question(query: str) -> dict[str, str]:
    return {"question": query}


def scores(documents):
    return [(d.id, {k: v for k, v in d.metadata.items() if k.endswith("score")}) for d in documents]


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
async def test_all_channels_hear_all_texts(shared_index, kind):
    retriever = kind(shared_index, rewrite=lambda query: [query, ANSWER], k=5)
    settings = {} if kind is M3EnsembleRetriever else {"channels": ["sparse"]}
    hits = shared_index.search(Query([QUERY, ANSWER]), 5, **settings)
    found = retriever.invoke(QUERY)
    assert [(d.id, d.metadata["relevance_score"]) for d in found] == [
        (hit.passage.id, hit.score) for hit in hits
    ]
    assert found != kind(shared_index, k=5).invoke(QUERY) or kind is M3SparseRetriever
    assert scores(await retriever.ainvoke(QUERY)) == scores(found)
    assert scores(retriever.batch([QUERY, "pump"])[0]) == scores(found)
    assert scores((await retriever.abatch([QUERY]))[0]) == scores(found)


async def test_a_chain_that_writes_hypothetical_answers(shared_index):
    prompt = ChatPromptTemplate.from_template("Answer: {question}")
    chain = prompt | FakeListChatModel(responses=[ANSWER]) | StrOutputParser()
    rewrite = RunnableLambda(_question) | chain
    recorder = Recorder()
    retriever = M3EnsembleRetriever(shared_index, rewrite=rewrite)
    found = retriever.invoke(QUERY, {"callbacks": [recorder]})
    assert scores(found) == scores(M3EnsembleRetriever(shared_index).invoke(ANSWER))
    assert recorder.events == [("start", QUERY), ("end", 4)]
    assert scores(await retriever.ainvoke(QUERY)) == scores(found)


def test_a_chain_that_writes_other_queries(shared_index):
    chain = (
        PromptTemplate.from_template("Other words for {question}")
        | FakeListChatModel(responses=["shade for ferns, fern light"])
        | CommaSeparatedListOutputParser()
    )
    retriever = M3EnsembleRetriever(shared_index, rewrite=RunnableLambda(_question) | chain)
    hits = shared_index.search(Query(["shade for ferns", "fern light"]), 4)
    assert ids(retriever.invoke(QUERY)) == [hit.passage.id for hit in hits]


def test_without_a_text_the_query_itself_is_searched(shared_index):
    retriever = M3EnsembleRetriever(shared_index, rewrite=lambda query: ["", " "])
    assert scores(retriever.invoke(QUERY)) == scores(
        M3EnsembleRetriever(shared_index).invoke(QUERY)
    )
    assert retriever.invoke(" ") == []


def test_wrong_rewrites(shared_index):
    with pytest.raises(InputError, match="`rewrite` must be a function or a Runnable"):
        M3EnsembleRetriever(shared_index, rewrite="more words")
    with pytest.raises(InputError, match="`rewrite` must return a text, a list of texts or"):
        M3EnsembleRetriever(shared_index, rewrite=len).invoke(QUERY)


def hyde(tiny):
    return HypotheticalDocumentEmbedder.from_llm(
        FakeListLLM(responses=[ANSWER] * 9), M3Embeddings(tiny), "web_search"
    )


def test_the_hypothetical_document_embedder_of_langchain(tiny, shared_index):
    store = M3VectorStore.from_documents(DOCUMENTS, hyde(tiny))
    expected = M3VectorStore(shared_index).similarity_search_with_score(ANSWER, k=3)
    assert store.index.model is tiny
    found = store.similarity_search_with_score(QUERY, k=3)
    assert [d.id for d, _ in found] == [d.id for d, _ in expected]
    assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-5)
    assert ids(store.max_marginal_relevance_search(QUERY, k=1)) == [expected[0][0].id]
    assert isinstance(store.embeddings, HypotheticalDocumentEmbedder)


def test_its_vector_in_all_channels(tiny, shared_index):
    embedder = hyde(tiny)
    retriever = M3EnsembleRetriever(
        shared_index, rewrite=lambda query: Query([query], dense=embedder.embed_query(query))
    )
    (found, *_) = retriever.invoke(QUERY)
    plain = {d.id: d for d in M3EnsembleRetriever(shared_index, k=5).invoke(QUERY)}[found.id]
    assert found.metadata["sparse_score"] == plain.metadata["sparse_score"]
    assert found.metadata["dense_score"] != plain.metadata["dense_score"]
