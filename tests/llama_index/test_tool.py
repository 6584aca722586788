"""The retrieval tool, in the agents of LlamaIndex."""

import asyncio

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from m3rag.errors import ArgumentError, InputError
from m3rag.llama_index import M3EnsembleRetriever, M3VectorStore, retrieval_tool
from tests.conftest import passes_need_the_loop
from tests.llama_index.conftest import make_nodes

QUERY = "soil moisture sensor"


@pytest.fixture(scope="module")
def store(tiny):
    return M3VectorStore.from_nodes(make_nodes(), model=tiny)


def test_the_model_reads_numbers_and_places(store):
    output = retrieval_tool(M3EnsembleRetriever(store, similarity_top_k=2)).call(QUERY)
    first, second = output.content.split("\n\n")
    assert first.startswith("[1] iot.md\nA soil moisture sensor")
    assert second.startswith("[2] ")
    assert output.raw_input == {"input": QUERY}


def test_the_program_gets_nodes_with_scores(store):
    output = retrieval_tool(store)(QUERY)
    assert output.raw_output == M3EnsembleRetriever(store).retrieve(QUERY)
    assert set(output.raw_output[0].scores) == {"dense", "sparse", "colbert"}


def test_its_description_for_the_model(store):
    tool = retrieval_tool(store, name="plants", description="Search the plants.")
    shown = tool.metadata.to_openai_tool()["function"]
    assert (shown["name"], shown["description"]) == ("plants", "Search the plants.")
    assert list(shown["parameters"]["properties"]) == ["input"]


@pytest.mark.parametrize("query", ["", "   "])
async def test_an_empty_query(store, query):
    for output in (retrieval_tool(store).call(query), await retrieval_tool(store).acall(query)):
        assert output.content.startswith("No passage was found.")
        assert output.raw_output == []


async def test_a_vector_store_index(store):
    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    output = await retrieval_tool(index).acall(QUERY)
    assert output.raw_output[0].node_id == "sensor"


async def test_it_does_not_block_the_event_loop(fresh, monkeypatch):
    tool = retrieval_tool(M3VectorStore.from_nodes(make_nodes(), model=fresh))
    passes_need_the_loop(fresh, monkeypatch)
    assert (await tool.acall(QUERY)).raw_output


def test_arguments(store):
    with pytest.raises(ArgumentError, match="Did you mean `description`"):
        retrieval_tool(store, descripton="x")
    with pytest.raises(InputError, match="`retriever` must be a retriever or a store"):
        retrieval_tool("kb")


def calls(messages, **kwargs):
    """Call the tool as a function, and then answer."""
    if any(message.role == MessageRole.TOOL for message in messages):
        assert messages[-1].content.startswith("[1] iot.md\nA soil moisture sensor")
        return ChatMessage(role="assistant", content="It is the sensor [1].")
    call = ToolCallBlock(tool_call_id="1", tool_name="search", tool_kwargs={"input": QUERY})
    return ChatMessage(role="assistant", blocks=[call])


def reasons(messages, **kwargs):
    """Call the tool in words, and then answer."""
    said = [str(message.content) for message in messages]
    if any("Observation: [1] iot.md\nA soil moisture sensor" in text for text in said):
        return ChatMessage(
            role="assistant", content="Thought: Done.\nAnswer: It is the sensor [1]."
        )
    action = f'Action: search\nAction Input: {{"input": "{QUERY}"}}'
    return ChatMessage(role="assistant", content=f"Thought: I need a tool.\n{action}")


def agent_of(kind, store, streaming):
    llm = MockFunctionCallingLLM(response_generator=reasons if kind is ReActAgent else calls)
    settings = {"tools": [retrieval_tool(store)], "llm": llm, "streaming": streaming}
    if kind is AgentWorkflow:
        return AgentWorkflow(agents=[FunctionAgent(**settings)])
    return kind(**settings)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of LlamaIndex's own workflows
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", [FunctionAgent, ReActAgent, AgentWorkflow])
async def test_an_agent(store, kind, streaming):
    run = agent_of(kind, store, streaming).run("What measures moisture?")
    results = [event async for event in run.stream_events() if isinstance(event, ToolCallResult)]
    response = await run
    assert str(response) == "It is the sensor [1]."
    expected = M3EnsembleRetriever(store).retrieve(QUERY)
    for result in (*results, *response.tool_calls):
        assert result.tool_output.content.startswith("[1] iot.md")
        assert result.tool_output.raw_output == expected
    assert len(results) == len(response.tool_calls) == 1
    assert set(expected[0].scores) == {"dense", "sparse", "colbert"}


class Pipeline(Workflow):
    """Searches for several queries at the same time."""

    @step
    async def search(self, event: StartEvent) -> StopEvent:
        outputs = await asyncio.gather(*(event.tool.acall(query) for query in event.queries))
        return StopEvent(result=[output.raw_output[0].node_id for output in outputs])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_workflow(fresh, monkeypatch):
    tool = retrieval_tool(M3VectorStore.from_nodes(make_nodes(), model=fresh))
    passes_need_the_loop(fresh, monkeypatch)
    assert await Pipeline().run(tool=tool, queries=[QUERY, "A cactus needs sun"]) == [
        "sensor",
        "cactus",
    ]
