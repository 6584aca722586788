"""The agents of LlamaIndex with the retrieval tool and the memory; a script is the model."""

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms import mock

from m3rag.llama_index import M3EnsembleRetriever, M3VectorStore, retrieval_tool
from tests.llama_index.conftest import QUESTION, fill, make_nodes

if not hasattr(mock, "MockFunctionCallingLLM"):
    pytest.skip("This LlamaIndex has no model of functions for tests", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's workflows

QUERY = "soil moisture sensor"


@pytest.fixture(scope="module")
def store(tiny):
    return M3VectorStore.from_nodes(make_nodes(), model=tiny)


def calls(messages, **kwargs):
    """Call the tool as a function, and then answer."""
    if any(message.role == MessageRole.TOOL for message in messages):
        assert messages[-1].content.startswith("[1] iot.md\nA soil moisture sensor")
        return ChatMessage(role="assistant", content="It is the sensor [1].")
    call = types.ToolCallBlock(tool_call_id="1", tool_name="search", tool_kwargs={"input": QUERY})
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
    llm = mock.MockFunctionCallingLLM(response_generator=reasons if kind is ReActAgent else calls)
    settings = {"tools": [retrieval_tool(store)], "llm": llm, "streaming": streaming}
    if kind is AgentWorkflow:
        return AgentWorkflow(agents=[FunctionAgent(**settings)])
    return kind(**settings)


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


async def test_a_memory_in_the_run_of_an_agent(memory):
    def reply(messages, **kwargs):
        remembered = next(line for line in messages[0].content.splitlines() if "heißt" in line)
        return ChatMessage(role="assistant", content=remembered.split("heißt ")[1].split()[0])

    await fill(memory)
    agent = FunctionAgent(
        tools=[], llm=mock.MockFunctionCallingLLM(response_generator=reply), streaming=False
    )
    assert str(await agent.run(QUESTION[0].content, memory=memory)) == "Mia"
