"""Calls of the retrievers: async, batches, callbacks, threads, chains and tools."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough
from langchain_core.tools import create_retriever_tool

from m3rag.errors import InputError
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever
from tests.conftest import passes_need_the_loop
from tests.langchain.conftest import DOCUMENTS, QUERY, ids

QUERIES = [QUERY, "¿Dónde crece el helecho?", "When does the pump run?"]


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
async def test_k_of_a_call_overrides_the_field(shared_index, kind):
    retriever = kind(index=shared_index, k=1)
    query = "the fern likes water and the sun"
    assert len(retriever.invoke(query, k=2)) == 2
    assert len(await retriever.ainvoke(query, k=2)) == 2
    assert [len(d) for d in retriever.batch([query] * 2, k=2)] == [2, 2]
    assert [len(d) for d in await retriever.abatch([query] * 2, k=2)] == [2, 2]
    assert len(retriever.invoke(query)) == 1


async def test_async_equals_sync(ensemble):
    assert await ensemble.ainvoke(QUERY) == ensemble.invoke(QUERY)


async def test_batch_equals_invoke_for_each(ensemble):
    expected = [ensemble.invoke(query) for query in QUERIES]
    assert ensemble.batch(QUERIES) == expected
    assert await ensemble.abatch(QUERIES) == expected
    assert ensemble.batch([]) == await ensemble.abatch([]) == []


async def test_an_error_in_a_batch_affects_only_its_query(ensemble):
    queries = [QUERY, "half a character: \ud800"]
    for found in (
        ensemble.batch(queries, return_exceptions=True),
        await ensemble.abatch(queries, return_exceptions=True),
    ):
        assert found[0] == ensemble.invoke(QUERY)
        assert isinstance(found[1], InputError)
    with pytest.raises(InputError, match="surrogate"):
        ensemble.batch(queries)


@pytest.mark.parametrize("query", ["", "  \n"])
async def test_an_empty_query_finds_nothing(ensemble, query):
    """Agents send empty queries; an error would end their run."""
    assert ensemble.invoke(query) == await ensemble.ainvoke(query) == []
    expected = [ensemble.invoke(QUERY), []]
    assert ensemble.batch([QUERY, query]) == await ensemble.abatch([QUERY, query]) == expected


class Recorder(BaseCallbackHandler):
    def __init__(self):
        self.events: list[tuple[str, object]] = []

    def on_retriever_start(self, serialized, query, **kwargs):
        self.events.append(("start", query))

    def on_retriever_end(self, documents, **kwargs):
        self.events.append(("end", len(documents)))

    def on_retriever_error(self, error, **kwargs):
        self.events.append(("error", type(error)))


async def test_callbacks_see_every_query(ensemble):
    for run in (
        lambda config: ensemble.batch(QUERIES, config),
        lambda config: asyncio.run(ensemble.abatch(QUERIES, config)),
    ):
        recorder = Recorder()
        await asyncio.to_thread(run, {"callbacks": [recorder]})
        assert sorted(recorder.events) == sorted(
            [("start", query) for query in QUERIES] + [("end", 3)] * 3
        )


def test_callbacks_see_an_error(ensemble):
    recorder = Recorder()
    with pytest.raises(InputError):
        ensemble.invoke("\ud800", {"callbacks": [recorder]})
    assert recorder.events == [("start", "\ud800"), ("error", InputError)]


async def test_a_batch_needs_one_pass(fresh):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    for run in (retriever.batch, lambda q: asyncio.run(retriever.abatch(q))):
        passes, encoded = fresh.passes, fresh.encoded
        queries = [f"{query} {encoded}" for query in QUERIES]
        await asyncio.to_thread(run, queries)
        assert fresh.passes - passes == 1
        assert fresh.encoded - encoded == len(QUERIES)


def test_a_batch_through_a_chain_needs_one_pass(fresh):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    passes = fresh.passes
    found = (retriever | _joined).batch(QUERIES)
    assert "Ferns like shade" in found[0]
    assert fresh.passes - passes == 1


def test_one_pass_per_text_and_query(fresh):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    assert fresh.encoded == len(DOCUMENTS)
    retriever.invoke(QUERY)
    assert fresh.encoded == len(DOCUMENTS) + 1


async def test_the_event_loop_stays_free(fresh, monkeypatch):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    passes_need_the_loop(fresh, monkeypatch)
    assert all(await asyncio.gather(*(retriever.ainvoke(f"{QUERY} {i}") for i in range(5))))


async def test_concurrent_calls_share_passes(fresh):
    """Queries that wait at the same time are encoded together."""
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    passes = fresh.passes
    found = await asyncio.gather(*(retriever.ainvoke(f"{QUERY} {i}") for i in range(20)))
    assert all(len(documents) == 4 for documents in found)
    assert fresh.passes - passes < 10


def test_threads_get_the_same_documents(ensemble):
    queries = [f"{query} {'and soil ' * (i % 7)}" for i in range(10) for query in QUERIES]
    expected = [ensemble.invoke(query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ensemble.invoke, queries))
    assert [ids(documents) for documents in found] == [ids(documents) for documents in expected]


async def test_in_a_chain(ensemble):
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    prompts: list[str] = []

    def answer(value):
        prompts.append(value.to_string())
        return AIMessage("In the shade.")

    chain = (
        {"context": ensemble | _joined, "question": RunnablePassthrough()}
        | prompt
        | answer
        | StrOutputParser()
    )
    assert chain.invoke(QUERY) == "In the shade."
    assert await chain.ainvoke(QUERY) == "In the shade."
    assert chain.batch([QUERY, QUERY]) == ["In the shade."] * 2
    assert all("Ferns like shade" in text and text.endswith(QUERY) for text in prompts)


async def test_in_a_chain_with_a_chat_model_that_streams(ensemble):
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    model = GenericFakeChatModel(messages=iter([AIMessage("In the shade.")]))
    chain = {"context": ensemble | _joined, "question": RunnablePassthrough()} | prompt | model
    parts = [part.content async for part in chain.astream(QUERY)]
    assert "".join(parts) == "In the shade."
    assert len(parts) > 1


def _joined(documents):
    return "\n".join(document.page_content for document in documents)


async def test_as_a_tool(ensemble):
    tool = create_retriever_tool(
        ensemble, "plants", "Knows plants.", response_format="content_and_artifact"
    )
    call = {"name": "plants", "args": {"query": QUERY}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert "Ferns like shade" in message.content
    assert ids(message.artifact) == ids(ensemble.invoke(QUERY))
    assert (await tool.ainvoke(call)).content == message.content


async def test_with_langchain_s_wrappers(ensemble):
    """Fields that a configuration changes make a new retriever, with the same index."""
    fields = ensemble.configurable_fields(k=ConfigurableField(id="k"))
    assert len(fields.invoke(QUERY, {"configurable": {"k": 1}})) == 1
    assert len(await fields.ainvoke(QUERY)) == 3
    for wrapped in (
        ensemble.bind(k=1),
        ensemble.with_config(tags=["plants"]).bind(k=1),
        ensemble.with_retry().bind(k=1),
        ensemble.with_fallbacks([ensemble]).bind(k=1),
    ):
        assert ids(wrapped.invoke(QUERY)) == ["fern"]
