"""The chat backends of `examples/`: a real server, 16 conversations at the same time."""

import asyncio
import json
import re
import runpy
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from llama_index.core.llms import ChatMessage, ChatResponse, CustomLLM, LLMMetadata

from m3rag import M3Index, Passage

EXAMPLES = Path(__file__).parents[1] / "examples"
TENANTS = ("ann", "bob")
DOORS = ("garden", "cellar", "kitchen", "attic")
TURNS = 3

pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def written(messages):
    """Return what the language model writes: the first passage, and all that it was asked.

    Without passages in the last message, it is asked to rewrite a question, and returns it.
    """
    last = messages[-1][1]
    if "fail" in last:
        raise ConnectionError("secret details")
    if "[1]" not in last:
        return last
    passage = re.findall(r"\[1\].*\n(.+)", last)[0]
    asked = [re.findall(r"(\d+-\d+) ", text)[-1] for role, text in messages if role == "user"]
    return f"{passage} [1] And more [9]. Asked: {', '.join(asked)}"


class LlamaIndexModel(CustomLLM):
    """A LlamaIndex language model that writes word by word."""

    @property
    def metadata(self):
        return LLMMetadata(is_chat_model=True)

    def complete(self, *args, **kwargs):
        raise NotImplementedError

    stream_complete = complete

    async def achat(self, messages, **kwargs):
        text = written([(m.role.value, m.content) for m in messages])
        return ChatResponse(message=ChatMessage(text, role="assistant"))

    async def astream_chat(self, messages, **kwargs):
        response = await self.achat(messages)

        async def words():
            for word in re.findall(r"\S+\s*", response.message.content):
                await asyncio.sleep(0.001)
                yield ChatResponse(message=ChatMessage(word, role="assistant"), delta=word)

        return words()


class LangChainModel(BaseChatModel):
    """The same for LangChain."""

    @property
    def _llm_type(self):
        return "words"

    def _text(self, messages):
        roles = {"human": "user", "ai": "assistant"}
        return written([(roles.get(m.type, m.type), m.text) for m in messages])

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage(self._text(messages))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for word in re.findall(r"\S+\s*", self._text(messages)):
            await asyncio.sleep(0.001)
            yield ChatGenerationChunk(message=AIMessageChunk(word))


MODELS = {"llama_index": LlamaIndexModel, "langchain": LangChainModel}


@pytest.fixture(scope="module", params=[*MODELS])
def backend(request):
    """The name of a framework, and the example for it."""
    path = EXAMPLES / f"chat_backend_{request.param}.py"
    return request.param, runpy.run_path(str(path))["create_app"]


def code(tenant, door):
    return f"{tenant}-{DOORS.index(door)}7"


@pytest.fixture(scope="module")
def index(tiny):
    """Passages that differ between the tenants in one word only."""
    with M3Index.open(model=tiny) as index:
        index.add(
            Passage(
                f"{tenant}/{door}",
                f"The code of the {door} door is {code(tenant, door)}.",
                {"tenant": tenant},
                f"{tenant}/{door}.md",
                0,
                40,
            )
            for tenant in TENANTS
            for door in DOORS
        )
        yield index


@asynccontextmanager
async def served(app):
    """Yield a client of a server that runs in a thread."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


class Reply(NamedTuple):
    """A streamed answer: the text as it was written, the pieces, and the last event."""

    text: str
    pieces: int
    end: dict[str, Any]


async def ask(client, tenant, session, message):
    body = {"session": session, "message": message}
    pieces = []
    async with client.stream("POST", "/chat", json=body, headers={"X-Tenant": tenant}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in response.aiter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    pieces = [event["text"] for event in events if event["type"] == "token"]
    assert [event["type"] for event in events[:-1]] == ["token"] * len(pieces)
    return Reply("".join(pieces), len(pieces), events[-1])


async def converse(client, tenant, session, number):
    """Ask for all doors in turn, and check each answer and the history."""
    history = []
    for turn in range(TURNS):
        message = f"{number}-{turn} What is the code of the {DOORS[turn]} door?"
        reply = await ask(client, tenant, session, message)
        asked = ", ".join(f"{number}-{earlier}" for earlier in range(turn + 1))
        assert reply.text.endswith(
            f" is {code(tenant, DOORS[turn])}. [1] And more [9]. Asked: {asked}"
        )
        assert reply.pieces > 5
        answer = reply.end
        assert answer["type"] == "answer"
        assert answer["text"] == reply.text.replace(" [9]", "")
        assert (answer["supported"], answer["removed"]) == (True, [9])
        (citation,) = answer["citations"]
        assert citation["passage_id"] == f"{tenant}/{DOORS[turn]}"
        assert citation["document_id"] == f"{tenant}/{DOORS[turn]}.md"
        assert (citation["number"], citation["start"], citation["end"]) == (1, 0, 40)
        history += [("user", message), ("assistant", answer["text"])]
        stored = await client.get(f"/sessions/{session}", headers={"X-Tenant": tenant})
        assert [(one["role"], one["text"]) for one in stored.json()] == history


async def test_16_conversations_at_the_same_time(backend, index):
    """The tenants use the same names for their sessions."""
    name, create_app = backend
    async with served(create_app(index, MODELS[name]())) as client:
        await asyncio.gather(
            *(converse(client, TENANTS[n % 2], f"session {n // 2}", n) for n in range(16))
        )


async def test_without_a_language_model(backend, index):
    async with served(backend[1](index)) as client:
        for tenant in TENANTS:
            reply = await ask(client, tenant, "s", "What is the code of the cellar door?")
            assert reply.text == f"The code of the cellar door is {code(tenant, 'cellar')}. [1]"
            assert reply.end["supported"]
            assert reply.end["citations"][0]["passage_id"] == f"{tenant}/cellar"
        assert (await ask(client, "nobody", "s", "cellar")).end["supported"] is False


async def test_what_is_refused(backend, index):
    name, create_app = backend
    ours = {"X-Tenant": "ann"}
    async with served(create_app(index, MODELS[name]())) as client:
        question = {"session": "s", "message": "0-0 What is the code of the cellar door?"}
        assert (await client.post("/chat", json=question)).status_code == 401
        assert (await client.get("/sessions/s")).status_code == 401
        for wrong in ({"message": " "}, {"session": ""}, {"session": 1}):
            response = await client.post("/chat", json=question | wrong, headers=ours)
            assert response.status_code == 422
        assert (await client.get("/sessions/s", headers=ours)).status_code == 404
        await ask(client, "ann", "s", question["message"])
        assert (await client.get("/sessions/s", headers={"X-Tenant": "bob"})).status_code == 404
        assert (await client.delete("/sessions/s", headers={"X-Tenant": "bob"})).status_code == 404
        failed = await ask(client, "ann", "s", "fail")
        assert failed.end["type"] == "error"
        assert "secret" not in json.dumps(failed.end)
        assert len((await client.get("/sessions/s", headers=ours)).json()) == 2
        assert (await client.delete("/sessions/s", headers=ours)).is_success
        assert (await client.get("/sessions/s", headers=ours)).status_code == 404


async def test_a_history_is_bounded(backend, index):
    async with served(backend[1](index)) as client:
        for number in range(12):
            await ask(client, "ann", "s", f"Question {number} about the attic")
        stored = (await client.get("/sessions/s", headers={"X-Tenant": "ann"})).json()
        assert len(stored) == 20
        assert stored[0] == {"role": "user", "text": "Question 2 about the attic"}
