"""An agent with a long-term memory: what it is told in one conversation, it knows in another."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from m3rag.langchain import M3Store
from tests.langchain.scripted import call, scripted

TOLD = {
    "plants": "Ich gieße meine Pflanzen jeden Abend.",
    "coffee": "Ich trinke keinen Kaffee.",
    "car": "Mein Auto steht in der Garage.",
}


def of(config):
    return ("memories", config["configurable"]["user"])


@tool
async def remember(key: str, text: str, runtime: ToolRuntime) -> str:
    """Remember what the user said."""
    await runtime.store.aput(of(runtime.config), key, {"text": text})
    return "Remembered."


@tool
async def recall(query: str, runtime: ToolRuntime) -> str:
    """Search what the user said in earlier conversations."""
    found = await runtime.store.asearch(of(runtime.config), query=query, limit=1)
    return found[0].value["text"] if found else "Nothing."


async def say(agent, user, thread, text):
    """Return what the tools of an agent returned for a message of a user."""
    config: Any = {"configurable": {"user": user, "thread_id": thread}}
    state = await agent.ainvoke({"messages": [HumanMessage(text)]}, config)
    return [m.content for m in state["messages"] if isinstance(m, ToolMessage)]


@pytest.mark.parametrize("path", [None, "memories"])
async def test_what_is_said_in_german_is_found_in_english(tiny, tmp_path, path):
    place = path and tmp_path / path
    with M3Store(model=tiny, path=place, fields=["text"]) as store:
        told = [call("remember", key=key, text=text) for key, text in TOLD.items()]
        agent = create_agent(
            scripted(*told, "Gut.", call("recall", "When are the plants watered?"), "Daily."),
            tools=[remember, recall],
            store=store,
            checkpointer=InMemorySaver(),
        )
        assert await say(agent, "ann", "1", " ".join(TOLD.values())) == ["Remembered."] * 3
        assert await say(agent, "ann", "2", "When do I water them?") == [TOLD["plants"]]
        other = create_agent(
            scripted(call("recall", "When are the plants watered?"), "I do not know."),
            tools=[recall],
            store=store,
        )
        assert await say(other, "bob", "3", "When do I water them?") == ["Nothing."]
        assert store.list_namespaces() == [("memories", "ann")]


def test_without_an_event_loop(tiny):
    @tool
    def look(query: str, runtime: ToolRuntime) -> str:
        """Search the memories."""
        store: Any = runtime.store
        store.put(("a",), "k", {"text": query})
        return str(store.search(("a",), query=query)[0].value["text"])

    store = M3Store(model=tiny)
    agent = create_agent(scripted(call("look", "ferns"), "Yes."), tools=[look], store=store)
    messages: Any = agent.invoke({"messages": [HumanMessage("Ferns?")]})["messages"]
    assert messages[2].content == "ferns"
