"""Agents whose answers are checked, with a language model that follows a script."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import create_retriever_tool
from langgraph.checkpoint.memory import InMemorySaver

from m3rag.errors import ArgumentError, InputError
from m3rag.frameworks.numbered import NOTHING
from m3rag.langchain import M3AnswerMiddleware, M3EnsembleRetriever, retrieval_tool
from m3rag.langchain.answer_middleware import CHECKED, REFUSAL
from tests.langchain.scripted import call, scripted

TEXTS = {"fern": "Ferns like shade.", "cactus": "A cactus likes sun.", "pump": "The pump hums."}
ASKED: Any = {"messages": [HumanMessage("What do plants like?")]}
SEARCH = call("search", "ferns")


@pytest.fixture(scope="module")
def retriever(tiny):
    documents = [
        Document(text, id=name, metadata={"document_id": f"{name}.md", "start": 3, "end": 20})
        for name, text in TEXTS.items()
    ]
    with M3EnsembleRetriever.from_documents(documents, model=tiny, k=1) as found:
        yield found


def agent_of(retriever, *script, saver=None, **settings):
    """Return an agent that is checked, and its language model."""
    model = scripted(*script)
    middleware: Any = [M3AnswerMiddleware(**settings)]
    agent = create_agent(
        model, tools=[retrieval_tool(retriever)], middleware=middleware, checkpointer=saver
    )
    return agent, model


async def runs(retriever, *script, **settings):
    """Yield the last message and the language model of a run with and without an event loop."""
    agent, model = agent_of(retriever, *script, **settings)
    yield agent.invoke(ASKED)["messages"], model
    agent, model = agent_of(retriever, *script, **settings)
    yield (await agent.ainvoke(ASKED))["messages"], model


async def test_an_answer_that_cites_what_was_found(retriever):
    script = (SEARCH, 'They like "shade" [1][7].')
    async for (*_, last), model in runs(retriever, *script):
        assert last.content == 'They like "shade" [1].'
        assert last.response_metadata[CHECKED] == {
            "text": 'They like "shade" [1].',
            "supported": True,
            "problem": None,
            "refused": False,
            "citations": [
                {
                    "number": 1,
                    "passage_id": "fern",
                    "document_id": "fern.md",
                    "page": None,
                    "start": 3,
                    "end": 20,
                }
            ],
            "removed": [7],
            "quotes": [{"text": "shade", "numbers": [1], "found": True}],
        }
        assert len(model.prompts) == 2


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("They like shade.", "It cites no passage"),
        ("They like shade [4].", "It cites no passage"),
        ('They like "the sun" [1].', "It quotes what the cited passages do not say: 'the sun'."),
    ],
)
async def test_an_answer_that_fails(retriever, wrong, problem):
    async for (*before, last), model in runs(retriever, SEARCH, wrong, "Shade [1]."):
        assert last.content == "Shade [1]."
        assert last.response_metadata[CHECKED]["supported"]
        draft, again = model.prompts[-1][-2:]
        assert draft.content == wrong
        assert problem in again.content
        assert [type(m) for m in before] == [HumanMessage, AIMessage, ToolMessage]  # no draft
    async for (*_, last), _ in runs(retriever, SEARCH, wrong, wrong):
        assert last.content == REFUSAL
        checked = last.response_metadata[CHECKED]
        assert (checked["supported"], checked["refused"]) == (False, True)
        assert problem in checked["problem"]
    async for (*_, last), model in runs(
        retriever, SEARCH, wrong, on_failure="refuse", refusal="I do not know."
    ):
        assert last.content == "I do not know."
        assert len(model.prompts) == 2
    async for (*_, last), _ in runs(retriever, SEARCH, wrong, on_failure="annotate"):
        assert last.content == wrong.replace(" [4]", "")
        checked = last.response_metadata[CHECKED]
        assert (checked["supported"], checked["refused"]) == (False, False)


def last_of(retriever, *script, **settings):
    agent, _ = agent_of(retriever, *script, **settings)
    return agent.invoke(ASKED)["messages"][-1]


def test_more_retries(retriever):
    script = (SEARCH, "Shade.", "Shade!", "Shade [1].")
    assert last_of(retriever, *script, retries=2).content == "Shade [1]."
    assert last_of(retriever, *script).content == REFUSAL


def test_a_search_in_place_of_an_answer(retriever):
    script = (SEARCH, "Shade.", call("search", "cactus"), "Sun [2].")
    agent, _ = agent_of(retriever, *script)
    last = agent.invoke(ASKED)["messages"][-1]
    assert last.response_metadata[CHECKED]["citations"][0]["passage_id"] == "cactus"


def test_the_lowest_score(retriever):
    script = (SEARCH, "Shade [1].")
    assert last_of(retriever, *script, min_score=0.1).content == "Shade [1]."
    last = last_of(retriever, *script, min_score=0.9, on_failure="refuse")
    assert last.content == REFUSAL
    assert "below 0.9" in last.response_metadata[CHECKED]["problem"]


def test_answers_without_a_search(retriever):
    last = last_of(retriever, "Hello! What would you like to know?")
    assert CHECKED not in last.response_metadata
    assert last_of(retriever, "They like shade [1].", "They like it [1].").content == REFUSAL
    assert last_of(retriever, "Shade.", "Shade.", needs_search=True).content == REFUSAL
    retriever = retriever.model_copy(update={"min_score": 2.0})
    script = (SEARCH, "They like shade.", "The documents do not say that.")
    agent, _ = agent_of(retriever, *script)
    messages = agent.invoke(ASKED)["messages"]
    assert messages[-2].content == NOTHING
    assert messages[-1].content == REFUSAL


def test_all_searches_of_a_conversation_have_one_numbering(retriever):
    agent, model = agent_of(
        retriever,
        call("search", "ferns", "cactus"),
        "Shade [1], sun [2].",
        call("search", "pump"),
        call("search", "cactus"),
        "It hums [3], as was said [2].",
        "You are welcome.",
        saver=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    first = agent.invoke(ASKED, config)["messages"]
    state = agent.invoke({"messages": [HumanMessage("And the pump?")]}, config)
    read = [m.content for m in model.prompts[-1] if isinstance(m, ToolMessage)]
    assert [text.partition(" ")[0] for text in read] == ["[1]", "[2]", "[3]", "[2]"]
    kept = [m.content for m in state["messages"] if isinstance(m, ToolMessage)]
    assert kept == read
    numbers = {}
    for message in (first[-1], state["messages"][-1]):
        for cited in message.response_metadata[CHECKED]["citations"]:
            numbers[cited["number"]] = cited["passage_id"]
    assert numbers == {1: "fern", 2: "cactus", 3: "pump"}
    thanks = agent.invoke({"messages": [HumanMessage("Thanks!")]}, config)["messages"][-1]
    assert thanks.content == "You are welcome."


def test_the_best_score_of_a_passage_counts(retriever):
    answer, settings = "Shade [1].", {"min_score": 0.8, "on_failure": "refuse"}
    assert last_of(retriever, call("search", "fern?"), answer, **settings).content == REFUSAL
    both = call("search", "fern?", "Ferns like shade.")
    assert last_of(retriever, both, answer, **settings).content == answer


def test_tools_of_others(retriever):
    tool = create_retriever_tool(
        retriever, "search", "Search.", response_format="content_and_artifact"
    )
    middleware: Any = [M3AnswerMiddleware()]
    agent = create_agent(scripted(SEARCH, "Shade [1]."), tools=[tool], middleware=middleware)
    messages = agent.invoke(ASKED)["messages"]
    assert messages[2].content.startswith("[1] fern.md\n")
    assert messages[-1].response_metadata[CHECKED]["supported"]


def test_an_answer_in_blocks(retriever):
    blocks: Any = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Yes [9]."}]
    last = last_of(retriever, SEARCH, AIMessage(blocks), on_failure="annotate")
    assert last.content == [blocks[0], {"type": "text", "text": "Yes."}]


def test_wrong_settings():
    with pytest.raises(ArgumentError, match="Did you mean `min_score`"):
        M3AnswerMiddleware(score_threshold=0.5)
    for settings, message in [
        ({"on_failure": "ignore"}, '"retry", "refuse", "annotate"'),
        ({"retries": 0}, "`retries` must be an integer of at least 1"),
        ({"min_score": "0.5"}, "`min_score` must be a number"),
        ({"refusal": " "}, "`refusal` must be a text"),
    ]:
        with pytest.raises(InputError, match=message):
            M3AnswerMiddleware(**settings)
