"""Agents and graphs that really run, with a language model that follows a script."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from m3rag.langchain import (
    M3EnsembleRetriever,
    M3TextSplitter,
    found_documents,
    retrieval_tool,
    scores_of,
)
from tests.langchain.conftest import QUERY
from tests.langchain.scripted import call, scripted

PLACES = ("document_id", "start", "end", "dense_score", "sparse_score", "colbert_score")
ASKED: Any = {"messages": [HumanMessage(QUERY)]}
THANKED: Any = {"messages": [HumanMessage("Thanks!")]}
TEXT = "# Ferns\n\nFerns like shade.\n\n# Cacti\n\nA cactus likes the sun."


@pytest.fixture(scope="module")
def tool(tiny):
    splitter = M3TextSplitter(tiny, chunk_size=16, chunk_overlap=0)
    passages = splitter.split_documents([Document(TEXT, id="plants.md")])
    retriever = M3EnsembleRetriever.from_documents(passages, model=tiny, k=2)
    yield retrieval_tool(retriever, name="plants")
    retriever.close()


def check(messages, model):
    """Check the messages of one question with one search."""
    _, asked, found, answer = messages
    assert isinstance(found, ToolMessage)
    assert (found.status, found.tool_call_id) == ("success", asked.tool_calls[0]["id"])
    assert found.content.startswith("[1] plants.md › Ferns\n")
    for document in found.artifact:
        assert set(PLACES) <= document.metadata.keys()
        at = document.metadata
        assert TEXT[at["start"] : at["end"]] == document.page_content
        assert document.id.startswith("plants.md#")
    assert answer.text == "In the shade [1]."
    assert model.tools == ["plants"]
    assert [type(m) for m in model.prompts[-1]] == [type(m) for m in messages[:-1]]
    assert model.prompts[-1][-1].content == found.content  # what the language model reads


async def test_an_agent_gets_text_and_the_program_documents(tool):
    for run in ("invoke", "ainvoke"):
        model = scripted(call("plants", QUERY), "In the shade [1].")
        agent = create_agent(model, tools=[tool])
        state = agent.invoke(ASKED) if run == "invoke" else await agent.ainvoke(ASKED)
        check(state["messages"], model)


async def test_an_agent_streams_the_search(tool):
    model = scripted(call("plants", QUERY), "In the shade [1].")
    agent = create_agent(model, tools=[tool])
    updates = [step async for step in agent.astream(ASKED, stream_mode="updates")]
    assert [next(iter(step)) for step in updates] == ["model", "tools", "model"]
    (found,) = updates[1]["tools"]["messages"]
    assert found.artifact[0].id == "plants.md#0"


def test_checkpoints_keep_the_documents(tool):
    model = scripted(call("plants", QUERY), "In the shade [1].", "You are welcome.")
    agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    first = agent.invoke(ASKED, config)
    second = agent.invoke(THANKED, config)
    before, after = (found_documents(state["messages"][2]) for state in (first, second))
    assert before == first["messages"][2].artifact
    assert [d.id for d in before] == [d.id for d in after]
    assert [d.page_content for d in before] == [d.page_content for d in after]
    assert [scores_of(document) for document in before] == [scores_of(d) for d in after]
    assert scores_of(after[0]).keys() == {"dense", "sparse", "colbert"}
    assert found_documents(first["messages"][0]) == found_documents(first["messages"][3]) == []


async def test_an_agent_searches_twice_at_once(tool):
    model = scripted(call("plants", "fern", "cactus"), "Shade [1], sun [1].")
    state = await create_agent(model, tools=[tool]).ainvoke(ASKED)
    first, second = (m for m in state["messages"] if isinstance(m, ToolMessage))
    assert "Ferns" in first.artifact[0].page_content
    assert "cactus" in second.artifact[0].page_content


async def test_wrong_arguments_of_a_language_model_reach_it_as_text(tool):
    model = scripted(call("plants", question="?"), call("plants", " "), "I do not know.")
    state = await create_agent(model, tools=[tool]).ainvoke(ASKED)
    wrong, empty = (m for m in state["messages"] if isinstance(m, ToolMessage))
    assert wrong.status == "error"
    assert "query" in wrong.content
    assert empty.content.startswith("No passage was found.")
    assert empty.artifact == []


async def test_a_graph_with_a_tool_node(tool):
    for run in ("invoke", "ainvoke"):
        model = scripted(call("plants", QUERY), "In the shade [1].")
        bound = model.bind_tools([tool])

        def answer(state, bound=bound):
            return {"messages": [bound.invoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("model", answer)
        graph.add_node("tools", ToolNode([tool]))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "model")
        app = graph.compile()
        state = app.invoke(ASKED) if run == "invoke" else await app.ainvoke(ASKED)
        check(state["messages"], model)
